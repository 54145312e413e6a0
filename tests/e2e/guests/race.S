/*
 * Suspends ROUNDS times, as fast as it is resumed, and counts what goes wrong. Each round has a context ID
 * of its own, the round's number, and goes to one of two entry points in turn. The GICv3 must be found as it
 * was left; its priority mask, too, is another one in each round.
 */
        .include "console.inc"
        .set    GICD, 0x08000000
        .set    GICR, 0x080a0000

        /* The priority mask of round \round, in \to: one of 0x10, 0x20, ... 0x80. */
        .macro  priority_mask to, round
        and     \to, \round, #7
        add     \to, \to, #1
        lsl     \to, \to, #4
        .endm

        /* An entry point; \parity is that of the rounds that lead here. */
        .macro  entry_point parity
        ldr     x10, =round
        ldr     x11, [x10]
        cmp     x0, x11
        b.ne    wrong
        and     x11, x11, #1
        cmp     x11, #\parity
        b.ne    wrong
        b       look_at_gic
        .endm

        /* Adds one to a counter. */
        .macro  count counter
        ldr     x10, =\counter
        ldr     x11, [x10]
        add     x11, x11, #1
        str     x11, [x10]
        .endm

        .macro  tell counter
        ldr     x10, =\counter
        ldr     x19, [x10]
        show    \counter, x19
        .endm

        prologue
        ldr     x3, =GICD
        mov     w4, #0x12                      /* affinity routing, group 1 */
        str     w4, [x3]
        ldr     x3, =GICR
        str     wzr, [x3, #0x14]               /* GICR_WAKER */
        ldr     x3, =(GICR + 0x10000)
        mov     w4, #-1
        str     w4, [x3, #0x80]                /* GICR_IGROUPR0 */
        mov     x4, #1
        msr     icc_igrpen1_el1, x4
        isb

next:   ldr     x10, =round
        ldr     x2, [x10]
        cmp     x2, #ROUNDS
        b.eq    end
        add     x2, x2, #1
        str     x2, [x10]
        priority_mask x4, x2
        msr     icc_pmr_el1, x4
        adr     x1, even
        adr     x3, odd
        tst     x2, #1
        csel    x1, x1, x3, eq
        ldr     x0, =SYSTEM_SUSPEND
        hvc     #0
wrong:  count   wrong_entries
        b       next

even:   entry_point 0
odd:    entry_point 1

look_at_gic:
        ldr     x3, =GICD
        ldr     w4, [x3]
        tbz     w4, #1, changed                /* group 1 */
        ldr     x3, =(GICR + 0x10000)
        ldr     w4, [x3, #0x80]
        cmn     w4, #1
        b.ne    changed
        mrs     x4, icc_pmr_el1
        ldr     x10, =round
        ldr     x11, [x10]
        priority_mask x5, x11
        cmp     x4, x5
        b.ne    changed
        mrs     x4, icc_igrpen1_el1
        cmp     x4, #1
        b.eq    next
changed:
        count   gic_changes
        b       next

end:    ldr     x1, =stack_top
        mov     sp, x1
        tell    wrong_entries
        tell    gic_changes
        say     "done\n"
        wfi
        b       .

        .ltorg
        .balign 8
round:          .quad 0
wrong_entries:  .quad 0
gic_changes:    .quad 0
        library

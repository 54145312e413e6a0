/*
 * Suspends ROUNDS times, as fast as it is resumed, and counts what goes wrong. Each round has a context ID
 * of its own, the round's number, and goes to one of two entry points in turn. The GIC, of version GIC, must be
 * found as it was left; its priority mask, too, is another one in each round.
 */
        .include "console.inc"
        .set    GICD, 0x08000000
        .set    GICC, 0x08010000
        .set    GICR, 0x080a0000

        .macro  write address, value
        ldr     x3, =\address
        mov     w4, #\value
        str     w4, [x3]
        .endm

        /* The priority mask of the round in \round: one of 0x10, 0x20, ... 0x80. */
        .macro  priority_mask to, round
        and     \to, \round, #7
        add     \to, \to, #1
        lsl     \to, \to, #4
        .endm

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

        /* An entry point; \parity is that of the rounds that lead here. */
        .macro  entry_point parity
        ldr     x10, =round
        ldr     x11, [x10]
        cmp     x0, x11
        b.ne    wrong
        and     x12, x11, #1
        cmp     x12, #\parity
        b.ne    wrong
        b       look_at_gic
        .endm

        .if     GIC == 3

        .macro  gic_open
        write   GICD, 0x12                     /* affinity routing, group 1 */
        write   (GICR + 0x14), 0               /* GICR_WAKER */
        write   (GICR + 0x10080), -1           /* GICR_IGROUPR0 */
        mov     x4, #1
        msr     icc_igrpen1_el1, x4
        .endm

        .macro  gic_set_mask number
        msr     icc_pmr_el1, x\number
        .endm

        /* x4 = what is enabled, and the groups; x5 = the mask. */
        .macro  gic_read
        ldr     x3, =(GICR + 0x10080)
        ldr     w4, [x3]
        ldr     x3, =GICD
        ldr     w5, [x3]
        orr     x4, x5, x4, lsl #32
        mrs     x5, icc_igrpen1_el1
        orr     x4, x4, x5
        mrs     x5, icc_pmr_el1
        .endm

        .else

        .macro  gic_open
        write   GICD, 1
        write   GICC, 1
        .endm

        .macro  gic_set_mask number
        ldr     x3, =GICC
        str     w\number, [x3, #4]
        .endm

        .macro  gic_read
        ldr     x3, =GICD
        ldr     w4, [x3]
        ldr     w5, [x3, #0x80]                /* GICD_IGROUPR0 */
        orr     x4, x4, x5, lsl #32
        ldr     x3, =GICC
        ldr     w5, [x3]
        orr     x4, x4, x5, lsl #8
        ldr     w5, [x3, #4]
        .endm

        .endif

        prologue
        gic_open
        isb
        gic_read
        ldr     x10, =gic_opened
        str     x4, [x10]

next:   ldr     x10, =round
        ldr     x2, [x10]
        cmp     x2, #ROUNDS
        b.eq    end
        add     x2, x2, #1
        str     x2, [x10]
        priority_mask x4, x2
        gic_set_mask 4
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

look_at_gic:                                   /* x11 = round */
        gic_read
        priority_mask x6, x11
        cmp     x5, x6
        b.ne    changed
        ldr     x10, =gic_opened
        ldr     x6, [x10]
        cmp     x4, x6
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
gic_opened:     .quad 0
wrong_entries:  .quad 0
gic_changes:    .quad 0
        library

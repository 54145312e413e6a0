/*
 * Suspends ROUNDS times, as fast as it is resumed, and counts what goes wrong. Each round has a context ID
 * of its own, the round's number, and goes to one of two entry points in turn.
 */
        .include "console.inc"

        /* An entry point; \parity is that of the rounds that lead here. */
        .macro  entry_point parity
        ldr     x10, =round
        ldr     x11, [x10]
        cmp     x0, x11
        b.ne    wrong
        and     x11, x11, #1
        cmp     x11, #\parity
        b.ne    wrong
        b       next
        .endm

        prologue
next:   ldr     x10, =round
        ldr     x2, [x10]
        cmp     x2, #ROUNDS
        b.eq    end
        add     x2, x2, #1
        str     x2, [x10]
        adr     x1, even
        adr     x3, odd
        tst     x2, #1
        csel    x1, x1, x3, eq
        ldr     x0, =SYSTEM_SUSPEND
        hvc     #0
wrong:  ldr     x10, =mistakes
        ldr     x11, [x10]
        add     x11, x11, #1
        str     x11, [x10]
        b       next

even:   entry_point 0
odd:    entry_point 1

end:    ldr     x1, =stack_top
        mov     sp, x1
        ldr     x10, =mistakes
        ldr     x19, [x10]
        show    mistakes, x19
        say     "done\n"
        wfi
        b       .

        .ltorg
        .balign 8
round:          .quad 0
mistakes:       .quad 0
        library

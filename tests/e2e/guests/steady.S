/*
 * Holds known values in x3 to x30, in the flags and in the stack pointer, waits, and tells which bits have changed;
 * again and again. It waits in a loop, or in SYSTEM_SUSPEND if SUSPENDS is 1.
 */
        .include "console.inc"
        .set    PATTERN, 0x5713ad1e00000000
        .set    NZCV, 0xa0000000

        .macro  for_each_register do
        .irp    number, 3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
        \do     \number
        .endr
        .endm

        .macro  load number
        ldr     x\number, =(PATTERN + \number)
        .endm

        /* Collects in x0 the bits of \register that are not as in \value. */
        .macro  differ register, value
        ldr     x1, =\value
        eor     x1, x1, \register
        orr     x0, x0, x1
        .endm

        .macro  compare number
        differ  x\number, (PATTERN + \number)
        .endm

        prologue
again:  ldr     x0, =NZCV
        msr     nzcv, x0
        for_each_register load
        .if     SUSPENDS
        ldr     x0, =SYSTEM_SUSPEND
        adr     x1, again
        hvc     #0
        .else
        ldr     x2, =0x400000
1:      sub     x2, x2, #1
        cbnz    x2, 1b
        .endif
        mov     x0, xzr
        for_each_register compare
        mrs     x2, nzcv
        differ  x2, NZCV
        mov     x2, sp
        differ  x2, stack_top
        mov     x19, x0
        show    changed, x19
        b       again
        library

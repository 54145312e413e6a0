/* Never calls anybody. */
        .include "console.inc"

        prologue
1:      say     "here I am\n"
        mov     x0, #0x1000000
2:      sub     x0, x0, #1
        cbnz    x0, 2b
        b       1b
        library

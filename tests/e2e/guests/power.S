/*
 * Resets the system on its first way through here, and switches it off on its second: by the functions
 * RESET and OFF, with 0 as their arguments.
 */
        .include "console.inc"
        .set    MEMORY, 0x42000000             /* a reset does not clear memory that nothing is loaded to */

        prologue
        ldr     x10, =MEMORY
        ldr     x19, [x10]
        show    boots, x19
        cbnz    x19, 1f
        mov     x11, #1
        str     x11, [x10]
        say     "up\n"
        call    reset, RESET
1:      call    off, OFF
        b       .
        library

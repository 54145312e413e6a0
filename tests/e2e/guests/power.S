/* Resets the system on its first way through here, and switches it off on its second. */
        .include "console.inc"
        .set    MEMORY, 0x42000000             /* reset does not clear memory that nobody loads */

        prologue
        ldr     x10, =MEMORY
        ldr     x19, [x10]
        show    boots, x19
        cbnz    x19, 1f
        mov     x11, #1
        str     x11, [x10]
        say     "up\n"
        call    reset, SYSTEM_RESET
1:      call    off, SYSTEM_OFF
        b       .
        library

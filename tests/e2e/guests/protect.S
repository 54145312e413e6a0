/* Asks for its memory to be overwritten at a reset, marks it, suspends, and resets the system once it is resumed. */
        .include "console.inc"
        .set    MEMORY, 0x42000000
        .set    MEM_PROTECT, 0x84000013

        prologue
        ldr     x10, =MEMORY
        ldr     x19, [x10]
        mov     x11, #1
        str     x11, [x10]
        show    memory, x19
        call    protected, MEM_PROTECT, 1
        ldr     x0, =SYSTEM_SUSPEND
        adr     x1, resumed
        hvc     #0
        b       .
resumed:
        ldr     x0, =SYSTEM_RESET
        hvc     #0
        b       .
        library

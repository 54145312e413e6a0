/* Makes the call that is in x19 to x22 for ever: PSCI_VERSION, unless a debugger puts another there. */
        ldr     x19, =0x84000000
1:      mov     x0, x19
        mov     x1, x20
        mov     x2, x21
        mov     x3, x22
        hvc     #0
        b       1b

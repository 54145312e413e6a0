/* Calls PSCI_VERSION for ever. */
        ldr     x19, =0x84000000
1:      mov     x0, x19
        hvc     #0
        b       1b

/* Overwrites the RAM where the EL2 monitor keeps what it needs, and, in vain, its code at TARGET. */
        .include "console.inc"
        .set    VICTIM_END, 0x44000000         /* with 64 MiB */

        prologue
        ldr     x10, =TARGET                   /* of the code, which is in ROM */
        str     wzr, [x10]
        ldr     x10, =VICTIM_END - 0x10000
        ldr     x11, =VICTIM_END
1:      str     x11, [x10], #8
        cmp     x10, x11
        b.lo    1b
        dsb     sy
        call    version, PSCI_VERSION
        say     "done\n"
        wfi
        b       .
        library

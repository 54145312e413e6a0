/*
 * Overwrites the RAM where the EL2 monitor keeps what it needs, and, in vain, its code at TARGET, which
 * is in a flash: with commands to show its identifier, and to erase a block.
 */
        .include "console.inc"
        .set    VICTIM_END, 0x44000000         /* with 64 MiB */

        .macro  flash_command value
        adr     x21, 7001f
        adr     x27, 7002f
        ldr     w10, =\value
        ldr     x11, =TARGET
7001:   str     w10, [x11]
        dsb     sy
        say     "taken\n"
7002:
        .endm

        prologue
        flash_command 0x00900090
        flash_command 0x00200020
        flash_command 0x00d000d0
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

/* Overwrites one instruction of the EL2 monitor's, at TARGET, then calls it. No stage 2 keeps it from that. */
        .include "console.inc"

        prologue
        say     "ready\n"
        ldr     x10, =TARGET
        str     wzr, [x10]              /* udf #0 */
        dsb     sy
        ic      iallu
        isb
        hvc     #0
        b       .
        library

/*
 * Overwrites the EL2 monitor's vectors, which end at the end of memory, then calls it. Without a stage 2
 * nothing keeps it from that.
 */
        .include "console.inc"
        .set    MEMORY_END, 0x44000000         /* with 64 MiB */

        prologue
        say     "ready\n"
        ldr     x10, =MEMORY_END - 0x10000
        ldr     x11, =MEMORY_END
1:      str     xzr, [x10], #8                 /* udf #0 */
        cmp     x10, x11
        b.lo    1b
        dsb     sy
        ic      iallu
        isb
        hvc     #0
        b       .
        library

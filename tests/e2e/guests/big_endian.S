/* Suspends while its data accesses are big-endian, and tells SCTLR_EL1 as it is entered. */
        .include "console.inc"
        .set    SCTLR_EE, 1 << 25

        prologue
        ldr     x0, =SYSTEM_SUSPEND
        adr     x1, resumed
        mrs     x2, sctlr_el1
        orr     x2, x2, #SCTLR_EE
        msr     sctlr_el1, x2
        isb
        hvc     #0
        b       .

resumed:
        mrs     x19, sctlr_el1
        bic     x1, x19, #SCTLR_EE
        msr     sctlr_el1, x1
        isb
        ldr     x1, =stack_top
        mov     sp, x1
        show    sctlr, x19
        say     "done\n"
        wfi
        b       .
        library

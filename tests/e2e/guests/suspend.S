/*
 * Suspends again and again, and tells how it was entered. The GIC was never initialised, or, with GICV3
 * defined, left in a state that is told at every entry.
 * Before each suspend the MMU is on (an identity map), so that the entry state has something to show.
 */
        .include "console.inc"
        .set    CONTEXT, 0x1122334455667788
        .set    SCTLR_M_C_I, (1 << 0) | (1 << 2) | (1 << 12)

        .macro  suspend function
        ldr     x0, =\function
        adr     x1, resumed
        ldr     x2, =CONTEXT
        .irp    number, 3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
        mov     x\number, #-1
        .endr
        hvc     #0
        show    returned, x0
        .endm

        prologue
        .ifdef  GICV3
        bl      gic_set_up
        .endif
        bl      mmu_on
        say     "ready\n"
again:
        ldr     x10, =round
        ldr     x11, [x10]
        add     x11, x11, #1
        str     x11, [x10]
        tbnz    x11, #0, 1f
        suspend SYSTEM_SUSPEND32
        b       again
1:      suspend SYSTEM_SUSPEND
        b       again

resumed:
        orr     x1, x1, x2
        .irp    number, 3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
        orr     x1, x1, x\number
        .endr
        mrs     x2, CurrentEL
        mrs     x3, SPSel
        orr     x22, x2, x3
        mrs     x23, daif
        mrs     x24, sctlr_el1
        mov     x19, x0
        mov     x21, x1
        ldr     x1, =stack_top
        mov     sp, x1
        show    x0, x19
        show    x1_to_x30, x21
        show    el_spsel, x22
        show    daif, x23
        show    sctlr, x24
        .ifdef  GICV3
        ldr     x10, =GICR_SGI
        ldr     w19, [x10, #GICR_ISENABLER0]
        ldr     w22, [x10, #GICR_IGROUPR0]
        mrs     x23, icc_pmr_el1
        mrs     x24, icc_igrpen1_el1
        show    isenabler0, x19
        show    igroupr0, x22
        show    pmr, x23
        show    igrpen1, x24
        .endif
        bl      mmu_on
        b       again

        .ifdef  GICV3
        .set    GICR_SGI, 0x080b0000
        .set    GICR_IGROUPR0, 0x080
        .set    GICR_ISENABLER0, 0x100
/* Leaves values behind that nobody else would: they are to be there after a resume. */
gic_set_up:
        ldr     x10, =GICR_SGI
        ldr     w11, =0x2a000000
        str     w11, [x10, #GICR_ISENABLER0]
        ldr     w11, =0x5a5a0000
        str     w11, [x10, #GICR_IGROUPR0]
        mov     x11, #0xa8
        msr     icc_pmr_el1, x11
        msr     icc_igrpen1_el1, xzr
        isb
        ret
        .endif

/* 1 GiB blocks: devices, then memory. */
mmu_on:
        ldr     x1, =table
        ldr     x2, =0x0000000000000401        /* device-nGnRnE, AF */
        str     x2, [x1]
        ldr     x2, =0x0000000040000705        /* normal, inner shareable, AF */
        str     x2, [x1, #8]
        dsb     sy
        ldr     x2, =0xff00                    /* attribute 0: device, 1: normal write-back */
        msr     mair_el1, x2
        ldr     x2, =((32 << 0) | (1 << 8) | (1 << 10) | (3 << 12) | (1 << 23) | (2 << 32))
        msr     tcr_el1, x2
        msr     ttbr0_el1, x1
        isb
        tlbi    vmalle1
        dsb     sy
        isb
        mrs     x1, sctlr_el1
        ldr     x2, =SCTLR_M_C_I
        orr     x1, x1, x2
        msr     sctlr_el1, x1
        isb
        ret

        .ltorg
        .balign 8
round:  .quad 0
        .balign 4096
table:  .space  4096
        library

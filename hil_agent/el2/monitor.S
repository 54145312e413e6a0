/*
 * The EL2 monitor: what runs at EL2 while a guest runs at EL1.
 *
 * It decides nothing. Whatever the agent must see ends at `trap`, on which it has
 * its only breakpoint; there the condition flags tell what it is (the guest's own
 * are in SPSR_EL2). The agent answers over the debug stub and sets PC to one of
 * the routines below. Every global label is read by the agent from the assembled
 * ELF, so names here are an interface.
 *
 * The code is position independent and writes nothing in itself: it is linked at
 * 0 and runs wherever it was loaded, also from ROM. MMU and caches stay off at
 * EL2. Every vCPU has an area of its own in RAM, whose address it is given in x0
 * when it enters; SP_EL2 and TPIDR_EL2 hold it.
 *
 * The registers that open EL2's traps follow the list that Linux keeps in
 * arch/arm64/include/asm/el2_setup.h for a guest that shall see the whole CPU.
 */

        .arch   armv8.8-a+sve+sme

        .set    EC_HVC64, 0x16
        .set    EC_SMC64, 0x17

/* The private interrupt of EL2's physical timer (Arm BSA): our tick. */
        .set    TICK_PPI, 26

        .include "definitions.inc"

/* What else a trap can be here. */
        .global kind_hvc, kind_smc, kind_immediate
        .set    kind_hvc, 2             /* a call; ELR_EL2 is behind the instruction */
        .set    kind_smc, 3
        .set    kind_immediate, 4       /* a call whose instruction has an immediate: see area_esr */

/* What else there is in an area. */
        field   area_esr, 8             /* of the last trap that was no plain call */
        field   area_elr, 8
        field   area_far, 8
        field   area_spsr, 8
        field   area_vector, 8          /* offset in the vector table that was taken */
        field   area_gic_version, 8     /* 2 or 3 */
        field   area_frequency, 8       /* of the system counter, in Hz */
        field   area_stack, 160
        field   area_stack_top, 0
        field   area_caller, 160        /* x0 to x17, x30 of a guest that waits in a call of its own */
        field   area_waiting, 8         /* whether they are there: after_*, or 0 */
        field   area_repeat, 8          /* kind of the calls that may be answered here; 0: none */
        field   area_answers, 400       /* to what, and how: an `answer` each, up to the first that is empty */
        field   area_entry_data, 128    /* operands and instructions of the program that is run before */
        field   area_entry_program, 160 /*   a power-down state ends at its entry point */
        area_ends 2048

/* EL2's physical timer ticks; the guest has nothing in it. */
        .macro  own_area
        mrs     x0, tpidr_el2
        .endm
        .macro  tick_start
        msr     cnthp_tval_el2, x3
        mov     x7, #1
        msr     cnthp_ctl_el2, x7
        isb
        .endm
        .macro  tick_stop
        msr     cnthp_ctl_el2, xzr
        isb
        .endm
        .macro  tick_save
        .endm
        .macro  tick_restore
        .endm

/* What a call is answered after. */
        .global after_nothing, after_standby, after_power_down
        .set    after_nothing, 1
        .set    after_standby, 2
        .set    after_power_down, 3

        .section .text
/* -------------------------------------------------------------- entry */

/*
 * Every vCPU's way in, at EL2: x0 = its area. Ends in a trap, from where the
 * agent sends it on.
 */
        .global entry
entry:
        msr     daifset, #0xf
        msr     spsel, #1
        msr     tpidr_el2, x0
        add     sp, x0, #area_stack_top
        stp     xzr, xzr, [x0, #area_waiting]   /* and area_repeat */
        mrs     x1, cntfrq_el0
        str     x1, [x0, #area_frequency]
        adr     x0, vectors
        msr     vbar_el2, x0
        ldr     x0, =0x30c50830         /* SCTLR_EL2: RES1 bits; MMU, caches, alignment checks off */
        msr     sctlr_el2, x0
        msr     cnthp_ctl_el2, xzr
        isb

        /* EL1 is AArch64; its SMC comes here too (TSC). Nothing else is trapped;
         * pointer authentication (API, APK), memory tags (ATA) and EnSCXT are left to the guest. */
        ldr     x0, =((1 << 31) | (1 << 19) | (1 << 40) | (1 << 41) | (1 << 53) | (1 << 56))
        msr     hcr_el2, x0
        mov     x0, #3                  /* EL1PCTEN, EL1PCEN: the physical counter and timer */
        msr     cnthctl_el2, x0
        msr     cntvoff_el2, xzr
        msr     hstr_el2, xzr
        msr     vttbr_el2, xzr
        mrs     x0, midr_el1
        msr     vpidr_el2, x0
        mrs     x0, mpidr_el1
        msr     vmpidr_el2, x0

        mrs     x1, id_aa64pfr0_el1
        mrs     x2, id_aa64pfr1_el1

        /* CPTR_EL2: TFP clear; TZ (SVE) and TSM (SME) are RES1 where there is nothing to trap. */
        mov     x0, #0x33ff
        ubfx    x3, x1, #32, #4
        cbz     x3, 1f
        bic     x0, x0, #(1 << 8)
1:      ubfx    x4, x2, #24, #4
        cbz     x4, 2f
        bic     x0, x0, #(1 << 12)
2:      msr     cptr_el2, x0
        isb
        cbz     x3, 3f
        mov     x0, #0xf                /* the longest vectors that there are */
        msr     zcr_el2, x0
3:      cbz     x4, 4f
        mrs     x5, id_aa64smfr0_el1
        mov     x0, #0xf
        lsr     x6, x5, #63             /* FA64: all of A64 in streaming mode */
        orr     x0, x0, x6, lsl #31
        ubfx    x6, x5, #56, #4         /* SMEver: SME2 has ZT0 */
        cmp     x6, #0
        cset    x6, ne
        orr     x0, x0, x6, lsl #30
        msr     smcr_el2, x0
4:
        /* GICv3: EL1 uses the system registers, and no virtual interrupts. */
        ubfx    x3, x1, #24, #4
        cbz     x3, 5f
        mov     x0, #0xf                /* SRE, DFB, DIB, Enable */
        msr     icc_sre_el2, x0
        isb
        msr     ich_hcr_el2, xzr
5:
        /* MPAM: EL1 may use its registers. */
        ubfx    x3, x1, #40, #4
        ubfx    x4, x2, #16, #4
        orr     x3, x3, x4
        cbz     x3, 6f
        msr     mpam2_el2, xzr
        mrs     x3, mpamidr_el1
        tbz     x3, #17, 6f             /* HAS_HCR */
        msr     mpamhcr_el2, xzr
6:
        /* Fine-grained traps: the positive bits 0, the negative ones ("n...") 1. */
        mrs     x1, id_aa64mmfr0_el1
        ubfx    x3, x1, #56, #4
        cbz     x3, 7f
        mov     x0, #0xfffc000000000000
        msr     hfgrtr_el2, x0
        msr     hfgwtr_el2, x0
        mov     x0, #0x0f80000000000000
        msr     hfgitr_el2, x0
        mov     x0, #0x7800000000000000
        msr     hdfgrtr_el2, x0
        mov     x0, #0x7000000000000000
        msr     hdfgwtr_el2, x0
        mrs     x0, id_aa64pfr0_el1
        ubfx    x0, x0, #44, #4         /* AMU */
        cbz     x0, 61f
        msr     hafgrtr_el2, xzr
61:     cmp     x3, #2                  /* FEAT_FGT2: negative bits only */
        b.lo    7f
        mov     x0, #-1
        msr     S3_4_C3_C1_2, x0        /* HFGRTR2_EL2 */
        msr     S3_4_C3_C1_3, x0        /* HFGWTR2_EL2 */
        msr     S3_4_C3_C1_7, x0        /* HFGITR2_EL2 */
        msr     S3_4_C3_C1_0, x0        /* HDFGRTR2_EL2 */
        msr     S3_4_C3_C1_1, x0        /* HDFGWTR2_EL2 */
7:
        /* HCRX_EL2: all that enables something at EL1: EnAS0, EnALS, EnASR, MSCEn, TCR2En, SCTLR2En,
         * PTTWI, D128En, EnSNERR, EnSDERR, EnIDCP128, GCSEn, EnFPM, PACMEn, SRMASKEn. */
        mrs     x1, id_aa64mmfr1_el1
        ubfx    x3, x1, #40, #4
        cbz     x3, 8f
        ldr     x0, =((7 << 0) | (1 << 11) | (0x1f << 14) | (0x1f << 20) | (1 << 26))
        msr     hcrx_el2, x0
8:
        /* MDCR_EL2: every event counter, the profiling and the trace buffer belong to EL1. */
        mov     x0, xzr
        mrs     x1, id_aa64dfr0_el1
        ubfx    x3, x1, #8, #4          /* PMUVer: 0 none, 0xf not Arm's */
        cbz     x3, 9f
        cmp     x3, #0xf
        b.eq    9f
        mrs     x3, pmcr_el0
        ubfx    x0, x3, #11, #5         /* HPMN = PMCR_EL0.N */
9:      ubfx    x3, x1, #32, #4         /* PMSVer */
        cbz     x3, 10f
        orr     x0, x0, #(3 << 12)      /* E2PB */
10:     ubfx    x3, x1, #44, #4         /* TraceBuffer */
        cbz     x3, 11f
        orr     x0, x0, #(3 << 24)      /* E2TB */
11:     msr     mdcr_el2, x0
        isb
        trap_as kind_entry

/* A call to the firmware below us (EL3, or what plays it): x0..x3 as SMCCC has them. */
        .global firmware_call
firmware_call:
        smc     #0
        b       done

        .include "routines.inc"

        /* Until any interrupt is pending; then the caller goes on by itself, with all its registers. */
        .macro  standby version
        .global standby_gicv\version
standby_gicv\version:
        save_caller
        mov     x0, #after_standby
        str     x0, [sp, #(area_waiting - area_stack_top)]
        bl      until_interrupt_gicv\version
        b       return_to_caller
        .endm

        .include "idle.S"

        standby 2
        standby 3

        .ltorg

/* ---------------------------------------------------------------- vectors */

        /* From EL2 itself: a bug of ours, or memory that was overwritten. SP cannot be trusted. */
        .macro  from_el2 offset
        .org    vectors + \offset
        mrs     x0, tpidr_el2
        add     sp, x0, #area_stack_top
        stp     x0, x1, [sp, #-16]!
        mov     x1, #\offset
        b       unexpected
        .endm

        .macro  from_guest offset
        .org    vectors + \offset
        stp     x0, x1, [sp, #-16]!
        mov     x1, #\offset
        b       unexpected
        .endm

        .balign 0x800
vectors:
        from_el2   0x000
        from_el2   0x080
        from_el2   0x100
        from_el2   0x180
        from_el2   0x200
        from_el2   0x280
        from_el2   0x300
        from_el2   0x380

        .org    vectors + 0x400         /* synchronous, from AArch64 at a lower level */
        stp     x0, x1, [sp, #-16]!
        mrs     x0, esr_el2
        lsr     x1, x0, #26
        cmp     x1, #EC_HVC64
        mov     x1, #kind_hvc
        b.eq    call
        lsr     x1, x0, #26
        cmp     x1, #EC_SMC64
        mov     x1, #0x400
        b.ne    unexpected
        mrs     x1, elr_el2             /* a trapped SMC has not been passed yet */
        add     x1, x1, #4
        msr     elr_el2, x1
        mov     x1, #kind_smc
        b       call

        from_guest 0x480
        from_guest 0x500
        from_guest 0x580
        from_guest 0x600
        from_guest 0x680
        from_guest 0x700
        from_guest 0x780

call:                                   /* x0 = ESR_EL2, x1 = kind */
        tst     x0, #0xffff
        b.ne    call_with_immediate
        ldr     x0, [sp, #(16 + area_repeat - area_stack_top)]
        cmp     x0, x1
        b.eq    repeat
        cmp     x1, #kind_smc
        ldp     x0, x1, [sp], #16
trap_call:                              /* by `smc` if equal */
        b.eq    1f
        trap_as kind_hvc
1:      trap_as kind_smc

call_with_immediate:
        mrs     x1, tpidr_el2
        str     x0, [x1, #area_esr]
        ldp     x0, x1, [sp], #16
        trap_as kind_immediate

unexpected:                             /* x1 = offset of the vector */
        mrs     x0, tpidr_el2
        str     x1, [x0, #area_vector]
        mrs     x1, esr_el2
        str     x1, [x0, #area_esr]
        mrs     x1, elr_el2
        str     x1, [x0, #area_elr]
        mrs     x1, far_el2
        str     x1, [x0, #area_far]
        mrs     x1, spsr_el2
        str     x1, [x0, #area_spsr]
        ldp     x0, x1, [sp], #16
        trap_as kind_unexpected

/* --------------------------------------------------------------- the trap */

/*
 * In a page of its own: QEMU runs code in a page with a breakpoint one
 * instruction at a time (check_for_breakpoints, accel/tcg/cpu-exec.c).
 */
        .balign 4096
        .global trap
trap:
        nop
        .global return_to_guest
return_to_guest:                        /* ELR_EL2, SPSR_EL2 and the general registers are the guest's */
        eret

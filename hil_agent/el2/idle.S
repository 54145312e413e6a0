/*
 * Calls that the EL2 monitor answers by itself, the way the agent has answered them:
 * those of a guest that idles. A machine that stopped for each of them would hardly
 * come to anything else.
 *
 * The monitor still decides nothing. An answer says which call it is an answer to, by
 * its registers; any other call is a trap as ever. It is given at once, or after an
 * interrupt: then the caller goes on, or starts at its entry point, once the agent's
 * program has run.
 *
 * Meanwhile all that the monitor uses of the caller's registers is in area_caller.
 */

/* An answer: offsets in area_answers. */
        .global answer_size
        .set    answer_call, 0          /* x0 to x3; the last two count for a power-down state only */
        .set    answer_when, 32         /* after_*; 0: it is empty */
        .set    answer_value, 40        /* what x0 becomes */
        .set    answer_results, 48      /* how many registers are written, those behind x0 with 0 */
        .set    answer_count, 56        /* calls that were answered */
        .set    answer_ticks, 64        /* what they have waited, in ticks of the system counter */
        .set    answer_size, 80

        .set    SCTLR_EE, 25

        .macro  each_of_caller instruction
        \instruction x0, x1, [sp, #(area_caller - area_stack_top)]
        \instruction x2, x3, [sp, #(area_caller - area_stack_top + 16)]
        \instruction x4, x5, [sp, #(area_caller - area_stack_top + 32)]
        \instruction x6, x7, [sp, #(area_caller - area_stack_top + 48)]
        \instruction x8, x9, [sp, #(area_caller - area_stack_top + 64)]
        \instruction x10, x11, [sp, #(area_caller - area_stack_top + 80)]
        \instruction x12, x13, [sp, #(area_caller - area_stack_top + 96)]
        \instruction x14, x15, [sp, #(area_caller - area_stack_top + 112)]
        \instruction x16, x17, [sp, #(area_caller - area_stack_top + 128)]
        .endm

        .macro  save_caller
        each_of_caller stp
        str     x30, [sp, #(area_caller - area_stack_top + 144)]
        .endm

        .macro  load_caller
        each_of_caller ldp
        ldr     x30, [sp, #(area_caller - area_stack_top + 144)]
        .endm

repeat:                                 /* x0 and x1 are on the stack */
        ldp     x0, x1, [sp], #16
        save_caller
        add     x16, sp, #(area_answers - area_stack_top - answer_size)
1:      add     x16, x16, #answer_size
        ldp     x4, x5, [x16, #answer_call]
        ldr     x17, [x16, #answer_when]
        cbz     x17, unknown
        cmp     x0, x4
        ccmp    x1, x5, #0, eq
        b.ne    1b
        cmp     x17, #after_standby
        b.hi    power_down
        b.eq    standby
        mov     x2, xzr
        bl      count
        b       return_answer

unknown:
        ldr     x0, [sp, #(area_repeat - area_stack_top)]
        cmp     x0, #kind_smc
        load_caller
        b       trap_call

standby:
        bl      idle
return_answer:
        ldp     x3, x1, [x16, #answer_value]
        add     x2, sp, #(area_caller - area_stack_top)
1:      sub     x1, x1, #1
        str     xzr, [x2, x1, lsl #3]
        cbnz    x1, 1b
        str     x3, [x2]
return_to_caller:
        load_caller
        str     xzr, [sp, #(area_waiting - area_stack_top)]
        eret

power_down:
        ldp     x4, x5, [x16, #(answer_call + 16)]
        cmp     x2, x4
        ccmp    x3, x5, #0, eq
        b.ne    unknown
        mrs     x4, sctlr_el1
        tbnz    x4, #SCTLR_EE, unknown  /* the program is for a little-endian caller */
        bl      idle
        add     x1, x0, #area_entry_program
        add     x4, x1, #(area_data - area_entry_program)
        add     x2, x0, #area_entry_data
        bl      run
        ldr     x0, [sp, #(area_caller - area_stack_top + 24)]  /* context ID */
        .irp    number, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        mov     x\number, xzr
        .endr
        .irp    number, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
        mov     x\number, xzr
        .endr
        str     xzr, [sp, #(area_waiting - area_stack_top)]
        eret

/* Waits for an interrupt, and counts that. x16 = answer, x17 = after what; x0 becomes the area. */
idle:
        str     x17, [sp, #(area_waiting - area_stack_top)]
        mov     x17, x30
        mrs     x15, cntpct_el0
        ldr     x0, [sp, #(area_gic_version - area_stack_top)]
        tbnz    x0, #0, 1f
        bl      until_interrupt_gicv2
        b       2f
1:      bl      until_interrupt_gicv3
2:      mrs     x2, cntpct_el0
        sub     x2, x2, x15
        mov     x30, x17
count:                                  /* x2 = ticks */
        ldp     x3, x4, [x16, #answer_count]
        add     x3, x3, #1
        add     x4, x4, x2
        stp     x3, x4, [x16, #answer_count]
        ret

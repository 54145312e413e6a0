/*
 * Tells the whole state in which a vCPU is entered: one that CPU_ON has started, the same one started
 * again, then the caller after SYSTEM_SUSPEND, and the caller's state before that. The context ID is where the state is written to,
 * so that no register is lost.
 */
        .include "console.inc"
        .set    FRAME_SIZE, 1024

        .macro  for_each_system_register do
        .irp    name, currentel, spsel, daif, nzcv, mpidr_el1, sctlr_el1, ttbr0_el1, ttbr1_el1, tcr_el1
        \do     \name
        .endr
        .irp    name, mair_el1, vbar_el1, cpacr_el1, contextidr_el1, tpidr_el0, tpidr_el1, tpidrro_el0
        \do     \name
        .endr
        .irp    name, sp_el0, elr_el1, spsr_el1, esr_el1, far_el1, par_el1, csselr_el1, cntv_ctl_el0
        \do     \name
        .endr
        .irp    name, cntv_cval_el0, cntkctl_el1, mdscr_el1
        \do     \name
        .endr
        .endm

        .macro  save_system_register name
        mrs     x2, \name
        str     x2, [x1], #8
        .endm

        .macro  name_register name
        .asciz  "\name"
        .endm

        /* Writes all registers to the frame at x0, in the order of the names below. Clobbers x1 and x2. */
        .macro  save_state
        str     x0, [x0]
        .irp    number, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
        str     x\number, [x0, #(8 * \number)]
        .endr
        add     x1, x0, #(8 * 31)
        mov     x2, sp
        str     x2, [x1], #8
        for_each_system_register save_system_register
        mov     x2, #(3 << 20)                 /* CPACR_EL1.FPEN: no trap of FP and SIMD */
        msr     cpacr_el1, x2
        isb
        save_system_register fpcr
        save_system_register fpsr
        .irp    number, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        str     q\number, [x1], #16
        .endr
        .endm

        .macro  restore_what_we_use
        ldr     x1, =stack_top
        mov     sp, x1
        adr     x1, vectors
        msr     vbar_el1, x1
        isb
        .endm

        /* A value that tells itself apart, in a register that a guest may set. */
        .macro  mark register, value
        ldr     x1, =\value
        msr     \register, x1
        .endm

        /* Values that tell themselves apart, in every register that a guest may set. Clobbers x1. */
        .macro  mark_all
        mark    cpacr_el1, 0x300000
        isb
        mark    ttbr0_el1, 0x40789000
        mark    ttbr1_el1, 0x40723000
        mark    tcr_el1, 0x200803519
        mark    mair_el1, 0xff00
        mark    contextidr_el1, 0x1234
        mark    tpidr_el0, 0x7e57e100
        mark    tpidr_el1, 0x7e57e111
        mark    tpidrro_el0, 0x7e57e122
        mark    sp_el0, 0x40723450
        mark    elr_el1, 0x40200444
        mark    spsr_el1, 0x600003c5
        mark    esr_el1, 0x02000000
        mark    far_el1, 0x7e57fa00
        mark    par_el1, 0x1
        mark    csselr_el1, 0x2
        mark    cntv_cval_el0, 0x7fffffffffff
        mark    cntv_ctl_el0, 0x1
        mark    cntkctl_el1, 0x3
        mark    fpcr, 0xc00000
        mark    fpsr, 0x1f
        ldr     x1, =vector_mark
        .irp    number, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        ldr     q\number, [x1]
        .endr
        isb
        .endm

        /* Has vCPU 1 write its state at entry to \frame, and waits until it is off again. */
        .macro  start_cpu1 frame
        ldr     x10, =is_started
        str     xzr, [x10]
        dsb     sy
        ldr     x0, =CPU_ON
        mov     x1, #1
        adr     x2, started
        ldr     x3, =\frame
        hvc     #0
        ldr     x10, =is_started
7001:   ldr     x11, [x10]
        cbz     x11, 7001b
7002:   ldr     x0, =AFFINITY_INFO              /* it has said that it started, but may not be off yet */
        mov     x1, #1
        mov     x2, #0
        hvc     #0
        cmp     x0, #1
        b.ne    7002b
        .endm

        prologue
        start_cpu1 started_frame
        start_cpu1 again_frame
        say     "== started\n"
        ldr     x19, =started_frame
        bl      print_frame
        say     "== again\n"
        ldr     x19, =again_frame
        bl      print_frame

        mark_all
        ldr     x0, =before_frame
        save_state

        ldr     x0, =SYSTEM_SUSPEND
        adr     x1, resumed
        ldr     x2, =resumed_frame
        .irp    number, 3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
        mov     x\number, #-1
        .endr
        hvc     #0
        mov     x19, x0
        ldr     x1, =stack_top
        mov     sp, x1
        show    returned, x19
        b       end

resumed:
        save_state
        restore_what_we_use
        say     "== before\n"
        ldr     x19, =before_frame
        bl      print_frame
        say     "== resumed\n"
        ldr     x19, =resumed_frame
        bl      print_frame
end:    say     "done\n"
        wfi
        b       .

started:
        save_state
        dsb     sy
        ldr     x10, =is_started
        mov     x11, #1
        str     x11, [x10]
        ldr     x1, =stack_top
        mov     sp, x1
        adr     x1, vectors
        msr     vbar_el1, x1
        mark_all
        ldr     x0, =CPU_OFF
        hvc     #0
        b       .

/* Prints the frame at x19, "name=<hex>" a line. */
print_frame:
        mov     x25, x30
        adr     x21, names
1:      ldrb    w0, [x21]
        cbz     w0, 3f
        mov     x0, x21
        bl      print
        say     "="
        ldr     x0, [x19], #8
        bl      print_hex
        say     "\n"
2:      ldrb    w0, [x21], #1                  /* on to the next name */
        cbnz    w0, 2b
        b       1b
3:      ret     x25

names:
        .irp    number, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
        .asciz  "x\number"
        .endr
        .asciz  "sp_el1"
        for_each_system_register name_register
        .asciz  "fpcr"
        .asciz  "fpsr"
        .irp    number, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        .asciz  "v\number"
        .asciz  "v\number\()_high"
        .endr
        .byte   0

        .balign 16
is_started:     .quad 0, 0
vector_mark:    .quad 0x7e57f10a7e57f10a, 0x7e57f10b7e57f10b
started_frame:  .space FRAME_SIZE
again_frame:    .space FRAME_SIZE
before_frame:   .space FRAME_SIZE
resumed_frame:  .space FRAME_SIZE
        library

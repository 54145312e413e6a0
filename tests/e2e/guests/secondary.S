/* Takes a second vCPU up, around and down; tries to suspend while it is on. */
        .include "console.inc"
        .set    CONTEXT, 0x1122334455667788

        .macro  cpu1_on function
        ldr     x0, =\function
        mov     x1, #1
        adr     x2, secondary
        ldr     x3, =CONTEXT
        hvc     #0
        show    on, x0
        .endm

        /* Waits until vCPU 1 is in the state that AFFINITY_INFO calls \state. */
        .macro  await_cpu1 state
7001:   ldr     x0, =AFFINITY_INFO
        mov     x1, #1
        mov     x2, xzr
        hvc     #0
        cmp     x0, #\state
        b.ne    7001b
        .endm

        .macro  await address, value
        ldr     x10, =\address
7002:   ldr     x11, [x10]
        cmp     x11, #\value
        b.ne    7002b
        .endm

        prologue
        cpu1_on CPU_ON
        await   arrived, 1
        ldr     x10, =seen_x0
        ldr     x19, [x10]
        show    secondary_x0, x19
        ldr     x10, =seen_others
        ldr     x19, [x10]
        show    secondary_x1_to_x30, x19
        ldr     x10, =seen_el
        ldr     x19, [x10]
        show    secondary_el, x19
        ldr     x10, =seen_daif
        ldr     x19, [x10]
        show    secondary_daif, x19
        ldr     x10, =seen_sctlr
        ldr     x19, [x10]
        show    secondary_sctlr, x19
        call    affinity_on, AFFINITY_INFO, 1
        cpu1_on CPU_ON
        call    suspend_denied, SYSTEM_SUSPEND, 0x40200000
        call    suspend_denied32, SYSTEM_SUSPEND32, 0x40200000
        call    suspend_odd_first, SYSTEM_SUSPEND, 0x40200001
        ldr     x10, =leave
        mov     x11, #1
        str     x11, [x10]
        await_cpu1 1
        say     "off\n"
        cpu1_on CPU_ON32
        await   arrived, 2
        await_cpu1 1
        say     "done\n"
        wfi
        b       .

secondary:
        /* Registers are all that there is: nothing may be used before it was looked at. */
        orr     x1, x1, x2
        orr     x1, x1, x3
        orr     x1, x1, x4
        orr     x1, x1, x5
        orr     x1, x1, x6
        orr     x1, x1, x7
        orr     x1, x1, x8
        orr     x1, x1, x9
        orr     x1, x1, x10
        orr     x1, x1, x11
        orr     x1, x1, x12
        orr     x1, x1, x13
        orr     x1, x1, x14
        orr     x1, x1, x15
        orr     x1, x1, x16
        orr     x1, x1, x17
        orr     x1, x1, x18
        orr     x1, x1, x19
        orr     x1, x1, x20
        orr     x1, x1, x21
        orr     x1, x1, x22
        orr     x1, x1, x23
        orr     x1, x1, x24
        orr     x1, x1, x25
        orr     x1, x1, x26
        orr     x1, x1, x27
        orr     x1, x1, x28
        orr     x1, x1, x29
        orr     x1, x1, x30
        ldr     x10, =seen_x0
        str     x0, [x10]
        ldr     x10, =seen_others
        str     x1, [x10]
        mrs     x11, CurrentEL
        mrs     x12, SPSel
        orr     x11, x11, x12
        ldr     x10, =seen_el
        str     x11, [x10]
        mrs     x11, daif
        ldr     x10, =seen_daif
        str     x11, [x10]
        mrs     x11, sctlr_el1
        ldr     x10, =seen_sctlr
        str     x11, [x10]
        dsb     sy
        ldr     x10, =arrived
        ldr     x11, [x10]
        add     x11, x11, #1
        str     x11, [x10]
        ldr     x10, =leave
1:      ldr     x11, [x10]
        cbz     x11, 1b
        ldr     x0, =CPU_OFF
        hvc     #0
        b       .

        .ltorg
        .balign 8
arrived:        .quad 0
leave:          .quad 0
seen_x0:        .quad 0
seen_others:    .quad 0
seen_el:        .quad 0
seen_daif:      .quad 0
seen_sctlr:     .quad 0
        library

/*
 * A guest that executes one instruction at a time, as the host asks, and keeps what came of it.
 *
 * Whatever brings a vCPU back to us ends at `arrive`: the end of the instruction, an exception, an
 * entry point that firmware sent it to. There its general registers, and what else the probe itself
 * needs, are written into its record before they are changed. The host reads the rest by MRS and LDR.
 *
 * Commands come over the PL011: a letter and hexadecimal numbers, each line ended by a newline. A vCPU
 * is named by the address of its area.
 *
 *   w ADDRESS WORD                     write 32 bits, which may be an instruction
 *   x AREA PSTATE ADDRESS X0 X1 X2 X3  prepare to execute what is at ADDRESS
 *   g                                  go: whatever is prepared is executed, on all vCPUs at once
 *   r AREA COUNT TICKS                 wait for the vCPU, at most so many ticks of CNTVCT_EL0; answer with
 *                                      one line: 1 or 0, whether it has arrived, and COUNT words of its record
 *   o AREA                             that vCPU has the console from now on; at first it is the boot vCPU
 *
 * There is no stack, and there are no atomic instructions: with the MMU off they need not work.
 */
        .set    UART, 0x09000000
        .set    UART_FR, 0x18
        .set    UART_LCR_H, 0x2c
        .set    UART_CR, 0x30
        .set    FR_RXFE, 4
        .set    FR_TXFF, 5
        .set    LCR_H_8_BITS_FIFO, 0x70
        .set    CR_RX_TX_ENABLE, 0x301

        .set    LANDINGS, 32
        .set    AREAS, 64
        .set    PATTERN, 0xa5a5a5a5a5a5a500     /* + n in x<n>, + 31 in SP, + 32 + n in both halves of v<n> */

/* One area for each vCPU. It begins with the record. */
        .struct 0
area_where:     .space 8        /* `returned`, in `vectors`, or in `landings`: its PC when it came back */
area_changed:   .space 8        /* bit n: x<n> (SP for 31), bit 32 + n: v<n> is not the pattern */
area_pstate:    .space 8
area_x:         .space 31 * 8
area_sp:        .space 8
area_esr:       .space 8
area_elr:       .space 8
area_spsr:      .space 8
area_vbar:      .space 8
area_cpacr:     .space 8
area_time:      .space 8        /* CNTVCT_EL0 */
        .balign 16
area_v:         .space 32 * 16
area_arrived:   .space 8
area_ticket:    .space 8        /* what is prepared is executed once the gate shows this number; 0: nothing is */
area_request:   .space 6 * 8
area_slot:      .space 8        /* an instruction of the host's, then a branch to `returned` */
area_end:
        .set    AREA_SHIFT, 10
        .if     area_end > (1 << AREA_SHIFT)
        .error  "an area is too small"
        .endif
        .global area_slot

        .text
/* Where the guest starts and where firmware is told to enter. Each has a branch of its own, to tell PC. */
        .global entry, landings
entry:
landings:
        .set    number, 0
        .rept   LANDINGS
        b       landed + 16 * number
        .set    number, number + 1
        .endr
landed:
        .set    number, 0
        .rept   LANDINGS
        msr     tpidrro_el0, x1
        adr     x1, landings + 4 * number
        b       arrive
        nop
        .set    number, number + 1
        .endr

/* Both conduits, at addresses that stay. */
        .global hvc_site, smc_site, returned
hvc_site:
        hvc     #0
        b       returned
smc_site:
        smc     #0
returned:
        msr     tpidrro_el0, x1
        adr     x1, returned

/* x1: where it came back to us; its own x1 is in TPIDRRO_EL0. Leaves x19 = its area. */
arrive:
        msr     far_el1, x2
        mrs     x2, mpidr_el1
        bfi     x2, x2, #10, #4                 /* Aff0, above the low bits of Aff1 */
        ubfx    x2, x2, #8, #6
        lsl     x2, x2, #AREA_SHIFT
        movk    x2, #:abs_g1_nc:areas

        .irp    n, 3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
        str     x\n, [x2, #(area_x + 8 * \n)]
        .endr
        mov     x19, x2
        str     x0, [x19, #area_x]
        mrs     x3, tpidrro_el0
        mrs     x4, far_el1
        stp     x3, x4, [x19, #(area_x + 8)]
        str     x1, [x19, #area_where]

        mrs     x0, nzcv                        /* PSTATE, laid out as in SPSR_EL1 */
        mrs     x1, daif
        orr     x0, x0, x1
        mrs     x1, currentel
        orr     x0, x0, x1
        mrs     x1, spsel
        orr     x0, x0, x1
        msr     daifset, #0xf
        msr     spsel, #1
        str     x0, [x19, #area_pstate]
        mov     x0, sp
        str     x0, [x19, #area_sp]
        mrs     x0, esr_el1
        mrs     x1, elr_el1
        stp     x0, x1, [x19, #area_esr]
        mrs     x0, spsr_el1
        mrs     x1, vbar_el1
        stp     x0, x1, [x19, #area_spsr]
        mrs     x0, cpacr_el1
        mrs     x1, cntvct_el0
        stp     x0, x1, [x19, #area_cpacr]

        adr     x0, vectors
        msr     vbar_el1, x0
        mov     x0, #(3 << 20)                  /* FPEN */
        msr     cpacr_el1, x0
        isb
        add     x0, x19, #area_v
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        str     q\n, [x0, #(16 * \n)]
        .endr

        /* x0 to x3 carry arguments and results; all others should be as they were. */
        ldr     x0, =PATTERN
        mov     x1, #31
        add     x2, x19, #area_sp
        mov     x3, xzr
        mov     x4, #1
1:      ldr     x5, [x2], #-8
        add     x6, x0, x1
        cmp     x5, x6
        lsl     x6, x4, x1
        csel    x6, xzr, x6, eq
        orr     x3, x3, x6
        sub     x1, x1, #1
        cmp     x1, #4
        b.hs    1b
        mov     x1, #32
        add     x2, x19, #area_v
2:      ldp     x5, x7, [x2], #16
        add     x6, x0, x1
        cmp     x5, x6
        ccmp    x7, x6, #0, eq
        lsl     x6, x4, x1
        csel    x6, xzr, x6, eq
        orr     x3, x3, x6
        add     x1, x1, #1
        cmp     x1, #64
        b.lo    2b
        str     x3, [x19, #area_changed]
        dsb     sy
        str     x4, [x19, #area_arrived]

        adr     x20, shared
        ldr     x21, =UART
        add     x23, x20, #(numbers - 8 - shared)
        ldr     x0, [x20, #(owner - shared)]
        cbnz    x0, idle
        str     x19, [x20, #(owner - shared)]
        str     wzr, [x21, #UART_CR]
        mov     w0, #LCR_H_8_BITS_FIFO
        str     w0, [x21, #UART_LCR_H]
        mov     w0, #CR_RX_TX_ENABLE
        str     w0, [x21, #UART_CR]
        adr     x1, banner
1:      ldrb    w0, [x1], #1
        cbz     w0, idle
        bl      print
        b       1b

/* ---------------------------------------------------------------- waiting for something to do */

/* x19: own area, x20: shared, x21: UART, x22: letter of a command, x23: where its last number is. */
idle:
        ldr     x0, [x19, #area_ticket]
        cbz     x0, 1f
        ldr     x1, [x20, #(gate - shared)]
        cmp     x0, x1
        b.ls    execute
1:      ldr     x0, [x20, #(owner - shared)]
        cmp     x0, x19
        b.ne    idle
        ldr     x24, [x20, #(awaited - shared)]
        cbz     x24, read
        ldr     x25, [x24, #area_arrived]
        cbnz    x25, answer
        isb
        mrs     x0, cntvct_el0
        ldr     x1, [x20, #(deadline - shared)]
        cmp     x0, x1
        b.lo    idle

answer:
        dsb     sy
        str     xzr, [x24, #area_arrived]
        str     xzr, [x20, #(awaited - shared)]
        ldr     x26, [x20, #(numbers + 8 - shared)]
1:      orr     x1, x25, #1
        clz     x1, x1
        mov     x2, #60
        bic     x1, x2, x1                       /* lowest bit of the first digit that is not 0 */
2:      lsr     x0, x25, x1
        and     x0, x0, #15
        cmp     x0, #10
        add     x2, x0, #'0'
        add     x0, x0, #('a' - 10)
        csel    x0, x2, x0, lo
        bl      print
        subs    x1, x1, #4
        b.pl    2b
        mov     w0, #' '
        cbz     x26, 3f
        bl      print
        ldr     x25, [x24], #8
        sub     x26, x26, #1
        b       1b
3:      mov     w0, #'\n'
        bl      print
        b       idle

/* One character of a command. */
read:
        ldr     w0, [x21, #UART_FR]
        tbnz    w0, #FR_RXFE, idle
        ldr     w0, [x21]
        and     w0, w0, #0xff
        cmp     w0, #'\n'
        b.eq    command
        cmp     w0, #' '
        b.eq    next_number
        cmp     w0, #'g'
        b.hs    letter
        sub     w1, w0, #'0'
        sub     w2, w0, #('a' - 10)
        cmp     w1, #10
        csel    w1, w1, w2, lo
        and     x1, x1, #15
        ldr     x2, [x23]
        add     x2, x1, x2, lsl #4
        str     x2, [x23]
        b       idle
next_number:
        add     x1, x20, #(last_number - shared)
        cmp     x23, x1
        b.hs    1f
        add     x23, x23, #8
1:      str     xzr, [x23]
        b       idle
letter:                                         /* any that is no hexadecimal digit */
        mov     w22, w0
        add     x23, x20, #(numbers - 8 - shared)
        b       idle

command:
        ldp     x0, x1, [x20, #(numbers - shared)]
        cmp     w22, #'w'
        b.eq    write
        cmp     w22, #'x'
        b.eq    prepare
        cmp     w22, #'g'
        b.eq    go
        cmp     w22, #'r'
        b.eq    await
        cmp     w22, #'o'
        b.ne    idle
        str     x0, [x20, #(owner - shared)]
        b       idle

write:
        str     w1, [x0]
        dc      cvau, x0
        dsb     ish
        ic      ivau, x0
        dsb     ish
        isb
        b       idle

prepare:
        ldp     x2, x3, [x20, #(numbers + 16 - shared)]
        ldp     x4, x5, [x20, #(numbers + 32 - shared)]
        ldr     x6, [x20, #(numbers + 48 - shared)]
        add     x7, x0, #area_request
        stp     x1, x2, [x7]
        stp     x3, x4, [x7, #16]
        stp     x5, x6, [x7, #32]
        str     xzr, [x0, #area_arrived]
        ldr     x1, [x20, #(gate - shared)]
        add     x1, x1, #1
        dsb     sy
        str     x1, [x0, #area_ticket]
        b       idle

go:
        ldr     x1, [x20, #(gate - shared)]
        add     x1, x1, #1
        str     x1, [x20, #(gate - shared)]
        b       idle

await:
        ldr     x2, [x20, #(numbers + 16 - shared)]
        mrs     x3, cntvct_el0
        add     x2, x2, x3
        stp     x0, x2, [x20, #(awaited - shared)]
        b       idle

/* x0: character. Clobbers x28. */
print:
        ldr     w28, [x21, #UART_FR]
        tbnz    w28, #FR_TXFF, print
        str     w0, [x21]
        ret

/* ERET goes there without a register, and sets the flags. */
execute:
        str     xzr, [x19, #area_ticket]
        add     x4, x19, #area_request
        ldp     x0, x1, [x4]
        msr     spsr_el1, x0
        msr     elr_el1, x1
        ldp     x0, x1, [x4, #16]
        ldp     x2, x3, [x4, #32]
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        ldr     x4, =(PATTERN + 32 + \n)
        dup     v\n\().2d, x4
        .endr
        ldr     x4, =(PATTERN + 31)
        mov     sp, x4
        .irp    n, 4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
        ldr     x\n, =(PATTERN + \n)
        .endr
        eret
        .ltorg

        .balign 0x800
        .global vectors
vectors:
        .rept   16
        .balign 0x80
        msr     tpidrro_el0, x1
        adr     x1, . - 4
        b       arrive
        .endr

        .balign 8
shared:
owner:          .quad 0                         /* who has the console */
gate:           .quad 0
awaited:        .quad 0                         /* whose arrival is to be answered for, or 0 */
deadline:       .quad 0
                .quad 0                         /* digits that belong to no number */
numbers:        .space 6 * 8
last_number:    .quad 0
banner:         .asciz "psci-probe ready\n"

        .balign (AREAS << AREA_SHIFT)
        .global areas
areas:
        .rept   AREAS
        .space  area_slot
        .word   0
        b       returned
        .space  (1 << AREA_SHIFT) - area_end
        .endr

/* A translation table of the host's. */
        .balign 4096
        .global table
table:  .space  4096

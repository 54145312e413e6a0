/*
 * Idles: makes the same call of CPU_SUSPEND five times, each ended by the virtual timer, and once for good. STATE is
 * the power state; it comes back with x0 = EXPECTED, at the entry point if DOWN is 1, else behind the call. If
 * STATISTICS is 1 it asks for those after the first time and after the fifth. It calls by `hvc`, or by `smc` if SMC
 * is 1; GIC is the version of that.
 */
        .include "console.inc"
        .include "timer.inc"
        .set    CONTEXT, 0x1122334455667788
        .set    CPU_SUSPEND64, 0xc4000001
        .set    STAT_RESIDENCY, 0xc4000010
        .set    STAT_COUNT, 0xc4000011
        .set    STAYS, 5

        .macro  statistics when
        .if     STATISTICS
        call    count_\when, STAT_COUNT, 0, STATE
        call    residency_\when, STAT_RESIDENCY, 0, STATE
        .endif
        .endm

        /* x4 to x30 each become their number, by `mov`, or that less, by `sub`; or are collected in x0. */
        .macro  numbers instruction
        .irp    number, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
        .ifc    \instruction, mov
        mov     x\number, #\number
        .endif
        .ifc    \instruction, sub
        sub     x\number, x\number, #\number
        .endif
        .ifc    \instruction, orr
        orr     x0, x0, x\number
        .endif
        .endr
        .endm

        .macro  idle
        numbers mov
        ldr     x0, =CPU_SUSPEND64
        ldr     x1, =STATE
        adr     x2, back
        ldr     x3, =CONTEXT
        conduit
        .if     DOWN
        b       end                     /* it must not return */
        .endif
        .endm

        prologue
        open_gic
again:  arm_timer 20
        ldr     x0, =results
        mrs     x1, cntvct_el0
        str     x1, [x0, #began]
        idle
back:
        .ifeq   DOWN
        numbers sub
        .endif
        ldr     x2, =EXPECTED           /* x0, and x4 to x30, less what they should be */
        sub     x0, x0, x2
        numbers orr
        timer_off
        ldr     x2, =stack_top
        mov     sp, x2
        ldr     x19, =results
        ldp     x3, x4, [x19, #changed]
        orr     x3, x3, x0
        add     x4, x4, #1
        stp     x3, x4, [x19, #changed] /* and stays */
        str     x1, [x19, #first]
        cmp     x4, #1
        b.eq    1f
        ldp     x5, x6, [x19, #began]   /* and elapsed */
        mrs     x7, cntvct_el0
        sub     x7, x7, x5
        add     x6, x6, x7
        str     x6, [x19, #elapsed]
        cmp     x4, #STAYS
        b.ne    again
        statistics last
        b       2f
1:      statistics first
        b       again

2:      ldr     x19, =results
        ldr     x21, [x19, #changed]
        show    changed, x21
        ldr     x21, [x19, #first]
        show    x1, x21
        ldr     x21, [x19, #elapsed]
        ldr     x22, =1000000
        mul     x21, x21, x22
        mrs     x22, cntfrq_el0
        udiv    x21, x21, x22
        show    elapsed, x21
        say     "done\n"
        idle
end:    say     "went on\n"
        b       .

        .ltorg
        .balign 16
        .set    changed, 0              /* what of the registers ever was not as it should be */
        .set    stays, 8
        .set    first, 16               /* x1, the last time */
        .set    began, 32
        .set    elapsed, 40             /* ticks over all but the first */
results:
        .space  48
        library

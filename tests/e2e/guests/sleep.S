/*
 * Sleeps in three ways: CPU_SUSPEND in a standby and in a power-down state, and SYSTEM_SUSPEND. The virtual timer
 * is armed to end each, unless ALARM is 0. It calls by `hvc`, or by `smc` if SMC is 1; GIC is the version of that.
 */
        .include "console.inc"
        .set    CONTEXT, 0x1122334455667788
        .set    CPU_SUSPEND64, 0xc4000001
        .set    POWER_DOWN, 1 << 16
        .set    TIMER, 1 << 27                 /* PPI 27 */
        .set    GICD, 0x08000000
        .set    GICC, 0x08010000
        .set    GICR, 0x080a0000

        .macro  write address, value
        ldr     x1, =\address
        ldr     w2, =\value
        str     w2, [x1]
        .endm

        /* Makes the call that x0 to x3 are set for; the timer goes off in a tenth of a second. */
        .macro  sleep
        mrs     x10, cntfrq_el0
        mov     x11, #10
        udiv    x10, x10, x11
        msr     cntv_tval_el0, x10
        mov     x10, #ALARM
        msr     cntv_ctl_el0, x10
        isb
        .if     SMC
        smc     #0
        .else
        hvc     #0
        .endif
        .endm

        .macro  timer_off
        msr     cntv_ctl_el0, xzr
        isb
        .endm

        prologue
        .if     GIC == 3
        write   GICD, 0x12                     /* affinity routing, group 1 */
        write   (GICR + 0x14), 0               /* GICR_WAKER */
        write   (GICR + 0x10080), 0xffffffff   /* GICR_IGROUPR0 */
        write   (GICR + 0x10100), TIMER        /* GICR_ISENABLER0 */
        mov     x1, #0xff
        msr     icc_pmr_el1, x1
        mov     x1, #1
        msr     icc_igrpen1_el1, x1
        .else
        write   GICD, 1
        write   (GICD + 0x100), TIMER
        write   (GICC + 4), 0xff
        write   GICC, 1
        .endif
        isb

        ldr     x0, =CPU_SUSPEND64
        mov     x1, xzr
        sleep
        timer_off
        mov     x19, x0
        show    standby, x19

        ldr     x0, =CPU_SUSPEND64
        mov     x1, #POWER_DOWN
        adr     x2, powered_down
        ldr     x3, =CONTEXT
        sleep
        timer_off
        mov     x19, x0
        show    power_down_returned, x19
        b       suspend
powered_down:
        timer_off
        ldr     x1, =stack_top
        mov     sp, x1
        mov     x19, x0
        show    power_down, x19

suspend:
        ldr     x0, =SYSTEM_SUSPEND
        adr     x1, resumed
        ldr     x2, =CONTEXT
        sleep
        mov     x19, x0
        show    suspend_returned, x19
        b       end
resumed:
        timer_off
        ldr     x1, =stack_top
        mov     sp, x1
        mov     x19, x0
        show    resumed, x19
end:    say     "done\n"
        wfi
        b       .
        library

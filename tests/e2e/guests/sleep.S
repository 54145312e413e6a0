/*
 * Sleeps in three ways: CPU_SUSPEND in a standby and in a power-down state, and SYSTEM_SUSPEND. The virtual timer
 * is armed to end each, unless ALARM is 0. It calls by `hvc`, or by `smc` if SMC is 1; GIC is the version of that.
 */
        .include "console.inc"
        .include "timer.inc"
        .set    CONTEXT, 0x1122334455667788
        .set    CPU_SUSPEND64, 0xc4000001
        .set    POWER_DOWN, 1 << 16

        /* Makes the call that x0 to x3 are set for; the timer goes off in a tenth of a second. */
        .macro  sleep
        arm_timer 10, ALARM
        conduit
        .endm

        prologue
        open_gic

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

/*
 * The EL1 monitor: where vCPUs wait that have no EL2 to wait in.
 *
 * A guest never enters it by itself. The agent catches a call at the guest's own
 * instruction, and where the answer takes more than registers it turns the vCPU's
 * MMU off and brings it here: SCTLR_EL1 has its value at reset, the guest's is the
 * agent's to keep, as are PC, PSTATE and general registers. All other system
 * registers are the guest's still, SP and VBAR_EL1 too, so nothing here may use a
 * stack or take an exception.
 *
 * It is position independent and writes nothing in itself, as the EL2 monitor.
 * What vCPUs have in common there is in routines.inc.
 */

        .arch   armv8-a

/* The private interrupt of EL1's physical timer (Arm BSA): our tick. Linux uses the virtual one. */
        .set    TICK_PPI, 30

        .include "definitions.inc"
        field   area_timer, 16          /* what the guest has in the timer that ticks */
        area_ends 1024

        .macro  own_area
        .endm
        .macro  tick_start
        msr     cntp_tval_el0, x3
        mov     x7, #1
        msr     cntp_ctl_el0, x7
        isb
        .endm
        .macro  tick_stop
        msr     cntp_ctl_el0, xzr
        isb
        .endm
        .macro  tick_save
        mrs     x7, cntp_ctl_el0
        mrs     x9, cntp_cval_el0
        stp     x7, x9, [x0, #area_timer]
        tick_stop
        .endm
        .macro  tick_restore
        ldp     x7, x9, [x0, #area_timer]
        msr     cntp_cval_el0, x9
        msr     cntp_ctl_el0, x7
        isb
        .endm

        .section .text
/* The way in of a vCPU that was powered on, as the firmware below starts it. */
        .global entry
entry:
        msr     daifset, #0xf
        msr     spsel, #1
        trap_as kind_entry

/* A call to the firmware below us: x0..x3 as SMCCC has them. */
        .global firmware_call_hvc, firmware_call_smc
firmware_call_hvc:
        hvc     #0
        b       done
firmware_call_smc:
        smc     #0
        b       done

/* The way out, x0 = the guest's SCTLR_EL1: stepped, as there may be nothing mapped behind it. */
        .global set_sctlr
set_sctlr:
        msr     sctlr_el1, x0

        .include "routines.inc"

/* In a page of its own, as in the EL2 monitor. */
        .balign 4096
        .global trap
trap:
        nop
        b       trap

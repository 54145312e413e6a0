"""QEMU's built-in PSCI (target/arm/psci.c, arm-powerctl.c of QEMU 7.2 and 10.0), for comparison.

It has no SYSTEM_SUSPEND. Its race in CPU_ON, where two callers may both succeed, is not imitated.
"""

from __future__ import annotations

from hil_agent.psci.actions import COMMON, AffinityState, affinity_info, cpu_on, cpu_standby
from hil_agent.psci.checks import target_off, target_present
from hil_agent.psci.effects import Outcome
from hil_agent.psci.entry import PSTATE_DAIF, PSTATE_EL1H
from hil_agent.psci.functions import Function, ReturnCode
from hil_agent.psci.profile import Implementation, Profile, Reaction, Request, Version

_PSTATE_Z = 0x4000_0000
_POWER_STATE_REFUSED = 0xFFFE_0000


def entry_point_word(request: Request) -> ReturnCode | None:
    """INVALID_PARAMETERS, where PSCI has INVALID_ADDRESS, unless the entry point is aligned."""
    return ReturnCode.INVALID_PARAMETERS if request.entry_point & 3 else None


def power_level_zero(request: Request) -> ReturnCode | None:
    """INVALID_PARAMETERS if a power state has more than StateID and StateType, be it a level."""
    return ReturnCode.INVALID_PARAMETERS if request.args[0] & _POWER_STATE_REFUSED else None


def affinity_present_at_level_0(request: Request) -> ReturnCode | None:
    """INVALID_PARAMETERS if no vCPU has the MPIDR, all 64 bits of it, and the level is 0."""
    return target_present(request) if request.args[1] == 0 else None


def affinity_info_at_level_0(request: Request) -> Outcome:
    """AFFINITY_INFO: ON at every level above 0, whatever is asked."""
    return affinity_info(request) if request.args[1] == 0 else request.profile.answer(AffinityState.ON)


PROFILE = Profile(
    name="qemu",
    summary="QEMU's built-in PSCI, without SYSTEM_SUSPEND",
    psci_version=Version(1, 1),
    functions={
        **COMMON,
        Function.CPU_SUSPEND: Implementation(cpu_standby, (power_level_zero,)),
        Function.CPU_ON: Implementation(cpu_on, (entry_point_word, target_present, target_off)),
        Function.AFFINITY_INFO: Implementation(affinity_info_at_level_0, (affinity_present_at_level_0,)),
    },
    reads_whole_x0=True,
    reads_whole_arguments=frozenset(Function),
    on_other_conduit=Reaction.UNDEFINED,
    entry_pstate=PSTATE_EL1H | PSTATE_DAIF | _PSTATE_Z,
    entry_registers=dict.fromkeys(
        (
            "TTBR0_EL1",
            "TTBR1_EL1",
            "TCR_EL1",
            "MAIR_EL1",
            "VBAR_EL1",
            "CPACR_EL1",
            "CONTEXTIDR_EL1",
            "TPIDR_EL0",
            "TPIDR_EL1",
            "SP_EL0",
            "SP_EL1",
            "ELR_EL1",
            "SPSR_EL1",
            "ESR_EL1",
            "FAR_EL1",
        ),
        0,
    )
    | {"SCTLR_EL1": 0x00C5_0838},
)

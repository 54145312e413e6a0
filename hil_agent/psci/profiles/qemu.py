"""QEMU's built-in PSCI (target/arm/psci.c, arm-powerctl.c of QEMU 7.2 and 10.0), for comparison.

It has no SYSTEM_SUSPEND. Its race in CPU_ON, where two callers may both succeed, is not imitated.
"""

from __future__ import annotations

from hil_agent.psci.actions import COMMON, cpu_off, cpu_on, cpu_standby
from hil_agent.psci.checks import target_off, target_present
from hil_agent.psci.effects import Outcome
from hil_agent.psci.entry import PSTATE_DAIF, PSTATE_EL1H, VECTORS_ZERO
from hil_agent.psci.functions import PSCI_0_1_IDS, Function, ReturnCode
from hil_agent.psci.profile import Implementation, Profile, Reaction, Request
from hil_agent.psci.queries import AffinityState, affinity_info, psci_features
from hil_agent.psci.version import Version

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


def psci_features_of_0_1(request: Request) -> Outcome:
    """PSCI_FEATURES: says of the function IDs of PSCI 0.1, too, that they are there."""
    if PSCI_0_1_IDS.get(request.args[0]) in request.profile.legacy_functions:
        return request.profile.answer(ReturnCode.SUCCESS)
    return psci_features(request)


_CPU_SUSPEND = Implementation(cpu_standby, (power_level_zero,))
_CPU_ON = Implementation(cpu_on, (entry_point_word, target_present, target_off))

PROFILE = Profile(
    name="qemu",
    summary="QEMU's built-in PSCI, without SYSTEM_SUSPEND",
    psci_version=Version(1, 1),
    functions={
        **COMMON,
        Function.PSCI_FEATURES: Implementation(psci_features_of_0_1),
        Function.CPU_SUSPEND: _CPU_SUSPEND,
        Function.CPU_ON: _CPU_ON,
        Function.AFFINITY_INFO: Implementation(affinity_info_at_level_0, (affinity_present_at_level_0,)),
    },
    legacy_functions={
        Function.CPU_SUSPEND: _CPU_SUSPEND,
        Function.CPU_OFF: Implementation(cpu_off),
        Function.CPU_ON: _CPU_ON,
    },
    answers_legacy_ids=True,
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
            "PAR_EL1",
            "CSSELR_EL1",
            "CNTV_CTL_EL0",
            "CNTV_CVAL_EL0",
            "CNTKCTL_EL1",
            "MDSCR_EL1",
            "FPCR",
        ),
        0,
    )
    | {"SCTLR_EL1": 0x00C5_0838},
    entry_vectors=VECTORS_ZERO,
)

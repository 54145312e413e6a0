"""A guest on Linux KVM (arch/arm64/kvm/psci.c, hypercalls.c, reset.c of Linux 6.1).

KVM hands SYSTEM_SUSPEND to the program that runs it; its checks here are those of a careful one.
"""

from __future__ import annotations

from hil_agent.psci.actions import COMMON, affinity_info, answers, cpu_on, smccc_arch_features, system_suspend
from hil_agent.psci.checks import (
    affinity_bits_only,
    affinity_level_known,
    affinity_present,
    entry_point_even,
    others_off,
    target_off,
    target_present,
)
from hil_agent.psci.entry import SCTLR_EL1_RESET
from hil_agent.psci.functions import MASK32, Function, ReturnCode
from hil_agent.psci.profile import Implementation, Profile, Reaction, Request, Version

_UNKNOWN = 0x1DE7_EC7E_DBAD_C0DE
"""What KVM resets a register to whose reset value is architecturally UNKNOWN (sys_regs.h)."""


def affinity_level_fits_32_bits(request: Request) -> ReturnCode | None:
    """INVALID_PARAMETERS if the upper half of the level is not zero: KVM reads all of it."""
    return ReturnCode.INVALID_PARAMETERS if request.args[1] > MASK32 else None


PROFILE = Profile(
    name="kvm",
    summary="Linux KVM 6.1 with SYSTEM_SUSPEND enabled",
    psci_version=Version(1, 1),
    functions={
        **COMMON,
        Function.CPU_ON: Implementation(cpu_on, (target_present, target_off)),
        Function.AFFINITY_INFO: Implementation(
            affinity_info,
            (affinity_bits_only, affinity_level_fits_32_bits, affinity_level_known, affinity_present),
        ),
        Function.SYSTEM_SUSPEND: Implementation(system_suspend, (others_off, entry_point_even)),
        Function.SMCCC_VERSION: Implementation(answers(Version(1, 1).encoded)),
        Function.SMCCC_ARCH_FEATURES: Implementation(smccc_arch_features),
    },
    results=4,  # smccc_set_retval writes x0 to x3
    on_other_conduit=Reaction.REFUSE,
    entry_registers={
        "SCTLR_EL1": SCTLR_EL1_RESET,
        "TTBR0_EL1": _UNKNOWN,
        "TTBR1_EL1": _UNKNOWN,
        "TCR_EL1": 0,
        "MAIR_EL1": _UNKNOWN,
        "VBAR_EL1": 0,
        "CPACR_EL1": 0,
        "CONTEXTIDR_EL1": 0,
        "TPIDR_EL0": _UNKNOWN,
        "TPIDR_EL1": _UNKNOWN,
        "SP_EL0": 0,
        "ESR_EL1": _UNKNOWN,
        "FAR_EL1": _UNKNOWN,
    },
)

"""A guest on Linux KVM (arch/arm64/kvm/psci.c, hypercalls.c, trng.c, reset.c of Linux 6.1).

KVM hands SYSTEM_SUSPEND to the program that runs it; its checks here are those of a careful one. PSCI
above 1.1 is that of later kernels.
"""

from __future__ import annotations

from uuid import UUID

from hil_agent.psci.actions import COMMON, cpu_off, cpu_on, system_off2, system_reset2, system_suspend
from hil_agent.psci.arch import ArchCode, smccc_arch_features, uuid
from hil_agent.psci.checks import (
    affinity_bits_only,
    affinity_level_known,
    affinity_present,
    entry_point_even,
    off_type_known,
    others_off,
    reset_type_known,
    target_off,
    target_present,
)
from hil_agent.psci.entry import SCTLR_EL1_RESET, VECTORS_ZERO
from hil_agent.psci.functions import MASK32, Function, ReturnCode
from hil_agent.psci.profile import Implementation, Profile, Reaction, Request
from hil_agent.psci.queries import affinity_info, answers
from hil_agent.psci.trng import trng
from hil_agent.psci.version import V0_1, Version

_UNKNOWN = 0x1DE7_EC7E_DBAD_C0DE
"""What KVM resets a register to whose reset value is architecturally UNKNOWN (sys_regs.h)."""

_CPU_ON = Implementation(cpu_on, (target_present, target_off))
_FEATURES_ONLY = 1 << 0  # of the vendor's functions: no PTP clock


def affinity_level_fits_32_bits(request: Request) -> ReturnCode | None:
    """INVALID_PARAMETERS if the upper half of the level is not zero: KVM reads all of it."""
    return ReturnCode.INVALID_PARAMETERS if request.args[1] > MASK32 else None


PROFILE = Profile(
    name="kvm",
    summary="Linux KVM 6.1 with SYSTEM_SUSPEND enabled",
    psci_version=Version(1, 1),
    functions={
        **COMMON,
        Function.CPU_ON: _CPU_ON,
        Function.AFFINITY_INFO: Implementation(
            affinity_info,
            (affinity_bits_only, affinity_level_fits_32_bits, affinity_level_known, affinity_present),
        ),
        Function.SYSTEM_SUSPEND: Implementation(system_suspend, (others_off, entry_point_even)),
        Function.SYSTEM_RESET2: Implementation(system_reset2, (reset_type_known,)),
        Function.SYSTEM_OFF2: Implementation(system_off2, (off_type_known,)),
        Function.SMCCC_VERSION: Implementation(answers(Version(1, 1).encoded)),
        Function.SMCCC_ARCH_FEATURES: Implementation(smccc_arch_features),
        Function.VENDOR_HYP_FEATURES: Implementation(answers(_FEATURES_ONLY)),
        Function.VENDOR_HYP_UID: Implementation(uuid(UUID("28b46fb6-2ec5-11e9-a9ca-4b564d003a74"))),
        **trng(UUID("0d21e000-4384-11eb-8070-5244554e5a4c"), fewest_bits=0),
    },
    legacy_functions={
        Function.CPU_OFF: Implementation(cpu_off),
        Function.CPU_ON: _CPU_ON.as_of(V0_1),
    },
    # The stolen time that this leads to is not available, as without the VMM's help.
    arch_features={Function.PV_TIME_FEATURES: ArchCode.SUCCESS},
    results=4,  # smccc_set_retval writes x0 to x3
    on_other_conduit=Reaction.REFUSE,
    propagates_endianness=True,
    # These stay as the vCPU left them, also while it is off (reset.c clears x0 to x30).
    kept_registers=("SP_EL1", "ELR_EL1", "SPSR_EL1"),
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
        "PAR_EL1": _UNKNOWN,
        "CSSELR_EL1": 0xE,
        "CNTV_CTL_EL0": 0,
        "CNTKCTL_EL1": 0,
        "MDSCR_EL1": 0,
        "FPCR": 0,
    },
    entry_vectors=VECTORS_ZERO,
)

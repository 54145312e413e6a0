"""A guest on Xen 4.22 (xen/arch/arm/vpsci.c, vsmc.c, domain.c).

Xen offers its workarounds on CPUs that need them, and a guest that finds one may call it at every
exception from EL0, which would each be a trap to us. No CPU needs them that is emulated, so they are
offered with `Profile.with_mitigations` only.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from hil_agent.psci.actions import COMMON, cpu_off, cpu_on, system_suspend
from hil_agent.psci.arch import ArchCode, smccc_arch_features, uuid, workaround
from hil_agent.psci.checks import (
    affinity_level_known,
    context_prepared,
    entry_point_even,
    others_off,
    target_off,
    target_present,
)
from hil_agent.psci.effects import Outcome
from hil_agent.psci.entry import TRANSLATION_OFF, VECTORS_ZERO
from hil_agent.psci.functions import Function
from hil_agent.psci.profile import Implementation, Profile, Reaction, Request
from hil_agent.psci.queries import affinity_info, answers
from hil_agent.psci.version import V0_1, Version

_CPU_ON_CHECKS = (target_present, entry_point_even, target_off, context_prepared)
_PSCI_FUNCTIONS = 14  # VPSCI_NR_FUNCS
_SERVICE_FUNCTIONS = 3  # call count, UID and revision themselves


def cpu_on_0_1(request: Request) -> Outcome:
    """CPU_ON of PSCI 0.1, which has no context ID: Xen gives 0."""
    return cpu_on(replace(request, args=(*request.args[:2], 0)))


PROFILE = Profile(
    name="xen",
    summary="Xen 4.22, as its guests see it",
    psci_version=Version(1, 1),
    functions={
        **COMMON,
        Function.CPU_ON: Implementation(cpu_on, _CPU_ON_CHECKS),
        Function.AFFINITY_INFO: Implementation(affinity_info, (affinity_level_known,)),
        Function.SYSTEM_SUSPEND: Implementation(
            system_suspend, (entry_point_even, others_off, context_prepared)
        ),
        Function.SMCCC_VERSION: Implementation(answers(Version(1, 2).encoded)),
        Function.SMCCC_ARCH_FEATURES: Implementation(smccc_arch_features),
        Function.SMCCC_ARCH_WORKAROUND_1: Implementation(workaround),
        Function.SMCCC_ARCH_WORKAROUND_2: Implementation(workaround),
        Function.SMCCC_ARCH_WORKAROUND_3: Implementation(workaround),
        Function.STD_CALL_COUNT: Implementation(answers(_PSCI_FUNCTIONS + _SERVICE_FUNCTIONS)),
        Function.STD_UID: Implementation(uuid(UUID("f863386f-4b39-4cbd-9220-ce1641e59f6f"))),
        Function.STD_REVISION: Implementation(answers(0, 1)),
        Function.STD_HYP_CALL_COUNT: Implementation(answers(_SERVICE_FUNCTIONS)),
        Function.STD_HYP_UID: Implementation(uuid(UUID("a71812dc-c698-4369-9acf-79d18ddee667"))),
        Function.STD_HYP_REVISION: Implementation(answers(0, 1)),
    },
    legacy_functions={
        Function.CPU_OFF: Implementation(cpu_off),
        Function.CPU_ON: Implementation(cpu_on_0_1, _CPU_ON_CHECKS).as_of(V0_1),
    },
    legacy_ids={1: Function.CPU_OFF, 2: Function.CPU_ON},
    answers_legacy_ids=True,
    mitigations={
        Function.SMCCC_ARCH_WORKAROUND_1: ArchCode.SUCCESS,
        Function.SMCCC_ARCH_WORKAROUND_2: ArchCode.SUCCESS,
    },
    mpidr_mask=0xFFFF,  # vaffinity_to_vcpuid reads Aff1 and Aff0 only
    on_immediate=Reaction.UNDEFINED,
    # What arch_set_info_guest writes. All else stays as the vCPU left it, also while it is off: Xen then
    # does not run it, and what ctxt_switch_from has saved of it, ctxt_switch_to gives back.
    entry_registers={
        **TRANSLATION_OFF,
        "SP_EL0": 0,
        "SP_EL1": 0,
        "ELR_EL1": 0,
        "SPSR_EL1": 0,
    },
    kept_registers=(
        "VBAR_EL1",
        "MAIR_EL1",
        "AMAIR_EL1",
        "CPACR_EL1",
        "CONTEXTIDR_EL1",
        "TPIDR_EL0",
        "TPIDR_EL1",
        "TPIDRRO_EL0",
        "ESR_EL1",
        "FAR_EL1",
        "AFSR0_EL1",
        "AFSR1_EL1",
        "PAR_EL1",
        "CSSELR_EL1",
        "CNTKCTL_EL1",
        "CNTV_CVAL_EL0",
        "CNTV_CTL_EL0",
        "FPCR",
        "FPSR",
        *VECTORS_ZERO,
    ),
)

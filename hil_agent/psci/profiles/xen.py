"""A guest on Xen 4.22 (xen/arch/arm/vpsci.c, vsmc.c, domain.c).

SMCCC_ARCH_FEATURES denies the workarounds that Xen offers on some CPUs: a guest that finds one may call
it at every exception from EL0, and each call would be a trap to us.
"""

from __future__ import annotations

from hil_agent.psci.actions import COMMON, affinity_info, answers, cpu_on, smccc_arch_features, system_suspend
from hil_agent.psci.checks import (
    affinity_level_known,
    entry_point_even,
    others_off,
    target_off,
    target_present,
)
from hil_agent.psci.entry import TRANSLATION_OFF
from hil_agent.psci.functions import Function
from hil_agent.psci.profile import Implementation, Profile, Reaction, Version

PROFILE = Profile(
    name="xen",
    summary="Xen 4.22, as its guests see it",
    psci_version=Version(1, 1),
    functions={
        **COMMON,
        Function.CPU_ON: Implementation(cpu_on, (target_present, entry_point_even, target_off)),
        Function.AFFINITY_INFO: Implementation(affinity_info, (affinity_level_known,)),
        Function.SYSTEM_SUSPEND: Implementation(system_suspend, (entry_point_even, others_off)),
        Function.SMCCC_VERSION: Implementation(answers(Version(1, 2).encoded)),
        Function.SMCCC_ARCH_FEATURES: Implementation(smccc_arch_features),
    },
    mpidr_mask=0xFFFF,  # vaffinity_to_vcpuid reads Aff1 and Aff0 only
    on_immediate=Reaction.UNDEFINED,
    # What arch_set_info_guest writes; VBAR_EL1, MAIR_EL1 and the like stay as the vCPU left them.
    entry_registers={
        **TRANSLATION_OFF,
        "SP_EL0": 0,
        "SP_EL1": 0,
        "ELR_EL1": 0,
        "SPSR_EL1": 0,
    },
)

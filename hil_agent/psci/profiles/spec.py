"""The specifications to the letter: DEN0022 (PSCI 1.3) and DEN0028 (SMCCC).

Where they leave a choice, the stricter way is taken: what a guest gets away with elsewhere fails here.
"""

from __future__ import annotations

from hil_agent.psci.actions import (
    COMMON,
    affinity_info,
    answers,
    cpu_on,
    cpu_standby,
    smccc_arch_features,
    system_suspend,
)
from hil_agent.psci.checks import (
    affinity_bits_only,
    affinity_level_known,
    affinity_present,
    entry_point_aligned,
    entry_point_in_memory,
    others_off,
    power_state_valid,
    target_off,
    target_present,
)
from hil_agent.psci.entry import TRANSLATION_OFF
from hil_agent.psci.functions import Function
from hil_agent.psci.profile import Implementation, Profile, Reaction, Version

PROFILE = Profile(
    name="spec",
    summary="the PSCI 1.3 specification, strictly",
    psci_version=Version(1, 3),
    functions={
        **COMMON,
        Function.CPU_SUSPEND: Implementation(cpu_standby, (power_state_valid,)),
        Function.CPU_ON: Implementation(
            cpu_on, (target_present, entry_point_aligned, entry_point_in_memory, target_off)
        ),
        Function.AFFINITY_INFO: Implementation(
            affinity_info, (affinity_bits_only, affinity_level_known, affinity_present)
        ),
        Function.SYSTEM_SUSPEND: Implementation(
            system_suspend, (entry_point_aligned, entry_point_in_memory, others_off)
        ),
        Function.SMCCC_VERSION: Implementation(answers(Version(1, 2).encoded)),
        Function.SMCCC_ARCH_FEATURES: Implementation(smccc_arch_features),
    },
    arch_features=frozenset({Function.SMCCC_VERSION, Function.SMCCC_ARCH_FEATURES}),
    entry_registers=TRANSLATION_OFF,
    reports_on_pending=True,
    on_immediate=Reaction.UNDEFINED,
)

"""The specifications to the letter: DEN0022 (PSCI 1.3), DEN0028 (SMCCC) and DEN0098 (TRNG).

Where they leave a choice, the stricter way is taken: what a guest gets away with elsewhere fails here.
CLEAN_INV_MEMREGION is as in the draft of PSCI 1.3, which later moved it to SMCCC.
"""

from __future__ import annotations

from uuid import UUID

from hil_agent.psci.actions import (
    COMMON,
    cpu_off,
    cpu_on,
    cpu_suspend,
    mem_protect,
    power_down,
    set_suspend_mode,
    system_off2,
    system_reset2,
    system_suspend,
)
from hil_agent.psci.arch import SAFE_BUT_NOT_NEEDED, ArchCode, smccc_arch_features, soc_id, workaround
from hil_agent.psci.checks import (
    affinity_bits_only,
    affinity_level_known,
    affinity_present,
    entry_point_aligned,
    entry_point_in_memory,
    if_power_down,
    memregion_flags_known,
    node_idle,
    off_type_known,
    others_off,
    power_state_valid,
    range_in_memory,
    reset_type_known,
    suspend_mode_known,
    suspend_mode_may_change,
    target_off,
    target_present,
)
from hil_agent.psci.entry import TRANSLATION_OFF
from hil_agent.psci.functions import Function, ReturnCode
from hil_agent.psci.profile import Implementation, Profile, Reaction
from hil_agent.psci.queries import (
    affinity_info,
    answers,
    clean_inv_memregion,
    clean_inv_memregion_attributes,
    node_hw_state,
    stat_count,
    stat_residency,
)
from hil_agent.psci.trng import trng
from hil_agent.psci.version import V0_1, Version

_ENTRY_POINT = (entry_point_aligned, entry_point_in_memory)
_AFFINITY = (affinity_bits_only, affinity_level_known, affinity_present)

_CPU_ON = Implementation(cpu_on, (target_present, *_ENTRY_POINT, target_off))
_CPU_SUSPEND = Implementation(cpu_suspend, (power_state_valid, *map(if_power_down, _ENTRY_POINT), node_idle))

_ARM_VIRTUAL_SOC = 0x043B_0000  # Arm's JEP-106 code, SoC ID 0

PROFILE = Profile(
    name="spec",
    summary="the PSCI 1.3 specification, strictly",
    psci_version=Version(1, 3),
    functions={
        **COMMON,
        Function.CPU_SUSPEND: _CPU_SUSPEND,
        Function.CPU_ON: _CPU_ON,
        Function.AFFINITY_INFO: Implementation(affinity_info, _AFFINITY),
        Function.CPU_FREEZE: Implementation(cpu_off),
        Function.CPU_DEFAULT_SUSPEND: Implementation(power_down, _ENTRY_POINT),
        Function.NODE_HW_STATE: Implementation(node_hw_state, _AFFINITY),
        Function.SYSTEM_SUSPEND: Implementation(system_suspend, (*_ENTRY_POINT, others_off)),
        Function.PSCI_SET_SUSPEND_MODE: Implementation(
            set_suspend_mode, (suspend_mode_known, suspend_mode_may_change)
        ),
        Function.PSCI_STAT_RESIDENCY: Implementation(stat_residency),
        Function.PSCI_STAT_COUNT: Implementation(stat_count),
        Function.SYSTEM_RESET2: Implementation(system_reset2, (reset_type_known,)),
        Function.MEM_PROTECT: Implementation(mem_protect),
        Function.MEM_PROTECT_CHECK_RANGE: Implementation(
            answers(ReturnCode.SUCCESS), (range_in_memory(ReturnCode.DENIED),)
        ),
        Function.SYSTEM_OFF2: Implementation(system_off2, (off_type_known,)),
        Function.CLEAN_INV_MEMREGION: Implementation(
            clean_inv_memregion, (memregion_flags_known, range_in_memory(ReturnCode.INVALID_ADDRESS))
        ),
        Function.CLEAN_INV_MEMREGION_ATTRIBUTES: Implementation(clean_inv_memregion_attributes),
        Function.SMCCC_VERSION: Implementation(answers(Version(1, 2).encoded)),
        Function.SMCCC_ARCH_FEATURES: Implementation(smccc_arch_features),
        Function.SMCCC_ARCH_SOC_ID: Implementation(soc_id(_ARM_VIRTUAL_SOC, revision=0)),
        Function.SMCCC_ARCH_WORKAROUND_1: Implementation(workaround),
        Function.SMCCC_ARCH_WORKAROUND_2: Implementation(workaround),
        Function.SMCCC_ARCH_WORKAROUND_3: Implementation(workaround),
        **trng(UUID("c9b2d4ad-6b0e-4c39-9c2f-0d5d6a4b7e51"), fewest_bits=1),
    },
    legacy_functions={
        Function.CPU_SUSPEND: _CPU_SUSPEND.as_of(V0_1),
        Function.CPU_OFF: COMMON[Function.CPU_OFF],
        Function.CPU_ON: _CPU_ON.as_of(V0_1),
    },
    arch_features={
        Function.SMCCC_VERSION: ArchCode.SUCCESS,
        Function.SMCCC_ARCH_FEATURES: ArchCode.SUCCESS,
        Function.SMCCC_ARCH_SOC_ID: ArchCode.SUCCESS,
        Function.SMCCC_ARCH_WORKAROUND_1: SAFE_BUT_NOT_NEEDED,
        Function.SMCCC_ARCH_WORKAROUND_2: SAFE_BUT_NOT_NEEDED,
        Function.SMCCC_ARCH_WORKAROUND_3: SAFE_BUT_NOT_NEEDED,
    },
    mitigations=dict.fromkeys(
        (
            Function.SMCCC_ARCH_WORKAROUND_1,
            Function.SMCCC_ARCH_WORKAROUND_2,
            Function.SMCCC_ARCH_WORKAROUND_3,
        ),
        ArchCode.SUCCESS,
    ),
    entry_registers=TRANSLATION_OFF,
    propagates_endianness=True,
    reports_on_pending=True,
    on_immediate=Reaction.UNDEFINED,
)

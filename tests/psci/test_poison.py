from __future__ import annotations

from dataclasses import replace

import pytest

from hil_agent.psci import EntryState, get_profile, profiles
from hil_agent.trap.system_registers import SYSTEM_REGISTERS

UNDEFINED_BY_PSCI = {
    "SP_EL0",
    "SP_EL1",
    "VBAR_EL1",
    "TTBR0_EL1",
    "TTBR1_EL1",
    "TCR_EL1",
    "MAIR_EL1",
    "TPIDR_EL0",
    "TPIDR_EL1",
    "TPIDRRO_EL0",
    "CPACR_EL1",
    "CNTKCTL_EL1",
}


def states(profile: str) -> tuple[EntryState, EntryState]:
    plain = get_profile(profile)
    poisoned = replace(plain, poisons=True)
    return plain.entry_state(0x4008_0000, 7), poisoned.entry_state(0x4008_0000, 7)


@pytest.mark.parametrize("profile", profiles())
def test_what_psci_defines_is_left_alone(profile: str) -> None:
    plain, poisoned = states(profile)
    defined = [
        (state.pc, state.x0, state.pstate, state.system_registers["SCTLR_EL1"], state.inherits_endianness)
        for state in (plain, poisoned)
    ]
    assert defined[0] == defined[1]


@pytest.mark.parametrize("profile", profiles())
def test_what_psci_leaves_undefined_is_not_what_the_profile_says(profile: str) -> None:
    plain, poisoned = states(profile)
    same = {
        name
        for name in UNDEFINED_BY_PSCI
        if poisoned.system_registers[name] in {0, plain.system_registers.get(name)}
    }
    assert same == set()


def test_every_general_and_vector_register_has_its_own_value() -> None:
    _, poisoned = states("xen")
    values = [*poisoned.general_registers.values(), *poisoned.vector_registers.values()]
    assert len(set(values)) == len(values) == 30 + 32


def test_a_vector_base_has_no_reserved_bits() -> None:
    _, poisoned = states("xen")
    assert poisoned.system_registers["VBAR_EL1"] & 0x7FF == 0


def test_fp_and_simd_trap_until_they_are_enabled() -> None:
    _, poisoned = states("xen")
    assert poisoned.system_registers["CPACR_EL1"] >> 20 & 3 == 0


def test_every_poisoned_register_can_be_written() -> None:
    _, poisoned = states("xen")
    assert set(poisoned.system_registers) <= set(SYSTEM_REGISTERS)


def test_nothing_is_poisoned_unless_asked_for() -> None:
    plain, _ = states("xen")
    assert set(plain.general_registers.values()) == {0}

"""How a vCPU starts in each profile, register by register, as measured on the real thing."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

import pytest

from hil_agent.psci import EntryState, get_profile, profiles
from hil_agent.psci.entry import VECTORS_ZERO
from hil_agent.trap.system_registers import SYSTEM_REGISTERS

ENTRY = 0x4008_0DC0
CONTEXT_ID = 0x1122_3344_5566_7788
UNKNOWN = 0x1DE7_EC7E_DBAD_C0DE


class Kept(Enum):
    KEPT = "kept"


KEPT = Kept.KEPT

NEVER_THE_GUESTS_OWN = {"MDSCR_EL1"}
"""Xen traps it."""

# What is set at entry on Xen, KVM and QEMU; after CPU_ON as after a resume.
MEASURED: list[tuple[str, int | Kept, int | Kept, int | Kept]] = [
    ("SCTLR_EL1", 0x00C5_0078, 0x00C5_0078, 0x00C5_0838),
    ("TTBR0_EL1", 0, UNKNOWN, 0),
    ("TTBR1_EL1", 0, UNKNOWN, 0),
    ("TCR_EL1", 0, 0, 0),
    ("MAIR_EL1", KEPT, UNKNOWN, 0),
    ("VBAR_EL1", KEPT, 0, 0),
    ("CPACR_EL1", KEPT, 0, 0),
    ("CONTEXTIDR_EL1", KEPT, 0, 0),
    ("TPIDR_EL0", KEPT, UNKNOWN, 0),
    ("TPIDR_EL1", KEPT, UNKNOWN, 0),
    ("SP_EL0", 0, 0, 0),
    ("SP_EL1", 0, KEPT, 0),
    ("ELR_EL1", 0, KEPT, 0),
    ("SPSR_EL1", 0, KEPT, 0),
    ("ESR_EL1", KEPT, UNKNOWN, 0),
    ("FAR_EL1", KEPT, UNKNOWN, 0),
    ("PAR_EL1", KEPT, UNKNOWN, 0),
    ("CSSELR_EL1", KEPT, 0xE, 0),
    ("CNTV_CTL_EL0", KEPT, 0, 0),
    ("CNTKCTL_EL1", KEPT, 0, 0),
    ("MDSCR_EL1", KEPT, 0, 0),
    ("FPCR", KEPT, 0, 0),
]


def entry(profile: str) -> EntryState:
    return get_profile(profile).entry_state(ENTRY, CONTEXT_ID)


@pytest.mark.parametrize(("register", "xen", "kvm", "qemu"), MEASURED, ids=[row[0] for row in MEASURED])
def test_system_register_at_entry(register: str, xen: int | Kept, kvm: int | Kept, qemu: int | Kept) -> None:
    found = [entry(name).system_registers.get(register, KEPT) for name in ("xen", "xen-v16", "kvm", "qemu")]
    assert found == [xen, xen, kvm, qemu]


@pytest.mark.parametrize(("profile", "column"), [("xen", 1), ("xen-v16", 1), ("kvm", 2)])
def test_a_vcpu_that_is_off_keeps_what_it_keeps_over_an_entry(profile: str, column: int) -> None:
    kept = {str(row[0]) for row in MEASURED if row[column] is KEPT} - NEVER_THE_GUESTS_OWN
    assert kept <= set(get_profile(profile).kept_registers)


@pytest.mark.parametrize("profile", ["spec", "qemu"])
def test_elsewhere_nothing_is_kept_while_a_vcpu_is_off(profile: str) -> None:
    assert get_profile(profile).kept_registers == ()


@pytest.mark.parametrize("profile", profiles())
def test_every_kept_system_register_can_be_read_and_written(profile: str) -> None:
    system = set(get_profile(profile).kept_registers) - VECTORS_ZERO.keys()
    assert system <= SYSTEM_REGISTERS.keys()


def test_kept_values_come_back_but_where_the_entry_sets_others() -> None:
    plain = entry("xen")
    kept = plain.keeping({"VBAR_EL1": 0x800, "SP_EL0": 0x5, "v3": 1 << 100})
    assert kept.system_registers == {**plain.system_registers, "VBAR_EL1": 0x800}
    assert kept.vector_registers == {"v3": 1 << 100}


def test_poison_is_stronger_than_what_is_kept() -> None:
    poisoned = replace(get_profile("xen"), poisons=True).entry_state(ENTRY, CONTEXT_ID)
    assert poisoned.keeping({"VBAR_EL1": 0x800, "v3": 1}) == poisoned


@pytest.mark.parametrize(
    ("profile", "pstate"),
    [("spec", 0x3C5), ("xen", 0x3C5), ("xen-v16", 0x1C5), ("kvm", 0x3C5), ("qemu", 0x4000_03C5)],
)
def test_pstate_at_entry(profile: str, pstate: int) -> None:
    assert entry(profile).pstate == pstate


@pytest.mark.parametrize("profile", profiles())
def test_a_vcpu_starts_at_the_entry_point_with_the_context_id(profile: str) -> None:
    assert (entry(profile).pc, entry(profile).x0) == (ENTRY, CONTEXT_ID)


@pytest.mark.parametrize("profile", profiles())
def test_x1_to_x30_are_zero_at_entry(profile: str) -> None:
    assert entry(profile).general_registers == {f"x{number}": 0 for number in range(1, 31)}


@pytest.mark.parametrize("profile", profiles())
def test_the_mmu_and_caches_are_off_at_entry(profile: str) -> None:
    m_c_i = 1 << 0 | 1 << 2 | 1 << 12
    assert entry(profile).system_registers["SCTLR_EL1"] & m_c_i == 0


@pytest.mark.parametrize(
    ("profile", "zeroed"),
    [("spec", False), ("xen", False), ("xen-v16", False), ("kvm", True), ("qemu", True)],
)
def test_fp_and_simd_registers_at_entry(profile: str, zeroed: bool) -> None:
    assert entry(profile).vector_registers == ({f"v{number}": 0 for number in range(32)} if zeroed else {})


@pytest.mark.parametrize(
    ("profile", "inherits"),
    [("spec", True), ("xen", False), ("xen-v16", False), ("kvm", True), ("qemu", False)],
)
def test_endianness_at_entry(profile: str, inherits: bool) -> None:
    assert entry(profile).inherits_endianness is inherits


@pytest.mark.parametrize("profile", profiles())
def test_every_register_that_is_set_can_be_written(profile: str) -> None:
    assert set(entry(profile).system_registers) <= set(SYSTEM_REGISTERS)

from __future__ import annotations

import pytest

from hil_agent.psci import Call, Conduit, Outcome, VirtualPsci, get_profile
from hil_agent.psci.effects import Return

SOC_ID = 0x8000_0002
WORKAROUND_1 = 0x8000_8000
NOT_SUPPORTED, INVALID_PARAMETER = (1 << 64) - 1, (1 << 64) - 3


def call(profile: str, x0: int, x1: int = 0) -> Outcome:
    psci = VirtualPsci(get_profile(profile), (0,), ())
    return psci.call(Call(0, Conduit.HVC, (x0, x1, 0xAA, 0xBB)))


def test_the_soc_is_named_by_its_jep_106_code() -> None:
    assert [call("spec", SOC_ID, kind).result for kind in (0, 1)] == [0x043B_0000, 0]


def test_smccc_has_its_own_code_for_an_invalid_parameter() -> None:
    assert call("spec", SOC_ID, 2).result == INVALID_PARAMETER


@pytest.mark.parametrize("profile", ["spec", "xen"])
def test_a_workaround_changes_no_register(profile: str) -> None:
    assert call(profile, WORKAROUND_1, 1) == Outcome((Return(()),), WORKAROUND_1)


def test_kvm_does_not_offer_a_workaround() -> None:
    assert call("kvm", WORKAROUND_1).result == NOT_SUPPORTED


@pytest.mark.parametrize(
    ("profile", "function_id", "words"),
    [
        ("xen", 0x8400_FF01, (0x6F38_63F8, 0xBD4C_394B, 0x16CE_2092, 0x6F9F_E541)),
        ("xen", 0x8500_FF01, (0xDC12_18A7, 0x6943_98C6, 0xD179_CF9A, 0x67E6_DE8D)),
        ("kvm", 0x8600_FF01, (0xB66F_B428, 0xE911_C52E, 0x564B_CAA9, 0x743A_004D)),
    ],
)
def test_who_answers_is_told_in_four_registers(
    profile: str, function_id: int, words: tuple[int, int, int, int]
) -> None:
    assert call(profile, function_id).effects == (Return(words),)


def test_a_revision_is_major_and_minor() -> None:
    assert call("xen", 0x8400_FF03).effects == (Return((0, 1)),)


def test_kvm_offers_none_of_its_vendor_functions() -> None:
    assert call("kvm", 0x8600_0000).effects == (Return((1, 0, 0, 0)),)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.el2.syndrome import UnexpectedException, exception_class

U64 = st.integers(0, 2**64 - 1)


def said(vector: int = 0x400, esr: int = 0, elr: int = 0x1234, far: int = 0x5678, spsr: int = 0x3C5) -> str:
    return str(UnexpectedException(vector=vector, esr=esr, elr=elr, far=far, spsr=spsr))


@pytest.mark.parametrize(
    ("esr", "ec"), [(0x02000000, 0), (0x5A000000, 0x16), (0x96000045, 0x25), (2**64 - 1, 0x3F)]
)
def test_the_exception_class_is_bits_31_to_26(esr: int, ec: int) -> None:
    assert exception_class(esr) == ec


@pytest.mark.parametrize(
    ("vector", "words"),
    [
        (0x000, "synchronous exception at EL2, from EL2 with SP_EL0"),
        (0x200, "synchronous exception at EL2, from EL2"),
        (0x280, "IRQ at EL2, from EL2"),
        (0x400, "synchronous exception at EL2, from the guest"),
        (0x480, "IRQ at EL2, from the guest"),
        (0x500, "FIQ at EL2, from the guest"),
        (0x580, "SError at EL2, from the guest"),
        (0x600, "synchronous exception at EL2, from the guest in AArch32"),
    ],
)
def test_the_vector_says_what_came_and_from_where(vector: int, words: str) -> None:
    assert words in said(vector)


def test_every_register_is_shown() -> None:
    assert said(esr=0x96000045).endswith("ESR 0x96000045, ELR 0x1234, FAR 0x5678, SPSR 0x3c5")


@pytest.mark.parametrize(
    ("esr", "words"),
    [
        (0x02000000, "undefined instruction"),
        (0x96000045, "data abort at EL2 (EC 0x25)"),
        (0x92000045, "data abort from the guest (EC 0x24)"),
        (0x86000000, "instruction abort at EL2"),
        (0xBE000000, "SError"),
        (0xFC000000, "exception class (EC 0x3f)"),
    ],
)
def test_the_class_is_named(esr: int, words: str) -> None:
    assert words in said(esr=esr)


def test_an_interrupt_has_no_class() -> None:
    assert "EC" not in said(0x480, esr=0x96000045)


def test_a_trapped_register_is_named_by_its_encoding() -> None:
    # mrs x5, ICC_IAR1_EL1: S3_0_C12_C12_0; ISS as the Arm ARM lays it out for EC 0x18.
    iss = 3 << 20 | 0 << 17 | 0 << 14 | 12 << 10 | 5 << 5 | 12 << 1 | 1
    assert "read of S3_0_C12_C12_0" in said(esr=0x18 << 26 | 1 << 25 | iss)


@given(st.sampled_from(range(0, 0x800, 0x80)), U64, U64, U64, U64)
def test_anything_that_was_recorded_can_be_told(vector: int, esr: int, elr: int, far: int, spsr: int) -> None:
    assert f"ELR {elr:#x}" in said(vector, esr, elr, far, spsr)


@given(st.integers())
def test_no_vector_that_a_guest_has_forged_breaks_the_telling(vector: int) -> None:
    assert "ESR 0x0" in said(vector)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.psci.functions import FORMS, Form, Function, ReturnCode, Width, decode


@pytest.mark.parametrize(
    ("function_id", "form"),
    [
        (0x8400_0000, Form(Function.PSCI_VERSION, Width.SMC32)),
        (0x8400_0001, Form(Function.CPU_SUSPEND, Width.SMC32)),
        (0xC400_0003, Form(Function.CPU_ON, Width.SMC64)),
        (0x8400_000E, Form(Function.SYSTEM_SUSPEND, Width.SMC32)),
        (0xC400_000E, Form(Function.SYSTEM_SUSPEND, Width.SMC64)),
        (0xC400_0015, Form(Function.SYSTEM_OFF2, Width.SMC64)),
        (0xC400_0016, Form(Function.CLEAN_INV_MEMREGION, Width.SMC64)),
        (0x8400_0017, Form(Function.CLEAN_INV_MEMREGION_ATTRIBUTES, Width.SMC32)),
        (0x8000_0000, Form(Function.SMCCC_VERSION, Width.SMC32)),
        (0x8000_3FFF, Form(Function.SMCCC_ARCH_WORKAROUND_3, Width.SMC32)),
    ],
)
def test_an_id_stands_for_a_function_and_a_width(function_id: int, form: Form) -> None:
    assert decode(function_id) == form


@pytest.mark.parametrize(
    "function_id", [0xC400_0000, 0xC400_0002, 0xC400_0006, 0xC400_0008, 0xC400_0009, 0xC400_000A]
)
def test_a_32_bit_function_has_no_64_bit_id(function_id: int) -> None:
    assert decode(function_id) is None


@given(st.integers(0, 0xFFFF_FFFF))
def test_any_other_id_is_unknown(function_id: int) -> None:
    assert (decode(function_id) is None) == (function_id not in FORMS)


def test_psci_numbers_run_from_0_to_0x17() -> None:
    numbers = [(function.smc32 or function.smc64 or 0) & 0x1F for function in Function if function.is_psci]
    assert numbers == list(range(0x18))


def test_architecture_calls_are_not_psci() -> None:
    assert not any(function.is_psci for function in Function if function.name.startswith("SMCCC_"))


def test_return_codes_run_from_0_to_minus_12() -> None:
    assert [int(code) for code in ReturnCode] == list(range(0, -13, -1))

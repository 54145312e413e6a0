from __future__ import annotations

import pytest

from hil_agent.psci import Outcome, ReturnCode
from hil_agent.psci.effects import PowerOff, SystemOff, SystemReset


@pytest.mark.parametrize("code", ReturnCode)
def test_a_return_code_is_read_back_from_its_64_bit_form(code: ReturnCode) -> None:
    assert Outcome((), code & 0xFFFF_FFFF_FFFF_FFFF).code is code


def test_a_value_counts_as_success() -> None:
    assert Outcome((), 0x10001).code is ReturnCode.SUCCESS


def test_a_call_that_does_not_return_has_no_code() -> None:
    assert Outcome((PowerOff(),)).code is None


@pytest.mark.parametrize(
    ("effect", "cause"),
    [
        (SystemOff(), "SYSTEM_OFF"),
        (SystemOff(hibernate=True), "SYSTEM_OFF2, to hibernate"),
        (SystemReset(), "SYSTEM_RESET"),
        (SystemReset(scrub_memory=True), "SYSTEM_RESET, memory overwritten"),
        (SystemReset(0), "SYSTEM_RESET2, warm reset"),
        (SystemReset(1 << 31, 5), "SYSTEM_RESET2, vendor's reset 0x80000000, cookie 0x5"),
    ],
)
def test_the_end_of_a_system_tells_its_cause(effect: SystemOff | SystemReset, cause: str) -> None:
    assert effect.cause == cause

from __future__ import annotations

import pytest

from hil_agent.psci import Outcome, ReturnCode
from hil_agent.psci.effects import PowerOff


@pytest.mark.parametrize("code", ReturnCode)
def test_a_return_code_is_read_back_from_its_64_bit_form(code: ReturnCode) -> None:
    assert Outcome((), code & 0xFFFF_FFFF_FFFF_FFFF).code is code


def test_a_value_counts_as_success() -> None:
    assert Outcome((), 0x10001).code is ReturnCode.SUCCESS


def test_a_call_that_does_not_return_has_no_code() -> None:
    assert Outcome((PowerOff(),)).code is None

from __future__ import annotations

import pytest

from hil_agent.psci.power_state import EXTENDED, ORIGINAL, PowerStateFormat


@pytest.mark.parametrize(
    ("state_format", "power_state", "level"),
    [
        (ORIGINAL, 0x0000_0000, 0),
        (ORIGINAL, 0x0101_0000, 1),
        (ORIGINAL, 0x0201_FFFF, 2),
        (ORIGINAL, 0x0301_0000, 3),
        (EXTENDED, 0x4000_0002, 0),
        (EXTENDED, 0x4000_0022, 1),
        (EXTENDED, 0x4000_0222, 2),
        (EXTENDED, 0x4000_1222, 2),
    ],
)
def test_the_level_of_a_power_state(state_format: PowerStateFormat, power_state: int, level: int) -> None:
    assert state_format.level(power_state) == level


@pytest.mark.parametrize(
    ("state_format", "fields"),
    [(ORIGINAL, 0xFFFF | 1 << 16 | 3 << 24), (EXTENDED, 0x0FFF_FFFF | 1 << 30)],
    ids=["original", "extended"],
)
def test_every_bit_that_is_no_field_is_reserved(state_format: PowerStateFormat, fields: int) -> None:
    assert state_format.reserved == 0xFFFF_FFFF & ~fields

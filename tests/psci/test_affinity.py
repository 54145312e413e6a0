from __future__ import annotations

import pytest

from hil_agent.psci.affinity import instance


@pytest.mark.parametrize(
    ("level", "expected"),
    [(0, 0x04_0003_0201), (1, 0x04_0003_0200), (2, 0x04_0003_0000), (3, 0x04_0000_0000)],
)
def test_an_instance_is_named_by_the_fields_at_its_level_and_above(level: int, expected: int) -> None:
    assert instance(0x04_8003_0201, level) == expected

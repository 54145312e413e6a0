"""What could not be had, and why."""

from __future__ import annotations

import pytest

from hil_agent.debug.diagnose.gaps import Gaps
from hil_agent.errors import HostError


@pytest.mark.parametrize(
    ("error", "gap"),
    [
        (HostError("no gdb", hint="install it"), "it: no gdb (install it)"),
        (HostError("no gdb"), "it: no gdb"),
        (FileNotFoundError(2, "No such file"), "it: No such file"),
        (ValueError("odd"), "it: a bug in hil_agent: ValueError: odd"),
    ],
    ids=["with a hint", "without", "a file", "a bug"],
)
def test_what_fails_is_noted(error: Exception, gap: str) -> None:
    gaps = Gaps()
    with gaps.noting("it"):
        raise error
    assert gaps.found == [gap]


def test_what_succeeds_is_not() -> None:
    gaps = Gaps()
    with gaps.noting("it"):
        pass
    assert gaps.found == []

"""The kinds of trap source that there are, and what they go with."""

from __future__ import annotations

import pytest

from hil_agent.api import prepare
from hil_agent.board import load_board
from hil_agent.errors import UsageError
from hil_agent.trap.kinds import DEFAULT_TRAP_SOURCE, get_trap_source, trap_sources
from hil_agent.trap.monitor import Monitor


def test_trap_sources_are_called_like_their_modules() -> None:
    assert trap_sources() == ("el2", "hvc-site")


def test_the_default_is_one_of_them() -> None:
    assert DEFAULT_TRAP_SOURCE in trap_sources()


@pytest.mark.parametrize("name", trap_sources())
def test_each_has_a_monitor_that_assembles(name: str) -> None:
    labels = Monitor.load(get_trap_source(name).monitor).labels
    assert {"entry", "trap", "run_program", "area_size"} <= labels.keys()


def test_an_unknown_one_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="el2, hvc-site"):
        get_trap_source("el3")


def test_idle_states_are_refused_where_each_would_stop_the_machine() -> None:
    with pytest.raises(UsageError, match="--idle-states"):
        prepare("qemu-virt", trap="hvc-site", idle_states="standby")


def test_what_starts_or_stops_something_cannot_be_passed_on() -> None:
    options = {"pass_through": "CPU_ON"}
    with pytest.raises(UsageError, match="--pass-through: CPU_ON cannot be passed on"):
        load_board("qemu-virt").with_overrides(**options)

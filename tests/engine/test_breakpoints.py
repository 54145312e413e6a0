"""Breakpoints of several owners."""

from __future__ import annotations

from hil_agent.engine.breakpoints import Breakpoint, Breakpoints
from hil_agent.rsp import BreakpointKind

CODE = Breakpoint(BreakpointKind.SOFTWARE, 0x1000, 4)
SAME_PLACE = Breakpoint(BreakpointKind.HARDWARE, 0x1000, 4)
DATA = Breakpoint(BreakpointKind.WRITE_WATCH, 0x2000, 8)


def test_the_target_is_told_of_the_first_owner_and_after_the_last() -> None:
    breakpoints = Breakpoints()
    assert [breakpoints.add(owner, CODE) for owner in "ab"] == [True, False]
    assert [breakpoints.discard(owner, CODE) for owner in "ab"] == [False, True]


def test_setting_one_twice_is_setting_it_once() -> None:
    breakpoints = Breakpoints()
    breakpoints.add("a", CODE)
    breakpoints.add("a", CODE)
    assert breakpoints.discard("a", CODE)


def test_nobody_removes_what_is_anothers() -> None:
    breakpoints = Breakpoints()
    breakpoints.add("a", CODE)
    assert not breakpoints.discard("b", CODE)
    assert CODE in breakpoints


def test_those_of_one_owner_are_told_apart() -> None:
    breakpoints = Breakpoints()
    breakpoints.add("a", CODE)
    breakpoints.add("b", DATA)
    assert (breakpoints.of("a"), breakpoints.of("b")) == ([CODE], [DATA])


def test_both_kinds_are_at_their_instruction_and_watchpoints_are_not() -> None:
    breakpoints = Breakpoints()
    for each in (CODE, SAME_PLACE, DATA):
        breakpoints.add("a", each)
    assert breakpoints.at(0x1000) == [CODE, SAME_PLACE]
    assert breakpoints.at(0x2000) == []


def test_watchpoints_of_any_kind_are_found_by_any_address_that_they_watch() -> None:
    breakpoints = Breakpoints()
    any_access = Breakpoint(BreakpointKind.ACCESS_WATCH, 0x2004, 4)
    for each in (CODE, DATA, any_access):
        breakpoints.add("a", each)
    assert breakpoints.watching(0x2007) == [DATA, any_access]
    assert breakpoints.watching(0x2000) == [DATA]
    assert breakpoints.watching(0x2008) == []

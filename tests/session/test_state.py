from __future__ import annotations

from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.engine.events import (
    CallAnswered,
    Crashed,
    Entered,
    Event,
    Ready,
    Resumed,
    Suspended,
    SwitchedOff,
    WasReset,
)
from hil_agent.errors import GuestError, TargetTimeout
from hil_agent.psci import Call, Conduit
from hil_agent.psci.context import ResumeContext
from hil_agent.psci.functions import Width
from hil_agent.session.state import FINAL, State, StateCell

CONTEXT = ResumeContext(0x40EF0038, 7, 0, Width.SMC64)
CALL = CallAnswered(Call(0, Conduit.HVC, (0x84000000, 0, 0, 0)), 0, 0.0)
EVENTS = [
    CALL,
    Entered(0, 0x40),
    Ready(),
    Suspended(CONTEXT),
    Resumed(CONTEXT, "command"),
    WasReset("command"),
    SwitchedOff("SYSTEM_OFF"),
    Crashed("why"),
]


def cell_after(*events: Event) -> StateCell:
    cell = StateCell()
    for event in events:
        cell.apply(event)
    return cell


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([], State.BOOTING),
        ([Entered(0, 0), CALL], State.BOOTING),
        ([Ready()], State.RUNNING),
        ([Ready(), Suspended(CONTEXT)], State.SUSPENDED),
        ([Ready(), Suspended(CONTEXT), Resumed(CONTEXT, "command")], State.RUNNING),
        ([Suspended(CONTEXT)], State.SUSPENDED),
        ([Suspended(CONTEXT), Resumed(None, "command")], State.BOOTING),
        ([Ready(), SwitchedOff("SYSTEM_OFF")], State.OFF),
        ([Ready(), Suspended(CONTEXT), Crashed("x")], State.CRASHED),
        ([SwitchedOff("SYSTEM_OFF"), Crashed("x")], State.OFF),
        ([Ready(), SwitchedOff("SYSTEM_OFF"), WasReset("command")], State.BOOTING),
        ([Ready(), Crashed("x"), WasReset("command")], State.BOOTING),
        ([Ready(), Suspended(CONTEXT), WasReset("command"), Ready()], State.RUNNING),
    ],
)
def test_the_state_follows_the_events(events: list[Event], state: State) -> None:
    assert cell_after(*events).state is state


def test_the_reason_of_a_crash_is_the_first() -> None:
    assert cell_after(Crashed("first"), Crashed("second")).reason == "first"


def test_a_guest_that_switched_itself_off_has_a_reason() -> None:
    assert cell_after(Ready(), SwitchedOff("SYSTEM_OFF2, to hibernate")).reason == "SYSTEM_OFF2, to hibernate"


def test_a_reset_takes_the_reason_away() -> None:
    assert cell_after(Crashed("why"), WasReset("command")).reason is None


def test_suspends_and_resumes_are_counted_over_resets() -> None:
    cell = cell_after(
        Suspended(CONTEXT), Resumed(CONTEXT, "command"), WasReset("command"), Suspended(CONTEXT)
    )
    assert (cell.suspends, cell.resumes) == (2, 1)


@given(st.lists(st.sampled_from(EVENTS)))
def test_time_is_held_only_while_suspended(events: list[Event]) -> None:
    cell = cell_after(*events)
    assert (cell.suspended_for is not None) or cell.state is not State.SUSPENDED


@given(st.lists(st.sampled_from(EVENTS)), st.lists(st.sampled_from(EVENTS)))
def test_only_a_reset_leaves_an_end(before: list[Event], after: list[Event]) -> None:
    cell = cell_after(*before)
    state = cell.state
    for event in after:
        cell.apply(event)
    assert state not in FINAL or cell.state is state or WasReset("command") in after


# -------------------------------------------------------------------------------- waiting


def test_a_wait_ends_when_its_state_comes() -> None:
    cell = cell_after(Ready())
    teller = Thread(target=cell.apply, args=(Suspended(CONTEXT),))
    teller.start()
    cell.wait_until(lambda: cell.state is State.SUSPENDED, 10, "a suspend")
    teller.join()


def test_a_wait_for_what_is_ends_at_once() -> None:
    cell_after(SwitchedOff("SYSTEM_OFF")).wait_until(lambda: True, 0, "nothing")


def test_a_wait_ends_with_the_guest() -> None:
    cell = cell_after(Ready())
    teller = Thread(target=cell.apply, args=(Crashed("fell over"),))
    teller.start()
    with pytest.raises(GuestError, match="crashed, while waiting for a suspend: fell over"):
        cell.wait_until(lambda: False, 10, "a suspend")
    teller.join()


def test_a_wait_that_takes_too_long_says_what_for_and_what_is() -> None:
    with pytest.raises(TargetTimeout, match=r"waited 0\.01 s for a suspend; the guest is booting"):
        StateCell().wait_until(lambda: False, 0.01, "a suspend")


def test_a_wait_looks_again_when_it_is_woken() -> None:
    cell, over = StateCell(), []

    def end() -> None:
        over.append(True)
        cell.wake_waiters()

    teller = Thread(target=end)
    teller.start()
    cell.wait_until(lambda: bool(over), 10, "something else")
    teller.join()

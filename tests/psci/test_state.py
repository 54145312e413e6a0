from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

import pytest

from hil_agent.errors import InternalError, StateError
from hil_agent.psci import ContextOrder, PowerState, ResumeContext, Width
from hil_agent.psci.state import SystemState

if TYPE_CHECKING:
    from _typeshed import TraceFunction

CONTEXT = ResumeContext(entry_point=0x4008_0000, context_id=7, cpu=0, width=Width.SMC64)


@pytest.fixture
def system() -> SystemState:
    return SystemState(mpidrs=(0, 1, 0x100), memory=(range(0x4000_0000, 0x6000_0000),))


def test_after_boot_vcpu_0_is_on_and_all_others_are_off(system: SystemState) -> None:
    assert system.powers == (PowerState.ON, PowerState.OFF, PowerState.OFF)


def test_a_vcpu_that_is_powered_on_is_pending_until_it_has_entered(system: SystemState) -> None:
    system.power_on(1)
    pending = system.power(1)
    system.entered(1)
    assert (pending, system.power(1)) == (PowerState.ON_PENDING, PowerState.ON)


def test_a_vcpu_that_could_not_be_started_is_off_again(system: SystemState) -> None:
    system.power_on(1)
    system.power_on_failed(1)
    assert system.power(1) is PowerState.OFF


def test_a_suspend_keeps_the_context(system: SystemState) -> None:
    system.suspend(CONTEXT)
    assert (system.power(0), system.context) == (PowerState.SUSPENDED, CONTEXT)


def test_the_context_goes_when_the_vcpu_has_resumed(system: SystemState) -> None:
    system.suspend(CONTEXT)
    system.resumed()
    assert (system.power(0), system.context) == (PowerState.ON, None)


def test_a_suspend_with_another_vcpu_pending_is_impossible(system: SystemState) -> None:
    system.power_on(1)
    with pytest.raises(InternalError, match="with other vCPUs"):
        system.suspend(CONTEXT)


def test_a_refused_suspend_leaves_no_context(system: SystemState) -> None:
    system.power_off(0)
    with pytest.raises(InternalError, match="vCPU 0 is off"):
        system.suspend(CONTEXT)
    assert system.context is None


def test_a_context_that_was_kept_first_is_taken_back_if_the_suspend_fails() -> None:
    system = SystemState((0, 1), (), context_order=ContextOrder.CONTEXT_FIRST)
    system.power_off(0)
    with pytest.raises(InternalError):
        system.suspend(CONTEXT)
    assert (system.context, system.suspended) == (None, False)


Seen = tuple[bool, bool, bool]
"""Whether the system is suspended, whether it has a context, and whether a resume is let through."""


def look(system: SystemState) -> Seen:
    try:
        system.require_suspended()
    except StateError:
        return system.suspended_cpu is not None, system.context is not None, False
    return system.suspended_cpu is not None, system.context is not None, True


def look_after_every_line(system: SystemState, action: Callable[[], None]) -> list[Seen]:
    """What a resume would find that races with ``action``, wherever in it it comes."""
    seen: list[Seen] = []

    def trace(frame: FrameType, event: str, _: object) -> TraceFunction:
        if event == "line":
            sys.settrace(None)
            seen.append(look(system))
            sys.settrace(trace)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return [*seen, look(system)]


@pytest.mark.parametrize("order", ContextOrder)
def test_a_resume_that_races_with_the_suspend_never_sees_half_a_context(order: ContextOrder) -> None:
    system = SystemState((0, 1), (), context_order=order)
    seen = look_after_every_line(system, lambda: system.suspend(CONTEXT))
    let_through = {(suspended, context) for suspended, context, resumes in seen if resumes}
    assert let_through == {(True, True)}


@pytest.mark.parametrize(
    ("order", "half"),
    [(ContextOrder.STATE_FIRST, (True, False)), (ContextOrder.CONTEXT_FIRST, (False, True))],
)
def test_the_order_decides_which_half_comes_first(order: ContextOrder, half: tuple[bool, bool]) -> None:
    system = SystemState((0, 1), (), context_order=order)
    seen = look_after_every_line(system, lambda: system.suspend(CONTEXT))
    halves = {(suspended, context) for suspended, context, _ in seen if suspended != context}
    assert halves == {half}


def test_a_vcpu_that_powers_down_is_suspended_until_it_wakes(system: SystemState) -> None:
    system.power_down(0)
    down = (system.power(0), system.suspended)
    system.woke(0)
    assert (down, system.power(0)) == ((PowerState.SUSPENDED, False), PowerState.ON)


def test_a_vcpu_that_suspended_the_system_does_not_just_wake(system: SystemState) -> None:
    system.suspend(CONTEXT)
    with pytest.raises(InternalError, match="resumes"):
        system.woke(0)


def test_a_context_that_is_taken_away_leaves_the_system_suspended(system: SystemState) -> None:
    system.suspend(CONTEXT)
    system.clear_context()
    assert (system.suspended_cpu, system.context) == (0, None)


def test_a_context_cannot_be_taken_from_a_running_system(system: SystemState) -> None:
    with pytest.raises(StateError):
        system.clear_context()


def test_reset_clears_power_and_context(system: SystemState) -> None:
    system.suspend(CONTEXT)
    system.reset()
    assert (system.powers, system.context) == ((PowerState.ON, PowerState.OFF, PowerState.OFF), None)


@pytest.mark.parametrize(
    "transition",
    [
        lambda system: system.entered(1),
        lambda system: system.power_on_failed(1),
        lambda system: system.power_off(1),
        lambda system: system.power_on(0),
        lambda system: system.resumed(),
        lambda system: system.power_down(1),
        lambda system: system.power(3),
        lambda system: system.power(-1),
    ],
    ids=[
        "entered",
        "power_on_failed",
        "power_off",
        "power_on",
        "resumed",
        "power_down",
        "absent",
        "negative",
    ],
)
def test_an_impossible_transition_changes_nothing(
    system: SystemState, transition: Callable[[SystemState], object]
) -> None:
    before = system.powers
    with pytest.raises(InternalError):
        transition(system)
    assert system.powers == before


def test_a_vcpu_is_found_by_the_bits_that_count(system: SystemState) -> None:
    assert system.find(0x8000_0100, mask=0xFFFF) == 2


def test_a_vcpu_is_not_found_by_another_affinity(system: SystemState) -> None:
    assert system.find(0x8000_0100, mask=~0) is None

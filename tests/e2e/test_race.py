"""A resume that comes while the guest suspends finds the whole resume context, or is refused.

The guest suspends in an endless loop, and says of every entry with which context ID it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hil_agent.errors import StateError
from hil_agent.session import Session, State

pytestmark = pytest.mark.e2e

Boot = Callable[..., Session]
Assemble = Callable[..., Path]

LOAD_ADDRESS = 0x40200000
CYCLES = 100
CONTEXT_ID = 0x1122334455667788
GIC_STATE = {"isenabler0": 0x2A000000, "igroupr0": 0x5A5A0000, "pmr": 0xA8, "igrpen1": 0}


@pytest.fixture(scope="module")
def session(boot_shared: Boot, assemble: Assemble) -> Session:
    kernel = assemble("suspend", LOAD_ADDRESS, GICV3=1)
    return boot_shared(kernel=kernel, load_address=LOAD_ADDRESS, memory="64M", ready="^ready")


def resume_often(session: Session) -> int:
    """How often a resume was accepted."""
    accepted = 0
    while session.status().resumes < CYCLES:
        try:
            session.resume()
        except StateError:
            continue
        accepted += 1
    return accepted


def look_often(session: Session) -> list[object]:
    """Contexts of a suspended guest that were not whole."""
    entry_points: set[object] = set()
    odd: list[object] = []
    while (status := session.status()).resumes < CYCLES:
        if status.state is not State.SUSPENDED:
            continue
        context = status.context
        if context is None or int(context.context_id, 16) not in (CONTEXT_ID, CONTEXT_ID & 0xFFFFFFFF):
            odd.append(context)
        else:
            entry_points.add(context.entry_point)
    return odd + (list(entry_points) if len(entry_points) > 1 else [])


@pytest.fixture(scope="module")
def outcome(session: Session) -> tuple[int, list[object]]:
    """Accepted resumes, and contexts that were not whole."""
    with ThreadPoolExecutor() as pool:
        resuming = [pool.submit(resume_often, session) for _ in range(3)]
        looking = pool.submit(look_often, session)
        return sum(future.result() for future in resuming), looking.result()


def test_every_accepted_resume_resumed_the_guest_once(
    session: Session, outcome: tuple[int, list[object]]
) -> None:
    accepted, _ = outcome
    assert accepted == session.status().resumes


def test_no_context_was_ever_seen_half(outcome: tuple[int, list[object]]) -> None:
    assert outcome[1] == []


def test_the_guest_was_always_entered_with_its_context_id(
    session: Session, outcome: tuple[int, list[object]]
) -> None:
    session.wait(State.SUSPENDED)
    log = session.folder.console_log.read_text()
    values = [int(value, 16) for value in re.findall(r"^x0=(\w+)", log, re.MULTILINE)]
    expected = [CONTEXT_ID, CONTEXT_ID & 0xFFFFFFFF] * len(values)
    assert values == expected[: outcome[0]]


@pytest.mark.parametrize(("register", "value"), GIC_STATE.items(), ids=GIC_STATE)
def test_the_interrupt_controller_was_always_as_the_guest_had_left_it(
    session: Session, outcome: tuple[int, list[object]], register: str, value: int
) -> None:
    log = session.folder.console_log.read_text()
    assert {int(seen, 16) for seen in re.findall(rf"^{register}=(\w+)", log, re.MULTILINE)} == {value}


def test_no_call_ever_returned(session: Session, outcome: tuple[int, list[object]]) -> None:
    assert "returned" not in session.folder.console_log.read_text()

"""The resume context, looked at and changed; the ways out of a suspend; and a resume that races with it."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hil_agent.errors import StateError, UsageError
from hil_agent.psci import ContextOrder
from hil_agent.session import Session, State

if TYPE_CHECKING:
    from tests.e2e.conftest import Cycle

pytestmark = pytest.mark.e2e

Boot = Callable[..., Session]
Assemble = Callable[..., Path]
CommandLine = Callable[..., subprocess.CompletedProcess[str]]

LOAD_ADDRESS = 0x40200000
CONTEXT_ID = 0x1122334455667788
FUNCTION_IDS = {32: "0x8400000e", 64: "0xc400000e"}
ROUNDS = 150
SOON_S = 10

LAST_WORDS = re.compile(r"^(?:ready|(?:returned|sctlr)=[0-9a-f]{16})\r?$", re.MULTILINE)
"""What the guest that suspends again and again says last before it does."""


def bare_metal(assemble: Assemble, name: str, **symbols: int) -> dict[str, Any]:
    """What boots one of our guests."""
    return {
        "kernel": assemble(name, LOAD_ADDRESS, **symbols),
        "load_address": LOAD_ADDRESS,
        "memory": "64M",
        "wait": False,
        "timeout_s": 20.0,
    }


def said(session: Session, name: str) -> list[int]:
    """All the numbers that a guest has printed under a name; 64 bits, signed."""
    log = session.folder.console_log.read_text(errors="replace")
    found = re.findall(rf"^{name}=([0-9a-f]{{16}})\r?$", log, re.MULTILINE)
    return [int.from_bytes(int(value, 16).to_bytes(8), signed=True) for value in found]


def wait_until(done: Callable[[], bool]) -> None:
    """Waits for something that is seen on the console only."""
    deadline = time.monotonic() + SOON_S
    while not done():
        assert time.monotonic() < deadline, "the guest says nothing any more"
        time.sleep(0.01)


def last_cause(session: Session) -> str:
    """What ended the last suspend."""
    events = [json.loads(line) for line in session.folder.journal.read_text().splitlines()]
    cause: str = [event["cause"] for event in events if "cause" in event][-1]
    return cause


# ------------------------------------------------- a guest that suspends again and again


@pytest.fixture(scope="module")
def sleeper(boot_shared: Boot, assemble: Assemble) -> Session:
    return boot_shared(**bare_metal(assemble, "suspend"))


def wait_asleep(session: Session) -> None:
    """Waits until the guest is suspended, and all that it has said before has arrived."""
    session.wait(State.SUSPENDED, timeout_s=SOON_S)
    suspends = session.status().suspends
    wait_until(lambda: len(LAST_WORDS.findall(session.folder.console_log.read_text())) == suspends)


@pytest.fixture
def asleep(sleeper: Session) -> Session:
    """The guest while it is suspended."""
    wait_asleep(sleeper)
    return sleeper


def test_a_context_id_that_was_set_is_what_the_guest_finds_in_x0(asleep: Session) -> None:
    asleep.set_context(context_id=0xC0FFEE)
    asleep.resume()
    wait_asleep(asleep)
    assert said(asleep, "x0")[-1] == 0xC0FFEE


def test_an_entry_point_that_was_set_is_where_the_guest_goes_on(asleep: Session) -> None:
    before = asleep.folder.console_log.read_text().count("ready")
    asleep.set_context(entry_point=LOAD_ADDRESS)
    asleep.resume()
    wait_asleep(asleep)
    assert asleep.folder.console_log.read_text().count("ready") == before + 1


def test_what_is_not_set_stays(asleep: Session) -> None:
    before = asleep.context()
    asleep.set_context(context_id=1)
    after = asleep.context()
    assert before is not None
    assert after is not None
    assert (after.entry_point, after.context_id) == (before.entry_point, "0x1")


def test_an_edit_is_for_one_resume_only(asleep: Session) -> None:
    asleep.set_context(context_id=1)
    asleep.resume()
    wait_asleep(asleep)
    asleep.resume()
    wait_asleep(asleep)
    assert said(asleep, "x0")[-1] & 0xFFFFFFFF == CONTEXT_ID & 0xFFFFFFFF


def test_with_the_context_cleared_the_call_returns_success(asleep: Session) -> None:
    asleep.clear_context()
    asleep.resume()
    wait_asleep(asleep)
    assert said(asleep, "returned")[-1] == 0


@pytest.mark.parametrize(
    ("code", "value"), [("SUCCESS", 0), ("DENIED", -3), ("INTERNAL_FAILURE", -6), ("INVALID_ADDRESS", -9)]
)
def test_an_abandoned_suspend_returns_the_chosen_code(asleep: Session, code: str, value: int) -> None:
    asleep.resume(answer=code)
    cause = last_cause(asleep)
    wait_asleep(asleep)
    assert (said(asleep, "returned")[-1], cause) == (value, f"abandoned, {code}")


def test_a_code_that_does_not_exist_is_refused_and_the_guest_stays_suspended(asleep: Session) -> None:
    with pytest.raises(UsageError, match="SYSTEM_SUSPENDED"):
        asleep.resume(answer="SYSTEM_SUSPENDED")
    assert asleep.status().state is State.SUSPENDED


def test_a_context_cannot_hold_more_than_64_bits(asleep: Session) -> None:
    with pytest.raises(UsageError, match="64-bit"):
        asleep.set_context(entry_point=1 << 64)


def test_the_registers_at_suspend_are_there_at_once(asleep: Session) -> None:
    asleep.resume()
    asleep.wait(State.SUSPENDED, timeout_s=SOON_S)
    at_suspend = asleep.registers().suspended[0]
    context = asleep.context()
    assert context is not None
    expected = {"x0": FUNCTION_IDS[context.width], "x1": context.entry_point, "x30": f"{(1 << 64) - 1:#x}"}
    assert {name: at_suspend[name] for name in expected} == expected


def test_after_a_resume_the_registers_of_the_entry_state_have_changed(asleep: Session) -> None:
    context = asleep.context()
    assert context is not None
    asleep.resume()
    changed = asleep.registers().changed[0]
    assert {name: changed[name][1] for name in ("pc", "x0", "x30")} == {
        "pc": context.entry_point,
        "x0": context.context_id,
        "x30": "0x0",
    }


def test_after_an_abandoned_suspend_x0_is_all_that_has_changed(asleep: Session) -> None:
    asleep.resume(answer="DENIED")
    changed = asleep.registers().changed[0]
    assert {name: after for name, (_, after) in changed.items()} == {"x0": f"{(1 << 64) - 3:#x}"}


def test_the_context_on_the_command_line(asleep: Session, hil_agent_command: CommandLine) -> None:
    set_ = hil_agent_command(
        "context", "set", asleep.name, "--entry", "0x40200000", "--context-id", "7", "--json"
    )
    shown = hil_agent_command("context", "show", asleep.name, "--json")
    assert json.loads(set_.stdout).keys() == json.loads(shown.stdout).keys()
    assert (json.loads(shown.stdout)["entry_point"], json.loads(shown.stdout)["context_id"]) == (
        "0x40200000",
        "0x7",
    )
    assert hil_agent_command("context", "clear", asleep.name).returncode == 0
    assert hil_agent_command("context", "show", asleep.name).returncode == 3
    assert hil_agent_command("resume", asleep.name, "--as-is", "--deny", "DENIED").returncode == 2
    assert hil_agent_command("resume", asleep.name, "--deny", "DENIED").returncode == 0
    wait_asleep(asleep)
    assert said(asleep, "returned")[-1] == -3


# ---------------------------------------------- a guest whose registers hold known values


def wait_said(session: Session, count: int) -> None:
    """Waits until the guest has looked at its registers ``count`` times more."""
    wanted = len(said(session, "changed")) + count
    wait_until(lambda: len(said(session, "changed")) >= wanted)


def test_an_abandoned_suspend_changes_no_register_but_x0(boot: Boot, assemble: Assemble) -> None:
    session = boot(**bare_metal(assemble, "steady", SUSPENDS=1))
    for _ in range(3):
        session.wait(State.SUSPENDED, timeout_s=SOON_S)
        session.resume(answer="DENIED")
    wait_until(lambda: len(said(session, "changed")) == 3)
    assert said(session, "changed") == [0, 0, 0]


@pytest.fixture(scope="module")
def steady(boot_shared: Boot, assemble: Assemble) -> Session:
    return boot_shared(**bare_metal(assemble, "steady", SUSPENDS=0))


@pytest.fixture
def held(steady: Session) -> Iterator[Session]:
    """The guest while the host holds it, which is no call of its own."""
    wait_said(steady, 1)
    steady.suspend_by_host()
    yield steady
    if steady.status().state is State.SUSPENDED:
        steady.resume()


def test_a_held_guest_is_suspended_without_a_context(held: Session) -> None:
    assert (held.status().state, held.context()) == (State.SUSPENDED, None)


def test_a_held_guest_stands_still(held: Session) -> None:
    before = said(held, "changed")
    time.sleep(0.5)
    assert said(held, "changed") == before


def test_a_hold_changes_no_register(steady: Session) -> None:
    for _ in range(5):
        wait_said(steady, 1)
        steady.suspend_by_host()
        steady.resume()
    wait_said(steady, 2)
    assert set(said(steady, "changed")) == {0}


@pytest.mark.parametrize(
    "action",
    [
        Session.suspend_by_host,
        lambda session: session.set_context(context_id=1),
        lambda session: session.resume(answer="SUCCESS"),
    ],
    ids=["suspend --by-host", "context set", "resume --as-is"],
)
def test_a_held_guest_refuses(held: Session, action: Callable[[Session], None]) -> None:
    with pytest.raises(StateError):
        action(held)
    assert held.status().state is State.SUSPENDED


def test_after_a_hold_no_register_is_told_to_have_changed(held: Session) -> None:
    held.resume()
    assert held.registers().changed == {0: {}}


def test_a_held_guest_can_be_reset(held: Session) -> None:
    held.reset(timeout_s=SOON_S)
    wait_said(held, 1)
    assert held.status().state is State.RUNNING


def test_a_guest_that_suspended_by_itself_cannot_be_held_as_well(asleep: Session) -> None:
    with pytest.raises(StateError):
        asleep.suspend_by_host()


@pytest.fixture(scope="module")
def linux(boot_shared: Boot) -> Session:
    return boot_shared(cpus=2)


def test_the_time_of_a_held_linux_stands_still(linux: Session, hil_agent_command: CommandLine) -> None:
    def uptime() -> float:
        return float(linux.exec("cut -d' ' -f1 /proc/uptime").text)

    began, up = time.monotonic(), uptime()
    assert hil_agent_command("suspend", linux.name, "--by-host").returncode == 0
    held_at = time.monotonic()
    time.sleep(1)
    held_s = time.monotonic() - held_at
    assert hil_agent_command("resume", linux.name).returncode == 0
    assert uptime() - up <= time.monotonic() - began - held_s + 0.02  # the guest tells hundredths


def test_a_held_linux_runs_no_command(linux: Session) -> None:
    linux.suspend_by_host()
    with pytest.raises(StateError, match="suspended"):
        linux.exec("true")
    linux.resume()
    assert linux.exec("echo on").text == "on"


def test_a_linux_that_was_held_suspends_as_ever(linux: Session, cycle: Callable[[Session], Cycle]) -> None:
    linux.suspend_by_host()
    linux.resume()
    assert cycle(linux).command.status == 0


# ------------------------------------------------------------------- resume against suspend


@pytest.mark.parametrize(
    ("order", "gic"), [(ContextOrder.STATE_FIRST, 3), (ContextOrder.CONTEXT_FIRST, 2)], ids=str
)
def test_a_resume_that_races_with_the_suspend_is_refused_or_complete(
    boot: Boot, assemble: Assemble, order: ContextOrder, gic: int
) -> None:
    guest = bare_metal(assemble, "race", ROUNDS=ROUNDS, GIC=gic)
    session = boot(**guest, ready="^done", gic_version=gic, context_order=order.value)
    over = threading.Event()
    resumed, refused = [], []

    def resume() -> None:
        while not over.is_set():
            try:
                session.resume()
                resumed.append(1)
            except StateError:
                refused.append(1)

    threads = [threading.Thread(target=resume) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        session.wait_ready(timeout_s=60)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert (said(session, "wrong_entries"), said(session, "gic_changes")) == ([0], [0])
    assert len(resumed) == ROUNDS
    assert refused

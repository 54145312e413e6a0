"""Faults: what Linux makes of each, how the trace names them, and that it suspends well afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hil_agent.errors import GuestError, TargetError, TargetTimeout
from hil_agent.session import Session, State
from hil_agent.session.documents import TraceRecord

if TYPE_CHECKING:
    from tests.e2e.conftest import Cycle

pytestmark = pytest.mark.e2e

Boot = Callable[..., Session]
Assemble = Callable[..., Path]

LOAD_ADDRESS = 0x40200000
CONTEXT_ID = 0x1122334455667788
DELAY_S = 0.3
SOON_S = 10


def events(session: Session, kind: str) -> list[dict[str, Any]]:
    """The session's events of one kind."""
    lines = map(json.loads, session.folder.journal.read_text().splitlines())
    return [line for line in lines if line.get("event") == kind]


def last_suspend(session: Session) -> TraceRecord:
    """The last SYSTEM_SUSPEND that the guest has called."""
    return [call for call in session.trace() if call.function == "SYSTEM_SUSPEND"][-1]


# -------------------------------------------------------------- faults in SYSTEM_SUSPEND

FAULTS = {
    "denied": "kind=return,code=DENIED",
    "internal": "kind=return,code=INTERNAL_FAILURE",
    "not-supported": "kind=return,code=NOT_SUPPORTED",
    "unprepared": "kind=preparation",
    "late": f"kind=delay,time_us={DELAY_S * 1e6:.0f}",
    "spurious": "kind=spurious-wake,after_us=50000",
    "twice": "kind=duplicate-wake,after_us=50000",
    "early": "kind=reordered-wake",
    "bad-id": "kind=corrupt,context_id=0xff",
}
"""Each is met by another SYSTEM_SUSPEND of the same guest: the first, the third, the fifth ..."""

RULES = tuple(
    f"{rule},function=SYSTEM_SUSPEND,nth={2 * index + 1},name={name}"
    for index, (name, rule) in enumerate(FAULTS.items())
)
REFUSED = {
    "denied": ("Operation not permitted", "DENIED"),
    "internal": ("Invalid argument", "INTERNAL_FAILURE"),
    "not-supported": ("Operation not supported", "NOT_SUPPORTED"),
    "unprepared": ("Operation not permitted", "DENIED"),
}
"""What `echo mem` says, and what the call was answered with."""


@dataclass(frozen=True)
class Attempt:
    """A suspend that has met a fault.

    Attributes:
        fault: its name.
        error: how the attempt failed; None if the guest has suspended.
        call: the SYSTEM_SUSPEND.
        context_id: of the context that it left.
        suspended_after_s: seconds from the call until the guest was suspended.
        woke_by: what has resumed it, each time.
        status: how `echo mem` ended.
        next: an ordinary suspend after it.
    """

    fault: str
    error: str | None
    call: TraceRecord
    context_id: str | None
    suspended_after_s: float
    woke_by: list[str]
    status: int | None
    next: Cycle


def attempt_suspend(linux: Session, fault: str, cycle: Callable[[Session], Cycle]) -> Attempt:
    """A suspend at which ``fault`` fires, resumed by command unless it is to wake by itself."""
    error, context_id, status = None, None, None
    before = len(events(linux, "resumed"))
    try:
        context_id = linux.suspend().context_id
    except GuestError as failed:
        error = failed.message
    else:
        if fault in {"spurious", "twice"}:
            linux.wait(State.RUNNING, timeout_s=SOON_S)
        else:
            linux.resume()
        ended = linux.settle(timeout_s=SOON_S)
        status = None if ended is None else ended.status
    call = last_suspend(linux)
    return Attempt(
        fault=fault,
        error=error,
        call=call,
        context_id=context_id,
        suspended_after_s=0.0 if error else events(linux, "suspended")[-1]["time_s"] - call.time_s,
        woke_by=[event["cause"] for event in events(linux, "resumed")[before:]],
        status=status,
        next=cycle(linux),
    )


@pytest.fixture(scope="module")
def attempts(boot_shared: Boot, cycle: Callable[[Session], Cycle]) -> dict[str, Attempt]:
    """One Linux meets all of them, one after the other."""
    with boot_shared(fault=RULES) as linux:
        return {fault: attempt_suspend(linux, fault, cycle) for fault in FAULTS}


@pytest.fixture(params=FAULTS)
def attempt(request: pytest.FixtureRequest, attempts: dict[str, Attempt]) -> Attempt:
    return attempts[request.param]


def test_the_trace_names_the_fault(attempt: Attempt) -> None:
    assert attempt.call.fault == attempt.fault


def test_the_guest_suspends_well_afterwards(attempt: Attempt) -> None:
    before, after = attempt.next.successes
    faults = {call.fault for call in attempt.next.calls}
    assert (attempt.next.command.status, after - before, faults) == (0, 1, {None})


@pytest.mark.parametrize("attempt", REFUSED, indirect=True)
def test_a_refused_suspend_is_an_error_of_echo_mem(attempt: Attempt) -> None:
    message, code = REFUSED[attempt.fault]
    assert message in (attempt.error or "")
    assert attempt.call.result == code


@pytest.mark.parametrize("attempt", [name for name in FAULTS if name not in REFUSED], indirect=True)
def test_the_others_end_well(attempt: Attempt) -> None:
    assert (attempt.error, attempt.status) == (None, 0)


@pytest.mark.parametrize("attempt", ["late"], indirect=True)
def test_a_delayed_suspend_comes_late(attempt: Attempt) -> None:
    assert attempt.suspended_after_s >= DELAY_S


@pytest.mark.parametrize("attempt", ["spurious", "twice"], indirect=True)
def test_a_spurious_wake_resumes_once_and_by_itself(attempt: Attempt) -> None:
    assert attempt.woke_by == ["fault"]


@pytest.mark.parametrize("attempt", ["early"], indirect=True)
def test_a_wake_that_comes_before_the_suspend_is_lost(attempt: Attempt) -> None:
    assert attempt.woke_by == ["command"]


@pytest.mark.parametrize("attempt", ["bad-id"], indirect=True)
def test_linux_makes_no_use_of_the_context_id(attempt: Attempt) -> None:
    assert (attempt.context_id, attempt.status) == ("0xff", 0)


def test_a_guest_sees_a_corrupted_context_id(boot: Boot, assemble: Assemble) -> None:
    kernel = assemble("suspend", LOAD_ADDRESS)
    fault = ("kind=corrupt,function=SYSTEM_SUSPEND,context_id=0xff00,nth=1",)
    expected = f"^x0={CONTEXT_ID ^ 0xFF00:016x}"
    session = boot(
        kernel=kernel, load_address=LOAD_ADDRESS, memory="64M", ready=expected, wait=False, fault=fault
    )
    session.wait(State.SUSPENDED, timeout_s=SOON_S)
    session.resume()
    session.wait_ready(timeout_s=SOON_S)


# ----------------------------------------------------------------- a resume that goes wrong


@pytest.fixture(scope="module")
def astray(boot_shared: Boot) -> Iterator[Session]:
    """A Linux that was resumed somewhere else than it asked for."""
    fault = ("kind=corrupt,function=SYSTEM_SUSPEND,entry_point=0x80000000,nth=1,name=nowhere",)
    with boot_shared(fault=fault) as session:
        session.suspend()
        session.resume()
        yield session


def test_a_guest_with_a_corrupted_entry_point_does_not_come_back(astray: Session) -> None:
    assert last_suspend(astray).fault == "nowhere"
    with pytest.raises(TargetTimeout):
        astray.settle(timeout_s=2)


def test_a_guest_that_does_not_come_back_can_be_reset(
    astray: Session, cycle: Callable[[Session], Cycle]
) -> None:
    astray.reset()
    assert cycle(astray).command.status == 0


def test_on_xen_v16_a_resume_that_could_not_be_prepared_can_be_tried_again(boot: Boot) -> None:
    session = boot(profile="xen-v16", fault=("kind=preparation,function=SYSTEM_SUSPEND,nth=1",))
    context = session.suspend()
    with pytest.raises(TargetError, match="could not be prepared"):
        session.resume()
    kept = session.status()
    assert kept.context is not None
    assert (kept.state, kept.context.entry_point) == (State.SUSPENDED, context.entry_point)
    session.resume()
    ended = session.settle()
    assert ended is not None
    assert (ended.status, last_suspend(session).fault) == (0, "preparation")


# -------------------------------------------------------------------------- a lost CPU_ON


@pytest.fixture(scope="module")
def lame(boot_shared: Boot) -> Session:
    """A Linux with two vCPUs that has lost its first CPU_ON."""
    return boot_shared(cpus=2, fault=("kind=lost-power-on,nth=1",))


def test_linux_boots_on_without_a_vcpu_that_never_starts(lame: Session) -> None:
    assert "CPU1: failed to come online" in lame.exec("dmesg").text
    assert [cpu.power for cpu in lame.status().cpus] == ["on", "off"]


def test_the_lost_cpu_on_succeeded_as_far_as_linux_can_tell(lame: Session) -> None:
    first = next(call for call in lame.trace() if call.function == "CPU_ON")
    assert (first.result, first.fault) == ("SUCCESS", "lost-power-on")


def test_a_vcpu_that_was_lost_once_can_be_brought_up(
    lame: Session, cycle: Callable[[Session], Cycle]
) -> None:
    assert lame.exec("echo 1 > /sys/devices/system/cpu/cpu1/online").status == 0
    assert cycle(lame).command.status == 0
    assert lame.exec("cat /sys/devices/system/cpu/online").text == "0-1"


# ---------------------------------------------------------------------------------- plans


def test_a_plan_in_a_file_is_followed_after_the_rules_of_the_command_line(boot: Boot, tmp_path: Path) -> None:
    plan = tmp_path / "faults.yaml"
    plan.write_text(
        "seed: 7\nrules:\n  - {kind: return, function: SYSTEM_SUSPEND, code: DENIED, name: from-the-file}\n"
    )
    rule = "kind=return,function=SYSTEM_SUSPEND,code=INTERNAL_FAILURE,nth=1,name=from-the-command-line"
    session = boot(fault=(rule,), fault_plan=plan)
    for expected in ("from-the-command-line", "from-the-file"):
        with pytest.raises(GuestError):
            session.suspend()
        assert last_suspend(session).fault == expected

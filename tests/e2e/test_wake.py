"""What ends a suspend besides the command: an alarm of the guest's own clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from hil_agent.errors import TargetTimeout
from hil_agent.session import Session, State

pytestmark = pytest.mark.e2e

Boot = Callable[..., Session]

SUSPEND_WITH_ALARM = "echo +2 > /sys/class/rtc/rtc0/wakealarm && echo mem > /sys/power/state"
ALARM_S = 2


MACHINES = [
    pytest.param({"gic_version": gic, "trap": trap}, id=f"GICv{gic}, {trap}")
    for gic in (2, 3)
    for trap in ("el2", "hvc-site")
]


@pytest.fixture(scope="module", params=MACHINES)
def session(request: pytest.FixtureRequest, boot_shared: Boot) -> Iterator[Session]:
    with boot_shared(cpus=2, **request.param) as session:
        yield session


def test_an_alarm_resumes_the_guest(session: Session) -> None:
    assert session.exec(SUSPEND_WITH_ALARM, timeout_s=30).status == 0


def test_the_journal_names_the_interrupt(session: Session) -> None:
    before = session.status().resumes
    session.suspend(SUSPEND_WITH_ALARM)
    session.wait(State.RUNNING, timeout_s=20)
    session.settle()
    assert session.status().resumes == before + 1
    assert '"cause":"interrupt 34"' in session.folder.journal.read_text()  # the PL031 is SPI 2


def test_a_resume_by_command_comes_before_the_alarm(session: Session) -> None:
    session.suspend("echo +60 > /sys/class/rtc/rtc0/wakealarm && echo mem > /sys/power/state")
    session.resume()
    ended = session.settle()
    session.exec("echo 0 > /sys/class/rtc/rtc0/wakealarm")
    assert ended is not None
    assert ended.status == 0


def test_the_guest_is_none_the_worse_for_it(session: Session) -> None:
    session.exec("dmesg -c")
    session.exec(SUSPEND_WITH_ALARM, timeout_s=30)
    log = session.exec("dmesg").text
    assert [line for line in log.splitlines() if "Spurious" in line or "nobody cared" in line] == []


@pytest.fixture(scope="module", params=MACHINES)
def command_only(request: pytest.FixtureRequest, boot_shared: Boot) -> Iterator[Session]:
    with boot_shared(wake="command", **request.param) as session:
        yield session


def test_with_wake_by_command_an_alarm_does_not_wake(command_only: Session) -> None:
    command_only.suspend(SUSPEND_WITH_ALARM)
    with pytest.raises(TargetTimeout):
        command_only.wait(State.RUNNING, timeout_s=ALARM_S + 1.5)
    command_only.resume()
    ended = command_only.settle()
    assert ended is not None
    assert ended.status == 0


def test_an_interrupt_that_was_held_back_is_taken_after_the_resume(command_only: Session) -> None:
    handled = "awk '/rtc-pl031/ {print $2}' /proc/interrupts"
    before = int(command_only.exec(handled).text)
    command_only.suspend(SUSPEND_WITH_ALARM)
    with pytest.raises(TargetTimeout):
        command_only.wait(State.RUNNING, timeout_s=ALARM_S + 1.5)
    command_only.resume()
    command_only.settle()
    assert int(command_only.exec(handled).text) == before + 1

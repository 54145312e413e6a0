"""Reset, power-off, panic, death of a process: every end of a guest is seen, and no command hangs on it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from hil_agent.errors import GuestError, StateError, TargetError
from hil_agent.session import Session, State

pytestmark = pytest.mark.e2e

Boot = Callable[..., Session]
CommandLine = Callable[..., subprocess.CompletedProcess[str]]

SOON_S = 10


def uptime(session: Session) -> float:
    return float(session.exec("cut -d' ' -f1 /proc/uptime").text)


# ------------------------------------------------------------------------------ reset, off


@pytest.fixture(scope="module")
def session(boot_shared: Boot) -> Session:
    return boot_shared(cpus=2)


def test_a_reset_starts_the_guest_anew(session: Session) -> None:
    session.exec("touch /tmp/mark")
    session.reset()
    assert session.exec("ls /tmp/mark").status == 1


def test_after_a_reset_no_vcpu_is_forgotten(session: Session) -> None:
    session.reset()
    assert [cpu.power for cpu in session.status().cpus] == ["on", "on"]


def test_a_guest_that_is_suspended_can_be_reset(session: Session) -> None:
    session.suspend()
    session.reset()
    status = session.status()
    assert (status.state, status.context) == (State.RUNNING, None)


def test_after_a_reset_it_suspends_as_ever(session: Session) -> None:
    session.suspend()
    session.reset()
    session.suspend()
    session.resume()
    ended = session.settle()
    assert ended is not None
    assert ended.status == 0


def test_the_command_that_was_suspended_over_a_reset_has_failed(session: Session) -> None:
    session.suspend()
    session.reset()
    with pytest.raises(GuestError):
        session.settle(timeout_s=SOON_S)


def test_the_guest_can_reboot_by_itself(session: Session) -> None:
    with pytest.raises(GuestError):
        session.exec("reboot -f", timeout_s=SOON_S)
    session.wait(State.RUNNING)
    assert uptime(session) < 30


def test_a_reset_while_a_command_runs_fails_the_command(session: Session) -> None:
    with pytest.raises(GuestError):
        session.exec("echo b > /proc/sysrq-trigger; sleep 60", timeout_s=SOON_S)
    session.wait(State.RUNNING)


@pytest.fixture(scope="module")
def switched_off(boot_shared: Boot) -> Session:
    session = boot_shared()
    with pytest.raises(GuestError, match="off"):
        session.exec("poweroff -f", timeout_s=SOON_S)
    return session


def test_poweroff_is_the_state_off(switched_off: Session) -> None:
    assert switched_off.status().state is State.OFF


def test_a_guest_that_is_off_is_not_resumed(switched_off: Session) -> None:
    with pytest.raises(StateError):
        switched_off.resume()


def test_a_guest_that_is_off_runs_no_commands(switched_off: Session) -> None:
    with pytest.raises(StateError, match="off"):
        switched_off.exec("true")


def test_waiting_for_a_guest_that_is_off_is_over_at_once(switched_off: Session) -> None:
    with pytest.raises(GuestError, match="off"):
        switched_off.wait(State.RUNNING, timeout_s=30)


def test_a_guest_that_is_off_can_be_reset(switched_off: Session) -> None:
    switched_off.reset()
    assert switched_off.exec("echo up").text == "up"


# ---------------------------------------------------------------------------- QEMU is killed


def kill_machine(session: Session) -> None:
    pid = session.status().target_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def suspended(session: Session) -> None:
    session.suspend()


def running(session: Session) -> None:
    session.exec("true")


@pytest.fixture(scope="module", params=[running, suspended], ids=lambda prepare: prepare.__name__)
def crashed(request: pytest.FixtureRequest, boot_shared: Boot) -> Iterator[Session]:
    """A session whose QEMU was killed, when the guest was in each of two states."""
    with boot_shared() as session:
        request.param(session)
        kill_machine(session)
        session.wait(State.CRASHED, timeout_s=SOON_S)
        yield session


def test_a_killed_machine_is_the_state_crashed_with_the_reason(crashed: Session) -> None:
    assert "killed by SIGKILL" in (crashed.status().reason or "")


def test_the_machine_of_a_crashed_session_has_no_process(crashed: Session) -> None:
    assert crashed.status().target_pid is None


@pytest.mark.parametrize(
    "arguments", [["exec", "NAME", "true"], ["suspend", "NAME"], ["wait", "NAME", "running"]]
)
def test_commands_to_a_crashed_session_fail_and_do_not_hang(
    crashed: Session, hil_agent_command: CommandLine, arguments: list[str]
) -> None:
    done = hil_agent_command(*(word.replace("NAME", crashed.name) for word in arguments), timeout_s=SOON_S)
    assert (done.returncode, "SIGKILL" in done.stderr, "Traceback" in done.stderr) == (1, True, False)


def test_a_crashed_guest_is_not_suspended_so_resume_is_refused(
    crashed: Session, hil_agent_command: CommandLine
) -> None:
    done = hil_agent_command("resume", crashed.name, timeout_s=SOON_S)
    assert (done.returncode, "crashed" in done.stderr) == (3, True)


def test_a_machine_that_is_gone_cannot_be_reset(crashed: Session) -> None:
    with pytest.raises(TargetError):
        crashed.reset(timeout_s=SOON_S)


def test_a_command_that_runs_when_the_machine_dies_fails_at_once(boot: Boot) -> None:
    session = boot()
    killer = subprocess.Popen(["sh", "-c", f"sleep 1; kill -KILL {session.status().target_pid}"])
    with pytest.raises(GuestError, match="SIGKILL"):
        session.exec("sleep 100", timeout_s=60)
    killer.wait()


def test_a_machine_that_dies_while_booting_ends_the_wait_for_it(boot: Boot) -> None:
    session = boot(wait=False)
    kill_machine(session)
    with pytest.raises(GuestError, match="SIGKILL"):
        session.wait(State.RUNNING, timeout_s=30)


# ------------------------------------------------------------------- the session is killed


@pytest.fixture
def orphan(boot: Boot) -> Session:
    """What is left of a session whose process was killed."""
    session = boot()
    status = session.status()
    assert status.pid is not None
    assert status.target_pid is not None
    processes = [os.pidfd_open(status.pid), os.pidfd_open(status.target_pid)]
    os.kill(status.pid, signal.SIGKILL)
    for process in processes:
        ended, _, _ = select.select([process], [], [], SOON_S)
        os.close(process)
        assert ended
    return session


def test_a_session_that_was_killed_is_listed_as_crashed(
    orphan: Session, hil_agent_command: CommandLine
) -> None:
    states = {row["name"]: row["state"] for row in json.loads(hil_agent_command("list", "--json").stdout)}
    assert states[orphan.name] == "crashed"


def test_destroy_removes_what_a_killed_session_left(orphan: Session, hil_agent_command: CommandLine) -> None:
    assert hil_agent_command("destroy", orphan.name).returncode == 0
    assert not orphan.folder.path.exists()


def test_a_command_to_a_killed_session_says_how_to_remove_it(
    orphan: Session, hil_agent_command: CommandLine
) -> None:
    done = hil_agent_command("exec", orphan.name, "true")
    assert (done.returncode, f"hil-agent destroy {orphan.name}" in done.stderr) == (1, True)


# --------------------------------------------------------------------- the session hangs


@pytest.fixture
def hanging(boot: Boot) -> Session:
    """A session whose process does nothing any more, and yet is there."""
    session = boot(wait=False)
    pid = session.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    return session


def test_a_session_that_hangs_can_be_destroyed(hanging: Session, hil_agent_command: CommandLine) -> None:
    try:
        assert hil_agent_command("destroy", hanging.name, timeout_s=30).returncode == 0
    finally:
        hanging.folder.kill()


def test_a_session_that_hangs_does_not_hide_the_others(
    boot: Boot, hanging: Session, hil_agent_command: CommandLine
) -> None:
    other = boot(wait=False, name="zzz")
    try:
        listed = json.loads(hil_agent_command("list", "--json", timeout_s=30).stdout)
        assert other.name in {row["name"] for row in listed}
    finally:
        hanging.folder.kill()


# ------------------------------------------------------------------------------------ panic


def test_a_panic_is_the_state_crashed_with_the_kernels_words(boot: Boot) -> None:
    session = boot()
    with pytest.raises(GuestError, match="Kernel panic"):
        session.exec("echo c > /proc/sysrq-trigger", timeout_s=30)
    assert session.status().state is State.CRASHED


def test_a_guest_that_has_panicked_can_be_reset(boot: Boot) -> None:
    session = boot()
    with pytest.raises(GuestError, match="Kernel panic"):
        session.exec("echo c > /proc/sysrq-trigger", timeout_s=30)
    session.reset()
    assert session.exec("echo up").text == "up"

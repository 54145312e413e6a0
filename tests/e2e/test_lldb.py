"""lldb attached to a session."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hil_agent.session import Session, State

pytestmark = pytest.mark.e2e

Boot = Callable[..., Session]

TIMEOUT_S = 60


@pytest.fixture(scope="module")
def session(boot_shared: Boot) -> Session:
    return boot_shared(cpus=2, gdb_port="0")


@pytest.fixture
def lldb(session: Session, tmp_path: Path) -> Callable[..., str]:
    """Has lldb attach, carry out commands and detach; what it printed."""

    def run(*commands: str) -> str:
        script = tmp_path / "script"
        script.write_text(
            "\n".join([f"gdb-remote {session.status().gdb_address}", *commands, "detach", "quit"])
        )
        done = subprocess.run(
            ["lldb", "--no-lldbinit", "--batch", "--source", str(script)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return done.stdout

    return run


def value(said: str, register: str) -> int:
    found = re.findall(rf"^\s*{register} = (0x[0-9a-f]+)", said, re.MULTILINE)
    return int(found[-1], 16)


def test_it_sees_every_vcpu(lldb: Callable[..., str]) -> None:
    assert len(re.findall(r"thread #\d+: tid", lldb("thread list"))) == 2


def test_it_reads_registers_system_registers_among_them(lldb: Callable[..., str]) -> None:
    said = lldb("register read pc x0", "register read SCTLR_EL1")
    assert value(said, "pc") >> 48 in {0xFFFF, 0x0000}
    assert value(said, "SCTLR_EL1") & 1


def test_it_steps_one_instruction(lldb: Callable[..., str]) -> None:
    said = lldb("register read pc", "thread step-inst", "register read pc")
    first, second = (int(each, 16) for each in re.findall(r"^\s*pc = (0x\w+)", said, re.MULTILINE))
    assert first != second


def test_it_stops_at_a_breakpoint(session: Session, lldb: Callable[..., str]) -> None:
    said = lldb("register read pc")
    idle = value(said, "pc")
    said = lldb(f"breakpoint set --address {idle:#x}", "process continue", "register read pc")
    assert "stop reason = breakpoint" in said
    assert value(said, "pc") == idle


def test_the_guest_goes_on_after_it(session: Session, lldb: Callable[..., str]) -> None:
    lldb("register read pc")
    session.wait(State.RUNNING)
    assert session.exec("echo alive").text == "alive"


def test_it_attaches_to_a_suspended_guest(session: Session, lldb: Callable[..., str]) -> None:
    session.suspend()
    said = lldb("thread list", "process plugin packet monitor psci")
    session.resume()
    assert "suspended by vCPU 0" in said
    assert session.settle() is not None

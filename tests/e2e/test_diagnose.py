"""`hil-agent diagnose`: what it says about guests that hang, die, sleep or are well."""

from __future__ import annotations

import json
import os
import select
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hil_agent.debug import Gdb
from hil_agent.debug.diagnose import Diagnosis, diagnose
from hil_agent.errors import GuestError
from hil_agent.session import Session, State

pytestmark = pytest.mark.e2e

Boot = Callable[..., Session]
CommandLine = Callable[..., subprocess.CompletedProcess[str]]

_SOON_S = 30

_OUTERMOST = {"__primary_switched", "__secondary_switched", "ret_from_fork", "el0t_64_sync", "el0t_64_irq"}
"""Whom nobody has called in Linux."""


def _diagnose(session: Session, folder: Path) -> Diagnosis:
    return diagnose(session, folder / "found", core=False)


def _summary(found: Diagnosis) -> str:
    return (found.folder / "summary.md").read_text()


def _end(pid: int | None) -> None:
    """Kills a process and waits until it is gone."""
    assert pid is not None
    process = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([process], [], [], _SOON_S)
    os.close(process)


@pytest.fixture(scope="module")
def steady(boot_shared: Boot) -> Session:
    """A guest that is well."""
    return boot_shared("qemu-virt", cpus=2, memory="256M")


# --------------------------------------------------------------------------- what there is


def test_a_guest_that_is_well(steady: Session, tmp_path: Path) -> None:
    found = _diagnose(steady, tmp_path)
    assert found.evidence.missing == ()
    assert [vcpu.power for vcpu in found.evidence.vcpus] == ["on", "on"]
    assert {finding.rule for finding in found.findings} <= {"idle", "interrupts-masked"}
    outermost = {
        vcpu.functions[-1] for vcpu in found.evidence.vcpus if vcpu.functions
    }  # else: not in the kernel
    assert outermost
    assert outermost <= _OUTERMOST
    assert steady.exec("echo on").text == "on"
    assert steady.status().state is State.RUNNING


def test_a_guest_that_sleeps(boot: Boot, tmp_path: Path) -> None:
    session = boot("qemu-virt", cpus=2)
    session.suspend()
    found = _diagnose(session, tmp_path)
    assert found.evidence.missing == ()
    assert found.findings[0].rule == "suspended"
    assert "may wake it, if it raises its interrupt: pl031@9010000" in found.findings[0].what
    assert [vcpu.power for vcpu in found.evidence.vcpus] == ["suspended", "off"]
    functions = found.evidence.vcpus[0].functions
    assert functions[0] == "__arm_smccc_hvc"
    assert {"psci_system_suspend", "pm_suspend", "el0t_64_sync"} <= set(functions)
    assert "  psci_system_suspend+0x" in _summary(found)
    assert "psci: CPU1 killed" in found.evidence.kernel_log[-1]
    assert not any("psci: CPU1 killed" in line for line in found.evidence.console)
    assert session.status().state is State.SUSPENDED
    session.resume()
    assert session.exec("echo on").text == "on"


def test_a_guest_that_only_the_command_wakes(boot: Boot, tmp_path: Path) -> None:
    session = boot("qemu-virt", wake="command")
    session.suspend()
    assert "only hil-agent resume wakes it" in _diagnose(session, tmp_path).findings[0].what


def test_a_guest_that_panics(boot: Boot, tmp_path: Path) -> None:
    session = boot("qemu-virt")
    with pytest.raises(GuestError):
        session.exec("echo c > /proc/sysrq-trigger")
    session.wait(State.CRASHED, timeout_s=_SOON_S)
    found = _diagnose(session, tmp_path)
    assert found.evidence.missing == ()
    assert found.findings[0].rule == "panic"
    assert "Kernel panic - not syncing: sysrq triggered crash" in found.findings[0].what
    assert any("sysrq: Trigger a crash" in line for line in found.evidence.kernel_log)
    assert {"panic", "__handle_sysrq", "ksys_write"} <= set(found.evidence.vcpus[0].functions)


def test_a_guest_that_hangs_at_its_resume(boot: Boot, tmp_path: Path) -> None:
    session = boot("qemu-virt")
    context = session.suspend()
    session.set_context(entry_point=0x40000000)  # a device tree is no code
    session.resume()
    found = _diagnose(session, tmp_path)
    assert found.evidence.missing == ()
    elsewhere, loop = found.findings[:2]
    assert (elsewhere.rule, loop.rule) == ("resumed-elsewhere", "exception-loop")
    assert f"resumed at 0x40000000, though it had asked for {context.entry_point}" in elsewhere.what
    assert "cannot be executed, as the MMU is off" in loop.what
    assert "vCPU 0: on, EL1, MMU off, interrupts masked, vectors+0x200" in _summary(found)
    assert any("PM: suspend entry (deep)" in line for line in found.evidence.kernel_log)


def test_a_suspend_that_is_refused(boot: Boot, tmp_path: Path) -> None:
    session = boot("qemu-virt", fault=("kind=return,function=SYSTEM_SUSPEND,code=DENIED",))
    with pytest.raises(GuestError):
        session.suspend()
    found = _diagnose(session, tmp_path)
    assert found.findings[0].rule == "suspend-refused"
    assert "answered DENIED: by the fault" in found.findings[0].what


def test_a_vcpu_that_never_comes(boot: Boot, tmp_path: Path) -> None:
    session = boot("qemu-virt", cpus=2, fault=("kind=lost-power-on",))
    found = _diagnose(session, tmp_path)
    assert "oops" in {finding.rule for finding in found.findings}
    assert any("CPU1: failed to come online" in finding.what for finding in found.findings)


def test_a_guest_that_a_debugger_holds(steady: Session, tmp_path: Path) -> None:
    with Gdb(Path(str(steady.status().gdb))) as gdb:
        pc = gdb.registers(names=["pc"])
        found = _diagnose(steady, tmp_path)
        assert found.findings[0].rule == "held"
        assert (gdb.registers(names=["pc"]), steady.status().state) == (pc, State.STOPPED)
    assert steady.exec("echo on").text == "on"


@pytest.mark.parametrize(("cpus", "read"), [(1, True), (2, False)], ids=["one vCPU", "two vCPUs"])
def test_a_gicv2(boot: Boot, tmp_path: Path, cpus: int, *, read: bool) -> None:
    session = boot("qemu-virt", gic_version=2, cpus=cpus)
    found = _diagnose(session, tmp_path)
    assert ("pl011@9000000" in {each.name for each in found.evidence.interrupts}) is read
    assert any("GICv2" in gap for gap in found.evidence.missing) is not read
    assert session.exec("echo on").text == "on"


def test_a_machine_that_died(boot: Boot, tmp_path: Path) -> None:
    session = boot("qemu-virt")
    _end(session.status().target_pid)
    session.wait(State.CRASHED, timeout_s=_SOON_S)
    found = diagnose(session, tmp_path / "found")
    assert found.findings[0].rule == "machine-lost"
    assert "SIGKILL" in found.findings[0].what
    assert {gap.partition(":")[0] for gap in found.evidence.missing} == {
        "what only gdb can tell",
        "memory.core",
    }


def test_a_session_that_died(boot: Boot, tmp_path: Path) -> None:
    session = boot("qemu-virt")
    calls = len(session.trace())
    _end(session.status().pid)
    found = _diagnose(session, tmp_path)
    assert found.findings[0].rule == "machine-lost"
    assert len(found.evidence.calls) == calls
    assert "linux-minimal ready" in _summary(found)


def test_a_host_without_gdb(steady: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = diagnose(steady, tmp_path / "found")
    (gap,) = found.evidence.missing
    assert "gdb-multiarch" in gap
    assert "apt-get install" in gap
    assert {"memory.core", "console.log", "calls.txt"} <= found.files.keys()


def test_return_addresses_that_are_signed(boot: Boot, tmp_path: Path) -> None:
    session = boot("qemu-virt", cpu="max")
    session.suspend()
    found = _diagnose(session, tmp_path)
    assert {"psci_system_suspend", "pm_suspend", "el0t_64_sync"} <= set(found.evidence.vcpus[0].functions)


# ------------------------------------------------------------------------------- the folder


def test_the_folder_is_for_this_user_only(steady: Session, tmp_path: Path) -> None:
    found = diagnose(steady, tmp_path / "found")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in found.folder.iterdir()}
    assert stat.S_IMODE(found.folder.stat().st_mode) == 0o700
    assert set(modes.values()) == {0o600}
    assert modes.keys() == {"summary.md", *found.files}
    assert (found.folder / "memory.core").stat().st_size > 256 << 20


def test_a_folder_that_exists_is_left_alone(
    steady: Session, hil_agent_command: CommandLine, tmp_path: Path
) -> None:
    done = hil_agent_command("diagnose", steady.name, "--output", tmp_path)
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
    assert "File exists" in done.stderr


def test_the_command_says_where_to_look(
    steady: Session, hil_agent_command: CommandLine, tmp_path: Path
) -> None:
    done = hil_agent_command("diagnose", steady.name, "--output", tmp_path / "found", "--no-core")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{steady.name}: see {tmp_path}/found/summary.md\n" in done.stdout


def test_the_command_prints_one_document(
    steady: Session, hil_agent_command: CommandLine, tmp_path: Path
) -> None:
    done = hil_agent_command("diagnose", steady.name, "--output", tmp_path / "found", "--no-core", "--json")
    document: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode, document["state"], document["name"]) == (0, "running", steady.name)
    assert document["missing"] == []
    assert set(document["files"]) == {path.name for path in (tmp_path / "found").iterdir()}
    assert "memory.core" not in document["files"]


def test_a_session_that_there_is_not(hil_agent_command: CommandLine, tmp_path: Path) -> None:
    done = hil_agent_command("diagnose", "nobody", "--output", tmp_path / "found")
    assert (done.returncode, (tmp_path / "found").exists()) == (4, False)

"""gdb attached to a session: the guest is debugged as if there were no agent, and calls are answered."""

from __future__ import annotations

import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from hil_agent.debug import Access, Gdb, GdbError, StopReason
from hil_agent.errors import GuestError, StateError
from hil_agent.session import Session, State

pytestmark = pytest.mark.e2e

Boot = Callable[..., Session]

NO_KASLR = "nokaslr"
SOON_S = 20
HVC = 0xD4000002
NOT_SUPPORTED = 2**64 - 1


def attach(session: Session) -> Gdb:
    path = session.status().gdb
    assert path is not None
    return Gdb(Path(path))


def entry_point_of(session: Session) -> int:
    """Where this kernel resumes."""
    entry_point = int(session.suspend().entry_point, 16)
    session.resume()
    session.settle()
    return entry_point


def stop_in_kernel(gdb: Gdb) -> None:
    """Lets the guest go on while it is in user space, where the kernel's memory is not mapped."""
    while gdb.registers(1, ["cpsr"])["cpsr"] & 0xC == 0:
        gdb.go()
        gdb.interrupt()
        gdb.wait_stop(SOON_S)


def word_at(gdb: Gdb, address: int) -> int:
    return int.from_bytes(gdb.read_memory(address, 4), "little")


@pytest.fixture(scope="module")
def session(boot_shared: Boot) -> Session:
    return boot_shared(append=NO_KASLR)


@pytest.fixture(scope="module")
def two_vcpus(boot_shared: Boot) -> Session:
    return boot_shared(cpus=2, append=NO_KASLR)


@pytest.fixture(scope="module")
def entry_point(session: Session) -> int:
    return entry_point_of(session)


@pytest.fixture(scope="module")
def hvc_site(session: Session) -> int:
    """Virtual address of the instruction that the kernel calls SYSTEM_SUSPEND with."""
    session.suspend()
    with attach(session) as gdb:
        site = gdb.registers(1, ["pc"])["pc"] - 4
    session.resume()
    session.settle()
    return site


@pytest.fixture
def gdb(session: Session) -> Iterator[Gdb]:
    """gdb, attached to the running guest, which stands, in its kernel."""
    with attach(session) as gdb:
        stop_in_kernel(gdb)
        yield gdb


def is_alive(session: Session) -> bool:
    return session.exec("echo alive", timeout_s=SOON_S).text == "alive"


# ---------------------------------------------------------------------------- attaching


def test_the_socket_is_its_owners_alone(session: Session) -> None:
    assert stat.S_IMODE(Path(session.status().gdb or "").stat().st_mode) == 0o600


def test_attaching_stops_the_guest(session: Session, gdb: Gdb) -> None:
    assert session.status().state is State.STOPPED


def test_a_stopped_guest_runs_no_commands_and_says_why(session: Session, gdb: Gdb) -> None:
    with pytest.raises(StateError, match="stopped"):
        session.exec("true")


def test_after_detaching_it_goes_on(session: Session) -> None:
    with attach(session):
        pass
    assert (session.status().state, is_alive(session)) == (State.RUNNING, True)


def test_it_goes_on_while_gdb_is_attached(session: Session, gdb: Gdb) -> None:
    gdb.go()
    assert is_alive(session)


def test_status_counts_the_debuggers(session: Session, gdb: Gdb) -> None:
    assert session.status().debuggers == 1


def test_a_guest_halted_at_boot_stands_at_its_first_instruction(boot: Boot) -> None:
    session = boot(halt=True)
    with attach(session) as gdb:
        registers = gdb.registers(1, ["pc", "x0", "cpsr"])
        assert gdb.read_memory(registers["pc"] + 0x38, 4) == b"ARM\x64"  # Image header
        assert registers["x0"] == 0x4000_0000
        gdb.go()
        session.wait_ready()
    assert is_alive(session)


def test_tcp_is_served_on_loopback_when_asked_for(boot: Boot) -> None:
    session = boot(gdb_port="0")
    host, _, port = (session.status().gdb_address or "").rpartition(":")
    assert host == "127.0.0.1"
    with Gdb((host, int(port))) as gdb:
        assert gdb.threads()
    assert is_alive(session)


# ----------------------------------------------------------------------------- looking


def test_threads_tell_the_power_of_their_vcpus(two_vcpus: Session) -> None:
    session = two_vcpus
    session.suspend()
    try:
        with attach(session) as gdb:
            said = gdb.console("info threads")
    finally:
        session.resume()
        session.settle()
    assert "(suspended, entry point 0x" in said
    assert "(off)" in said


def test_a_suspended_vcpu_is_seen_behind_its_call(session: Session) -> None:
    session.suspend()
    try:
        with attach(session) as gdb:
            registers = gdb.registers(1, ["pc", "x0", "cpsr"])
            assert word_at(gdb, registers["pc"] - 4) == HVC
            assert registers["x0"] == 0xC400_000E
            assert registers["cpsr"] & 0xF == 0x5  # EL1h
    finally:
        session.resume()
        session.settle()


def test_looking_at_a_vcpu_that_is_off_does_no_harm(two_vcpus: Session) -> None:
    session = two_vcpus
    session.suspend()
    try:
        with attach(session) as gdb:
            assert word_at(gdb, gdb.registers(2, ["pc"])["pc"] - 4) == HVC  # of its CPU_OFF
            assert gdb.registers(2, ["SCTLR_EL1"])["SCTLR_EL1"] & 1
    finally:
        session.resume()
        session.settle()
    assert session.exec("cat /sys/devices/system/cpu/online").text == "0-1"


def test_memory_is_the_kernels_own_for_a_vcpu_that_is_suspended(session: Session, hvc_site: int) -> None:
    with attach(session) as gdb:
        stop_in_kernel(gdb)
        running = gdb.read_memory(hvc_site - 64, 128)
    session.suspend()
    try:
        with attach(session) as gdb:
            assert gdb.read_memory(hvc_site - 64, 128) == running
            with pytest.raises(GdbError):
                gdb.read_memory(0xFFFF_0000_0000_0000 - 4096, 4)
    finally:
        session.resume()
        session.settle()


# ------------------------------------------------------------------- calls are not seen

CALLS = "cat /sys/kernel/debug/psci > /dev/null"
"""Has the kernel ask PSCI_FEATURES a dozen times."""


@contextmanager
def running_in(session: Session, command: str) -> Iterator[Future[str]]:
    """A command that runs in the guest meanwhile; it ends by itself in the end."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit(lambda: session.exec(command, timeout_s=SOON_S).text)


def step_over_calls(gdb: Gdb, site: int, most: int) -> list[tuple[int, int]]:
    """Breaks at each call of whichever vCPU and steps over it: where each step has led, with x0."""
    led: list[tuple[int, int]] = []
    while len(led) < most:
        stop = gdb.wait_stop(SOON_S)
        assert stop.frame is not None
        assert (stop.reason, stop.frame.address) == (StopReason.BREAKPOINT, site)
        gdb.step_instruction()
        gdb.wait_stop(SOON_S)
        registers = gdb.registers(stop.thread, ["pc", "x0"])
        led.append((registers["pc"], registers["x0"]))
        gdb.go()
    return led


def test_a_step_over_a_call_ends_behind_it_with_its_answer(session: Session, hvc_site: int) -> None:
    with attach(session) as gdb:
        point = gdb.break_at(hvc_site)
        gdb.go()
        with running_in(session, CALLS) as done:
            led = step_over_calls(gdb, hvc_site, 4)
            gdb.interrupt()
            gdb.wait_stop(SOON_S)
            gdb.delete(point)
            gdb.go()
            assert done.result() == ""
    assert {pc for pc, _ in led} == {hvc_site + 4}
    assert {x0 for _, x0 in led} <= {0, 2, 0x10001, 0x10002, NOT_SUPPORTED}


def test_nexti_steps_over_a_call_as_well(session: Session, hvc_site: int) -> None:
    with attach(session) as gdb:
        gdb.break_at(hvc_site, temporary=True)
        gdb.go()
        with running_in(session, CALLS) as done:
            stop = gdb.wait_stop(SOON_S)
            gdb.next_instruction()
            gdb.wait_stop(SOON_S)
            assert gdb.registers(stop.thread, ["pc"]) == {"pc": hvc_site + 4}
            gdb.go()
            done.result()


def test_a_call_changes_none_of_the_registers_that_a_debugger_sees(session: Session, hvc_site: int) -> None:
    kept = [f"x{number}" for number in range(1, 31)] + ["sp", "cpsr"]
    with attach(session) as gdb:
        gdb.break_at(hvc_site, temporary=True)
        gdb.go()
        with running_in(session, CALLS) as done:
            stop = gdb.wait_stop(SOON_S)
            before = gdb.registers(stop.thread, kept)
            gdb.step_instruction()
            gdb.wait_stop(SOON_S)
            assert gdb.registers(stop.thread, kept) == before
            gdb.go()
            done.result()


def test_a_step_over_cpu_on_starts_the_other_vcpu(two_vcpus: Session, hvc_site: int) -> None:
    online = "/sys/devices/system/cpu/cpu1/online"
    two_vcpus.exec(f"echo 0 > {online}")
    with attach(two_vcpus) as gdb:
        gdb.break_at(hvc_site, temporary=True)
        gdb.go()
        with running_in(two_vcpus, f"echo 1 > {online}") as done:
            stop = gdb.wait_stop(SOON_S)
            assert gdb.registers(stop.thread, ["x0"]) == {"x0": 0xC400_0003}
            gdb.step_instruction()
            gdb.wait_stop(SOON_S)
            assert gdb.registers(stop.thread, ["pc", "x0"]) == {"pc": hvc_site + 4, "x0": 0}
            gdb.go()
            done.result()
    assert two_vcpus.exec("cat /sys/devices/system/cpu/online").text == "0-1"


def test_a_step_into_suspend_is_over_at_once_and_the_guest_is_suspended(
    session: Session, hvc_site: int
) -> None:
    with attach(session) as gdb:
        gdb.break_at(hvc_site, condition="$x0 == 0xc400000e", temporary=True)
        gdb.go()
        with ThreadPoolExecutor() as pool:
            suspending = pool.submit(session.suspend)
            gdb.wait_stop(SOON_S)
            gdb.step_instruction()
            gdb.wait_stop(SOON_S)
            suspending.result()
            assert gdb.registers(1, ["pc"]) == {"pc": hvc_site + 4}
    session.resume()
    command = session.settle()
    assert command is not None
    assert command.status == 0


# -------------------------------------------------------------------- where it stops


def test_a_breakpoint_at_the_entry_point_is_hit_at_every_resume(session: Session, entry_point: int) -> None:
    with attach(session) as gdb:
        gdb.break_at(entry_point)
        gdb.go()
        for _ in range(20):
            session.suspend()
            session.resume()
            stop = gdb.wait_stop(SOON_S)
            assert (stop.reason, stop.frame and stop.frame.address) == (StopReason.BREAKPOINT, entry_point)
            assert gdb.registers(1, ["SCTLR_EL1"])["SCTLR_EL1"] & 1 == 0
            gdb.go()
            command = session.settle()
            assert command is not None
            assert command.status == 0


def test_breakpoints_survive_a_reset(session: Session, hvc_site: int) -> None:
    with attach(session) as gdb:
        gdb.break_at(hvc_site)
        gdb.go()
        with ThreadPoolExecutor() as pool:
            resetting = pool.submit(session.reset)
            stop = gdb.wait_stop(SOON_S)
            gdb.console("delete")
            gdb.go()
            resetting.result()
    assert stop.reason is StopReason.BREAKPOINT


def test_a_watchpoint_sees_a_write_over_a_suspend(session: Session) -> None:
    with attach(session) as gdb:
        stop_in_kernel(gdb)
        sp = gdb.registers(1, ["SP_EL0"])["SP_EL0"]  # Linux keeps the current task there
        gdb.watch(f"*(unsigned long *) {sp:#x}", access=Access.WRITE)
        gdb.go()
        with ThreadPoolExecutor() as pool:
            suspending = pool.submit(session.suspend)
            stop = gdb.wait_stop(SOON_S)
            gdb.console("delete")
            gdb.go()
            suspending.result()
        session.resume()
    assert stop.reason is StopReason.WATCHPOINT
    assert session.settle() is not None


def test_our_own_breakpoints_are_in_no_list_and_in_no_memory(gdb: Gdb, hvc_site: int) -> None:
    assert "No breakpoints" in gdb.console("info breakpoints")
    assert word_at(gdb, hvc_site) == HVC
    gdb.console("maintenance packet Qqemu.PhyMemMode:1")
    nop = 0xD503_201F
    assert nop in {word_at(gdb, 0x0400_0000 + offset) for offset in range(0, 0x3000, 4096)}


# ------------------------------------------------------------------------------ writing


def test_a_system_register_is_really_written(session: Session, gdb: Gdb) -> None:
    gdb.console("thread 1")
    gdb.evaluate("$CONTEXTIDR_EL1 = 0x1234")
    assert gdb.registers(1, ["CONTEXTIDR_EL1"]) == {"CONTEXTIDR_EL1": 0x1234}


def test_a_vector_register_is_written(session: Session, gdb: Gdb) -> None:
    gdb.console("thread 1")
    before = gdb.console("output/x $v7.d.u[1]")
    gdb.console("set $v7.d.u[1] = 0x4711")
    gdb.console("maintenance flush register-cache")
    assert gdb.console("output/x $v7.d.u[1]") == "0x4711"
    gdb.console(f"set $v7.d.u[1] = {before}")


def test_what_cannot_be_written_is_an_error(session: Session, gdb: Gdb) -> None:
    with pytest.raises(GdbError, match="ID_AA64DFR0_EL1 cannot be written"):
        gdb.evaluate("$ID_AA64DFR0_EL1 = 1")


def test_a_system_register_of_a_suspended_vcpu_is_written_and_it_resumes(session: Session) -> None:
    session.suspend()
    with attach(session) as gdb:
        gdb.console("thread 1")
        gdb.evaluate("$TPIDRRO_EL0 = 0x77")
        assert gdb.registers(1, ["TPIDRRO_EL0"]) == {"TPIDRRO_EL0": 0x77}
    session.resume()
    command = session.settle()
    assert command is not None
    assert command.status == 0


def test_the_pc_of_a_vcpu_in_its_call_cannot_be_written(session: Session) -> None:
    session.suspend()
    try:
        with attach(session) as gdb, pytest.raises(GdbError, match="while it is in its call"):
            gdb.evaluate("$pc = 0x1000")
    finally:
        session.resume()
        session.settle()


def test_memory_is_written(session: Session, gdb: Gdb) -> None:
    sp = gdb.registers(1, ["sp"])["sp"]
    before = gdb.read_memory(sp - 64, 8)
    gdb.write_memory(sp - 64, b"}#$*\0abc")
    assert gdb.read_memory(sp - 64, 8) == b"}#$*\0abc"
    gdb.write_memory(sp - 64, before)


# ------------------------------------------------------------------------- many at once


def test_two_debuggers_see_the_same_stop(session: Session, entry_point: int) -> None:
    with attach(session) as first:
        first.break_at(entry_point)
        first.go()
        with attach(session) as second:  # which stops it, for both
            first.wait_stop(SOON_S)
            first.go()
            second.go()
            session.suspend()
            session.resume()
            addresses = {each.wait_stop(SOON_S).frame for each in (first, second)}
            assert {frame.address for frame in addresses if frame} == {entry_point}
            second.go()
            assert session.settle() is not None
            first.go()


def test_a_breakpoint_goes_with_the_debugger_that_has_set_it(session: Session, entry_point: int) -> None:
    with attach(session) as first:
        with attach(session) as second:
            second.break_at(entry_point)
        first.go()
        session.suspend()
        session.resume()
        assert session.settle() is not None


def test_the_interrupt_of_one_stops_for_all(session: Session) -> None:
    with attach(session) as first, attach(session) as second:
        first.go()
        second.go()
        first.interrupt()
        assert {first.wait_stop(SOON_S).reason, second.wait_stop(SOON_S).reason} == {StopReason.SIGNAL}


def test_a_debugger_that_is_killed_at_a_breakpoint_harms_nobody(session: Session, hvc_site: int) -> None:
    with attach(session) as gdb:
        gdb.break_at(hvc_site)
        gdb.go()
        with running_in(session, CALLS) as done:
            gdb.wait_stop(SOON_S)
            os.kill(gdb.pid, signal.SIGKILL)
            assert done.result() == ""
    session.wait(State.RUNNING, timeout_s=SOON_S)
    assert session.status().debuggers == 0


def test_a_client_that_connects_and_says_nothing_does_not_keep_the_guest_stopped(session: Session) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(session.status().gdb or "")
        with attach(session):
            assert session.status().state is State.STOPPED
        assert is_alive(session)


def test_ten_cycles_with_an_idle_debugger(session: Session) -> None:
    with attach(session) as gdb:
        gdb.go()
        for _ in range(10):
            session.suspend()
            session.resume()
            command = session.settle()
            assert command is not None
            assert command.status == 0


# ------------------------------------------------------------------- monitor commands


def test_a_call_is_caught_before_it_is_answered(session: Session, hvc_site: int) -> None:
    with attach(session) as gdb:
        gdb.console("monitor break psci SYSTEM_SUSPEND")
        gdb.go()
        with ThreadPoolExecutor() as pool:
            suspending = pool.submit(session.suspend)
            gdb.wait_stop(SOON_S)
            assert "SYSTEM_SUSPEND(" in gdb.console("monitor call")
            assert gdb.registers(1, ["pc"]) == {"pc": hvc_site}
            assert session.status().context is None
            gdb.go()
            suspending.result()
        session.resume()
    assert session.settle() is not None


def test_the_answer_to_a_caught_call_is_worked_out_from_the_registers_as_they_are_then(
    session: Session,
) -> None:
    with attach(session) as gdb:
        gdb.console("monitor break psci SYSTEM_SUSPEND")
        gdb.go()
        with ThreadPoolExecutor() as pool:
            suspending = pool.submit(session.suspend)
            gdb.wait_stop(SOON_S)
            gdb.evaluate("$x2 = 0x4711")
            gdb.go()
            assert suspending.result().context_id == "0x4711"
        session.set_context(context_id=0)
        session.resume()
    assert session.settle() is not None


def test_monitor_resume_leads_to_the_entry_point(session: Session, entry_point: int) -> None:
    session.suspend()
    with attach(session) as gdb:
        assert "resumed" in gdb.console("monitor resume")
        gdb.console("maintenance flush register-cache")
        assert gdb.registers(1, ["pc"]) == {"pc": entry_point}
        gdb.go()
        assert session.settle() is not None


def test_monitor_reset_stands_before_the_first_instruction(boot: Boot) -> None:
    session = boot()
    with attach(session) as gdb:
        gdb.console("monitor reset")
        gdb.console("maintenance flush register-cache")
        assert gdb.read_memory(gdb.registers(1, ["pc"])["pc"] + 0x38, 4) == b"ARM\x64"
        gdb.go()
        session.wait_ready(timeout_s=60)
    assert is_alive(session)


def test_monitor_sysreg_is_about_the_selected_vcpu(two_vcpus: Session) -> None:
    with attach(two_vcpus) as gdb:
        gdb.console("thread 2")
        assert gdb.console("monitor sysreg TPIDR_EL1").startswith("vCPU 1:")
        said = gdb.console("monitor sysreg tpidr_el1")
        assert gdb.registers(2, ["TPIDR_EL1"]) == {"TPIDR_EL1": int(said.split("=")[1], 16)}


def test_monitor_fault_has_the_next_suspend_refused(session: Session) -> None:
    with attach(session) as gdb:
        gdb.console("monitor fault kind=return,function=SYSTEM_SUSPEND,code=DENIED")
        gdb.go()
        with pytest.raises(GuestError, match="DENIED"):
            session.suspend()
        gdb.interrupt()
        gdb.wait_stop(SOON_S)
        assert "no faults" in gdb.console("monitor fault clear")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "no monitor command"),
        ("sysreg", "NAME"),
        ("sysreg x0; drop", "no system register"),
        ("break psci NOPE", "no function"),
        ("resume", "not suspended"),
        ("trace -1", "no number"),
        ("help '", "quotation"),
    ],
)
def test_a_wrong_monitor_command_says_what_is_wrong(gdb: Gdb, line: str, said: str) -> None:
    assert said in gdb.console(f"monitor {line}").lower() + gdb.console(f"monitor {line}")


def test_our_code_is_seen_only_when_asked_for(session: Session, hvc_site: int) -> None:
    session.suspend()
    try:
        with attach(session) as gdb:
            gdb.console("monitor el2 on")
            gdb.console("maintenance flush register-cache")
            assert gdb.registers(1, ["pc"])["pc"] < 1 << 32  # at a physical address
    finally:
        session.resume()
        session.settle()


# ------------------------------------------------- calls caught where the guest makes them


@pytest.fixture(scope="module")
def without_el2(boot_shared: Boot) -> Session:
    return boot_shared(append=NO_KASLR, trap="hvc-site")


def test_without_el2_a_breakpoint_at_a_call_is_told_and_the_call_is_stepped_over(
    without_el2: Session, hvc_site: int
) -> None:
    with attach(without_el2) as gdb:
        point = gdb.break_at(hvc_site)
        gdb.go()
        with running_in(without_el2, CALLS) as done:
            led = step_over_calls(gdb, hvc_site, 4)
            gdb.interrupt()
            gdb.wait_stop(SOON_S)
            gdb.delete(point)
            gdb.go()
            assert done.result() == ""
    assert {pc for pc, _ in led} == {hvc_site + 4}
    assert NOT_SUPPORTED in {x0 for _, x0 in led} or 0 in {x0 for _, x0 in led}


def test_without_el2_a_suspended_vcpu_is_seen_behind_its_call(without_el2: Session) -> None:
    without_el2.suspend()
    with attach(without_el2) as gdb:
        assert word_at(gdb, gdb.registers(1, ["pc"])["pc"] - 4) == HVC
    without_el2.resume()
    command = without_el2.settle()
    assert command is not None
    assert command.status == 0


# ------------------------------------------------------------------------------ the end


def test_a_guest_that_switches_itself_off_ends_the_debugging(boot: Boot) -> None:
    session = boot()
    with attach(session) as gdb:
        gdb.go()
        with pytest.raises(GuestError, match="off"):
            session.exec("poweroff -f", timeout_s=SOON_S)
        assert gdb.wait_stop(SOON_S).reason.over


def test_a_machine_that_dies_ends_the_debugging(boot: Boot) -> None:
    session = boot()
    pid = session.status().target_pid
    assert pid is not None
    with attach(session) as gdb:
        gdb.go()
        os.kill(pid, signal.SIGKILL)
        assert gdb.wait_stop(SOON_S).reason.over

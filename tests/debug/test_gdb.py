"""A real gdb under program control, attached to QEMU's stub and to none that is well."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from hil_agent.debug import Access, Gdb, GdbError, StopReason
from hil_agent.errors import HostError, LinkError, StateError, TargetError, TargetTimeout, UsageError

_GUEST = """
        .globl  _start
_start: adrp    x9, stack
        mov     sp, x9
        mov     x29, xzr
        mov     x30, xzr
loop:   mov     x0, #1
        bl      outer
        adr     x9, counter
        ldr     x10, [x9]
        add     x10, x10, #1
        str     x10, [x9]
        b       loop

        .type   outer, %function
outer:  stp     x29, x30, [sp, #-16]!
        mov     x29, sp
        bl      inner
        ldp     x29, x30, [sp], #16
        ret

        .type   inner, %function
inner:  stp     x29, x30, [sp, #-16]!
        mov     x29, sp
        add     x0, x0, #41
        nop
        ldp     x29, x30, [sp], #16
        ret

        .balign 8
counter: .quad  0
        .balign 4096
        .space  4096
stack:
"""
_BASE = 0x40080000
_BEHIND = "*inner + 12"
"""Behind the addition in ``inner``."""


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare-metal guest that calls functions and counts, for ever."""
    folder = tmp_path_factory.mktemp("guest")
    (folder / "guest.S").write_text(_GUEST)
    assembler, linker = "aarch64-linux-gnu-as", "aarch64-linux-gnu-ld"
    subprocess.run([assembler, "-o", folder / "guest.o", folder / "guest.S"], check=True)
    subprocess.run([linker, f"-Ttext={_BASE:#x}", "-o", folder / "guest.elf", folder / "guest.o"], check=True)
    return folder / "guest.elf"


@pytest.fixture
def stub(guest: Path) -> Iterator[Path]:
    """The stub of a QEMU with two vCPUs, stopped before the guest's first instruction."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gdb-")))
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(folder / "gdb"))
        listener.listen()
        qemu = subprocess.Popen(
            [
                "qemu-system-aarch64",
                *("-machine", "virt", "-cpu", "cortex-a57", "-smp", "2", "-S", "-nodefaults"),
                *("-display", "none", "-kernel", guest),
                *("-chardev", f"socket,id=stub,fd={listener.fileno()},server=on,wait=off"),
                *("-gdb", "chardev:stub"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
        )
        stack.callback(qemu.wait)
        stack.callback(qemu.kill)
        yield folder / "gdb"


@pytest.fixture
def gdb(stub: Path, guest: Path) -> Iterator[Gdb]:
    """A gdb that has attached and knows the guest's symbols."""
    with Gdb(stub, commands=[f"file {guest}"]) as gdb:
        yield gdb


@pytest.fixture
def mute() -> Iterator[Path]:
    """A stub that takes a connection and never says anything."""
    with TemporaryDirectory(prefix="gdb-") as folder, socket.socket(socket.AF_UNIX) as listener:
        path = Path(folder) / "gdb"
        listener.bind(str(path))
        listener.listen()
        yield path


@pytest.fixture
def gdbserver() -> Iterator[tuple[str, int]]:
    """Where a gdbserver listens that holds a process of this host at its first instruction."""
    server = subprocess.Popen(
        ["gdbserver", "--once", "127.0.0.1:0", "/bin/true"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stderr is not None
        port = next(int(line.split()[-1]) for line in server.stderr if line.startswith("Listening on port"))
        yield "127.0.0.1", port
    finally:
        server.kill()
        server.communicate()


def _run_to(gdb: Gdb, place: str) -> None:
    gdb.break_at(place, temporary=True)
    gdb.go()
    gdb.wait_stop()


# ----------------------------------------------------------------------------- where it stops


@pytest.mark.parametrize("hardware", [False, True], ids=["software", "hardware"])
def test_a_breakpoint_is_hit(gdb: Gdb, *, hardware: bool) -> None:
    point = gdb.break_at("inner", hardware=hardware)
    gdb.go()
    stop = gdb.wait_stop()
    assert (stop.reason, stop.breakpoint, point.hardware) == (StopReason.BREAKPOINT, point.number, hardware)
    assert stop.frame is not None
    assert stop.frame.function == "inner"


def test_a_breakpoint_can_be_an_address(gdb: Gdb) -> None:
    address = int(gdb.evaluate("(long)&inner + 12"))
    gdb.break_at(address)
    gdb.go()
    frame = gdb.wait_stop().frame
    assert frame is not None
    assert frame.address == address


def test_a_breakpoint_stops_where_its_condition_holds(gdb: Gdb) -> None:
    gdb.break_at(_BEHIND, condition="*(long *)&counter == 3")
    gdb.go()
    gdb.wait_stop()
    assert int(gdb.evaluate("*(long *)&counter")) == 3


def test_a_temporary_breakpoint_goes(gdb: Gdb) -> None:
    point = gdb.break_at("inner", temporary=True)
    gdb.go()
    gdb.wait_stop()
    with pytest.raises(GdbError, match="No breakpoint number"):
        gdb.console(f"condition {point.number} 1")


def test_a_deleted_breakpoint_is_not_hit(gdb: Gdb) -> None:
    gdb.delete(gdb.break_at("inner"))
    gdb.break_at("outer")
    gdb.go()
    gdb.wait_stop()
    gdb.go()
    frame = gdb.wait_stop().frame
    assert frame is not None
    assert frame.function == "outer"


def test_a_watchpoint_tells_what_was_and_what_is(gdb: Gdb) -> None:
    point = gdb.watch("*(long *)&counter")
    gdb.go()
    stop = gdb.wait_stop()
    assert (stop.reason, stop.breakpoint, stop.old, stop.new) == (
        StopReason.WATCHPOINT,
        point.number,
        "0",
        "1",
    )


def test_a_watchpoint_can_wait_for_a_read(gdb: Gdb) -> None:
    gdb.watch("*(long *)&counter", access=Access.READ)
    gdb.go()
    assert gdb.wait_stop().reason is StopReason.READ_WATCHPOINT


# ------------------------------------------------------------------------------------ running


def test_what_runs_can_be_interrupted(gdb: Gdb) -> None:
    gdb.go()
    gdb.interrupt()
    stop = gdb.wait_stop()
    assert (stop.reason, stop.signal) == (StopReason.SIGNAL, "SIGINT")


def test_what_runs_already_cannot_be_let_go(gdb: Gdb) -> None:
    gdb.go()
    with pytest.raises(StateError, match="runs already"):
        gdb.go()


def test_a_wait_ends_and_can_be_repeated(gdb: Gdb) -> None:
    gdb.go()
    with pytest.raises(TargetTimeout, match="did not stop"):
        gdb.wait_stop(0.05)
    gdb.interrupt()
    assert gdb.wait_stop().reason is StopReason.SIGNAL


def test_a_stop_that_comes_between_answers_is_not_lost(gdb: Gdb) -> None:
    point = gdb.break_at("inner")
    gdb.go()
    while gdb.running:
        gdb.evaluate("1")
    assert gdb.wait_stop(0).breakpoint == point.number


def test_a_stop_from_before_is_not_taken_for_the_next_one(gdb: Gdb) -> None:
    gdb.break_at("inner")
    gdb.go()
    while gdb.running:
        gdb.evaluate("1")
    second = gdb.break_at("outer")
    gdb.go()
    assert gdb.wait_stop().breakpoint == second.number


def test_a_step_executes_one_instruction(gdb: Gdb) -> None:
    _run_to(gdb, _BEHIND)
    before = gdb.registers(names=["pc"])["pc"]
    gdb.step_instruction()
    assert gdb.wait_stop().reason is StopReason.STEPPED
    assert gdb.registers(names=["pc"])["pc"] == before + 4


def test_next_steps_over_a_call(gdb: Gdb) -> None:
    _run_to(gdb, "*outer + 8")
    gdb.next_instruction()
    gdb.wait_stop()
    assert gdb.registers(names=["pc", "x0"]) == {"pc": int(gdb.evaluate("&outer")) + 12, "x0": 42}


def test_finish_runs_to_the_caller(gdb: Gdb) -> None:
    _run_to(gdb, _BEHIND)
    gdb.finish()
    frame = gdb.wait_stop().frame
    assert frame is not None
    assert frame.address == int(gdb.evaluate("(long)&outer + 12"))


# ------------------------------------------------------------------------------------ looking


def test_a_backtrace_has_every_caller(gdb: Gdb) -> None:
    _run_to(gdb, _BEHIND)
    assert [frame.function for frame in gdb.backtrace()] == ["inner", "outer", "loop"]
    assert [frame.level for frame in gdb.backtrace(limit=2)] == [0, 1]


def test_every_vcpu_is_a_thread(gdb: Gdb) -> None:
    first, second = gdb.threads()
    assert (first.number, second.number, first.running) == (1, 2, False)
    assert "CPU#1" in second.details


def test_another_thread_can_be_looked_at(gdb: Gdb) -> None:
    _run_to(gdb, _BEHIND)
    assert gdb.registers(2, ["pc"]) != gdb.registers(1, ["pc"])
    assert gdb.registers(1, ["pc"]) == gdb.registers(names=["pc"])  # the selected one is still the first


def test_system_registers_are_registers(gdb: Gdb) -> None:
    registers = gdb.registers()
    assert registers["CNTFRQ_EL0"] == 62_500_000
    assert registers["pc"] == _BASE


def test_a_register_that_there_is_not(gdb: Gdb) -> None:
    with pytest.raises(GdbError, match="no register nonsense"):
        gdb.registers(names=["pc", "nonsense"])


def test_expressions_are_typed(gdb: Gdb) -> None:
    assert int(gdb.evaluate("1 + 1")) == 2
    assert int(gdb.evaluate("(long)&counter")) > _BASE
    assert gdb.evaluate("$_").text == "void"


def test_expressions_can_assign(gdb: Gdb) -> None:
    gdb.evaluate("$x5 = 0x1234")
    assert gdb.registers(names=["x5"]) == {"x5": 0x1234}


def test_an_expression_that_is_none_is_refused(gdb: Gdb) -> None:
    with pytest.raises(GdbError, match="No symbol table"):
        gdb.evaluate("nonsense")


def test_memory_is_written_and_read(gdb: Gdb) -> None:
    data = os.urandom(70_000)
    gdb.write_memory(_BASE + 0x100000, data)
    assert gdb.read_memory(_BASE + 0x100000, len(data)) == data


def test_memory_that_is_not_there(gdb: Gdb) -> None:
    with pytest.raises(GdbError):
        gdb.read_memory(0xFFFF_0000_0000_0000, 16)


def test_a_command_s_output_is_returned(gdb: Gdb) -> None:
    assert gdb.console("print 6 * 7") == "$1 = 42\n"


def test_a_monitor_command_s_output_is_returned(gdb: Gdb) -> None:
    assert "CPU #1" in gdb.console("monitor info cpus")


def test_a_command_cannot_bring_another(gdb: Gdb) -> None:
    with pytest.raises(UsageError, match="one line"):
        gdb.console("print 1\n-gdb-exit")


def test_a_command_that_is_too_long(gdb: Gdb) -> None:
    with pytest.raises(UsageError, match="too long"):
        gdb.console("print " + "1" * 5000)


# ------------------------------------------------------------------------- coming and leaving


def test_detaching_takes_breakpoints_away_and_lets_the_target_go(stub: Path, guest: Path) -> None:
    with Gdb(stub, commands=[f"file {guest}"]) as first:
        first.break_at("inner")
        before = int(first.evaluate("*(long *)&counter"))
    with Gdb(stub, commands=[f"file {guest}"]) as second:
        second.break_at("inner", condition=f"*(long *)&counter > {before + 3}")
        second.go()
        assert second.wait_stop().reason is StopReason.BREAKPOINT


def test_what_runs_is_detached_from_too(stub: Path) -> None:
    with Gdb(stub) as first:
        first.go()
    with Gdb(stub) as second:
        assert second.registers(names=["pc"])


def test_it_is_ended_with_its_block(stub: Path) -> None:
    with Gdb(stub) as gdb:
        process = os.pidfd_open(gdb.pid)
    with pytest.raises(ProcessLookupError):
        signal.pidfd_send_signal(process, 0)
    os.close(process)


def test_a_stub_can_be_a_host_and_a_port(gdbserver: tuple[str, int]) -> None:
    with Gdb(gdbserver) as gdb:
        assert [thread.number for thread in gdb.threads()] == [1]


def test_a_process_that_ends_is_over(gdbserver: tuple[str, int], caplog: pytest.LogCaptureFixture) -> None:
    with Gdb(gdbserver) as gdb:
        gdb.go()
        assert gdb.wait_stop().reason is StopReason.EXITED_NORMALLY
    assert not caplog.records  # there was nothing to detach from


def test_a_stub_that_says_nothing_keeps_nobody(mute: Path) -> None:
    with pytest.raises(TargetTimeout, match="did not answer -target-select"):
        Gdb(mute, timeout_s=0.5).__enter__()


def test_no_stub_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GdbError, match="No such file or directory"):
        Gdb(tmp_path / "gone").__enter__()


def test_a_gdb_that_dies_is_an_error_and_no_wait(gdb: Gdb) -> None:
    gdb.go()
    os.kill(gdb.pid, signal.SIGKILL)
    with pytest.raises(LinkError, match="gdb ended with status -9"):
        gdb.wait_stop()
    with pytest.raises(LinkError):
        gdb.evaluate("1")


def test_a_gdb_that_dies_of_itself_tells_of_what(gdb: Gdb) -> None:
    with pytest.raises(LinkError, match="internal-error: enough"):
        gdb.console("maintenance internal-error enough")


def test_a_gdb_that_stands_still_is_ended(stub: Path) -> None:
    with Gdb(stub, timeout_s=5) as gdb:
        os.kill(gdb.pid, signal.SIGSTOP)
        with pytest.raises(TargetTimeout, match="was ended"):
            gdb.console("print 1", timeout_s=0.2)
        with pytest.raises(TargetError):
            gdb.evaluate("1")


def test_a_missing_gdb_names_its_package(mute: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HostError, match="gdb-multiarch") as caught:
        Gdb(mute)
    assert "apt-get install" in str(caught.value.hint)

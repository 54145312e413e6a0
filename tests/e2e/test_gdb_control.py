"""gdb under program control, on a session's own stub, with the kernel's symbols."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hil_agent.debug import Gdb, StopReason
from hil_agent.debug.kernel import KernelFile
from hil_agent.session import Session
from hil_agent.session.plan import BootPlan

pytestmark = pytest.mark.e2e

Boot = Callable[..., Session]

_CYCLES = 3
_SOON_S = 30


@pytest.fixture(scope="module")
def session(boot_shared: Boot) -> Session:
    return boot_shared("qemu-virt", cpus=2)


@pytest.fixture
def gdb(session: Session) -> Iterator[Gdb]:
    """Attached, with symbols."""
    kernel = KernelFile.of(BootPlan.read(session.folder.plan))
    assert kernel is not None
    commands = kernel.locate(session.read_memory).gdb_commands
    with Gdb(Path(str(session.status().gdb)), commands=commands) as gdb:
        yield gdb


def test_a_function_of_the_kernel_is_broken_at(session: Session, gdb: Gdb) -> None:
    gdb.break_at("__arm64_sys_getuid", temporary=True)
    gdb.go()
    with ThreadPoolExecutor(1) as pool:
        command = pool.submit(session.exec, "id -u")
        stop = gdb.wait_stop(_SOON_S)
        functions = {frame.function for frame in gdb.backtrace(stop.thread)}
        gdb.go()
        assert command.result().text == "0"
    assert stop.reason is StopReason.BREAKPOINT
    assert {"__arm64_sys_getuid", "invoke_syscall", "el0t_64_sync"} <= functions


def test_a_breakpoint_in_cpu_resume_is_hit_at_every_resume(session: Session, gdb: Gdb) -> None:
    gdb.break_at("*cpu_resume", hardware=True)
    gdb.go()
    for _ in range(_CYCLES):
        context = session.suspend()
        session.resume()
        frame = gdb.wait_stop(_SOON_S).frame
        assert frame is not None
        assert (frame.address, frame.function) == (int(context.entry_point, 16), "cpu_resume")
        assert int(gdb.evaluate("$SCTLR_EL1 & 1")) == 0
        gdb.go()
        assert session.exec("echo on").text == "on"

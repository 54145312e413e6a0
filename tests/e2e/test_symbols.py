"""Symbols of Debian's kernel on a bare QEMU: where it is, what gdb makes of it, its addresses, its log."""

from __future__ import annotations

import re
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hil_agent.guest import catalogue, image
from hil_agent.rsp import Client
from hil_agent.symbols.gdb import gdb_script
from hil_agent.symbols.kaslr import virtual_start
from hil_agent.symbols.kernel import KernelSymbols, symbols_for
from hil_agent.symbols.printk import read_log
from hil_agent.symbols.translation import TranslationRegime, translate
from hil_agent.symbols.vmcoreinfo import read_vmcoreinfo

pytestmark = pytest.mark.e2e

LOAD = 0x40200000
"""Where QEMU puts an Image."""

BOOT_TIMEOUT_S = 120


class Console:
    """The guest's console, at the end of a socket that QEMU connects to."""

    def __init__(self, listener: socket.socket) -> None:
        self._connection, _ = listener.accept()
        self._connection.settimeout(BOOT_TIMEOUT_S)
        self._seen = ""

    def wait(self, expected: str) -> str:
        """What came up to ``expected``."""
        while expected not in self._seen:
            self._seen += self._connection.recv(1 << 16).decode(errors="replace").replace("\r", "")
        before, self._seen = self._seen.split(expected, 1)
        return before

    def send(self, command: str) -> None:
        """Types a command."""
        self._connection.sendall(f"{command}\n".encode())

    def run(self, command: str) -> str:
        """What a command prints."""
        self.send(f"{command}; echo EN''D")
        return self.wait("\nEND\n")


class Machine:
    """Debian's kernel on two vCPUs, stopped at reset; its stub is free for one debugger at a time."""

    def __init__(self, stub: Path, console: Console, symbols: KernelSymbols) -> None:
        self.stub, self.console, self.symbols = stub, console, symbols

    def address(self, name: str, start: int) -> int:
        """Where a function is, if the kernel's first byte is at ``start``."""
        linked = self.symbols.table.address(name)
        assert linked is not None
        return linked - self.symbols.linked + start

    def start(self, client: Client) -> int | None:
        """Where the kernel says that it is."""
        assert self.symbols.anchor is not None
        return virtual_start(
            self.symbols.anchor, LOAD, lambda address, size: client.read_memory(address, size, physical=True)
        )

    def gdb(self, start: int | None, *commands: str) -> tuple[str, str]:
        """What gdb prints, and its warnings."""
        script = gdb_script(
            self.symbols.elf, linked=self.symbols.linked, load_address=LOAD, virtual_start=start
        )
        connect = ["set pagination off", f"target remote {self.stub}"]
        arguments = [each for command in (*script, *connect, *commands) for each in ("-ex", command)]
        run = subprocess.run(
            ["gdb-multiarch", "-nx", "-q", "-batch", *arguments],
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=BOOT_TIMEOUT_S,
        )
        return run.stdout, run.stderr


@pytest.fixture
def machine(start_qemu: Callable[..., Path]) -> Iterator[Machine]:
    guest = image.build(catalogue.find("linux-minimal"), lambda *_: None)
    symbols = symbols_for(guest.kernel)
    assert symbols is not None
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/console")
        listener.listen()
        listener.settimeout(BOOT_TIMEOUT_S)
        stub = start_qemu(
            *("-smp", "2", "-m", "512", "-kernel", str(guest.kernel), "-initrd", str(guest.initramfs)),
            *("-append", "console=ttyAMA0 cryptomgr.notests"),
            *("-chardev", f"socket,id=console,path={folder}/console", "-serial", "chardev:console"),
        )
        yield Machine(stub, Console(listener), symbols)


OUTERMOST = re.compile(r"rest_init|__secondary_switched|ret_from_fork|el0t_64_\w+")


def functions(backtrace: str) -> list[str]:
    """The names in a backtrace, from the innermost on."""
    return re.findall(r"^#\d+ .*?([\w.]+) \(\)", backtrace, re.MULTILINE)


def booted(client: Client, machine: Machine) -> int:
    """Lets the guest boot, and stops it; where its kernel is."""
    client.resume()
    machine.console.wait("hil# ")
    client.interrupt()
    client.wait_stop(timeout_s=BOOT_TIMEOUT_S)
    start = machine.start(client)
    assert start is not None
    return start


def test_before_the_kernel_runs_only_its_physical_addresses_are_known(
    machine: Machine, connect: Callable[[Path], Client]
) -> None:
    with connect(machine.stub) as client:
        assert machine.start(client) is None
    output, errors = machine.gdb(None, "break primary_entry", "continue", "info symbol $pc", "backtrace")
    assert re.search(r"Breakpoint 1, 0x000000004\w+ in primary_entry \(\)", output)
    assert "primary_entry in section" in output
    assert functions(output) == ["primary_entry"]
    assert errors == ""


def test_a_running_kernel_is_seen_through(machine: Machine, connect: Callable[[Path], Client]) -> None:
    with connect(machine.stub) as client:
        start = booted(client, machine)
    output, errors = machine.gdb(
        start,
        "hbreak cpu_do_idle",
        "continue",
        "backtrace",
        "delete",
        "hbreak el1h_64_irq_handler",
        "continue",
        "backtrace",
        "info symbol $pc",
    )
    _, idle, interrupted = output.split(" hit Breakpoint ")
    names = functions(idle)
    assert names[:3] == ["cpu_do_idle", "arch_cpu_idle", "default_idle_call"]
    assert OUTERMOST.fullmatch(names[-1])
    assert "<signal handler called>" in interrupted
    assert "el1h_64_irq_handler + 4 in section" in interrupted
    assert functions(interrupted)[0] == "el1h_64_irq_handler"
    assert OUTERMOST.fullmatch(functions(interrupted)[-1])
    assert errors == ""


def test_a_breakpoint_is_hit_with_the_mmu_off_and_on(
    machine: Machine, connect: Callable[[Path], Client]
) -> None:
    with connect(machine.stub) as client:
        start = booted(client, machine)
        machine.console.send("cd /sys/devices/system/cpu/cpu1; echo 0 > online; echo 1 > online")
    output, errors = machine.gdb(
        start,
        "break secondary_entry",
        "continue",
        "backtrace",
        "break secondary_start_kernel",
        "continue",
        "backtrace",
    )
    _, mmu_off, mmu_on = output.split(" hit Breakpoint ")
    assert re.match(r"1\.1, 0x000000004\w+ in secondary_entry \(\)", mmu_off)
    assert re.match(r"2\.2, 0xffff\w+ in secondary_start_kernel \(\)", mmu_on)
    assert functions(mmu_off) == ["secondary_entry"]
    assert functions(mmu_on) == ["secondary_start_kernel", "__secondary_switched"]
    assert errors == ""


def test_addresses_are_translated_as_the_mmu_does(
    machine: Machine, connect: Callable[[Path], Client]
) -> None:
    with connect(machine.stub) as client:
        start = booted(client, machine)
        regime = TranslationRegime(
            *(client.read_register(name) for name in ("SCTLR_EL1", "TCR_EL1", "TTBR0_EL1", "TTBR1_EL1"))
        )
        stack = client.read_register("sp")
        code = [machine.address(name, start) for name in ("cpu_do_idle", "vectors", "start_kernel", "_stext")]
        for address in (*code, stack, stack & -(1 << 39), start - 1, 0, 0x400000, 1 << 55, (1 << 64) - 1):
            answer = client.monitor(f"gva2gpa {address:#x}")
            expected = None if "Unmapped" in answer else int(answer.split()[1], 16)
            ours = translate(
                address, regime, lambda place, size: client.read_memory(place, size, physical=True)
            )
            assert (hex(address), ours) == (hex(address), expected)


def test_the_log_is_what_dmesg_prints(machine: Machine, connect: Callable[[Path], Client]) -> None:
    with connect(machine.stub) as client:
        booted(client, machine)
        client.resume()
        machine.console.run("dmesg -n 1; echo 'one of ours' > /dev/kmsg")
        printed = machine.console.run("dmesg")
        client.interrupt()
        client.wait_stop(timeout_s=BOOT_TIMEOUT_S)
        start = machine.start(client)
        assert start is not None
        info = read_vmcoreinfo(machine.symbols.table, start - machine.symbols.linked, client.read_memory)
        records = read_log(info, client.read_memory)
    lines = [line for record in records for line in str(record).split("\n")]
    expected = [line for line in printed.split("\n") if line.startswith("[")]
    assert lines[: len(expected)] == expected  # behind it, drivers may have had more to say
    assert any(line.endswith("one of ours") for line in expected)

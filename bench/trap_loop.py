"""A machine whose only vCPU does nothing but call PSCI_VERSION, for any debugger to catch its traps.

QEMU's stub serves one debugger after another, and the guest loops on whether or not somebody answers
it. So all ways to deal with a trap are measured on the same QEMU and the same guest, in turns.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hil_agent.board.load import load_board
from hil_agent.board.machine import Machine
from hil_agent.el2 import El2TrapSource
from hil_agent.errors import InternalError
from hil_agent.guest.address import AddressRange
from hil_agent.guest.device_tree import MachineDescription, describe
from hil_agent.guest.kernel import recognise
from hil_agent.guest.layout import Layout, plan_layout
from hil_agent.psci import EntryState, VirtualPsci, get_profile
from hil_agent.psci.entry import PSTATE_DAIF, PSTATE_EL1H
from hil_agent.rsp import Client
from hil_agent.trap.build import ASSEMBLER
from hil_agent.trap.kind import Setting
from hil_agent.trap.monitor import Monitor

_GUEST = Path(__file__).with_name("hvc_loop.S")
_OBJCOPY = "aarch64-linux-gnu-objcopy"
_BOARD = "qemu-virt"
_LOAD_ADDRESS = 0x4020_0000
_TIMEOUT_S = 10.0

WARM_UP = 20
"""Calls at the start of each turn that are not counted: caches are cold after a change of debuggers."""


@dataclass(frozen=True, slots=True)
class TrapLoop:
    """The machine. It stands, or runs, somewhere in the guest's loop.

    Attributes:
        machine: it.
        folder: where its sockets are, and room for other files.
        monitor: the EL2 monitor.
        code: address of its code.
        reserved: the guest's memory that is kept free for it.
        description: what the machine consists of.
    """

    machine: Machine
    folder: Path
    monitor: Monitor
    code: int
    reserved: AddressRange
    description: MachineDescription

    @property
    def trap(self) -> int:
        """Address of the instruction in the EL2 monitor that every call stops at."""
        return self.code + self.monitor.labels["trap"]

    @property
    def stub(self) -> Path:
        """The unix socket of its debug stub."""
        return self.folder / "stub.sock"

    def source(self, client: Client) -> El2TrapSource:
        """What catches its traps for the agent."""
        gic = self.description.gic
        if gic is None:
            raise InternalError("the virt machine has no interrupt controller")
        return El2TrapSource(
            Setting(
                client,
                self.monitor,
                code=self.code,
                reserved=self.reserved,
                gic=gic,
                wake_by_interrupt=False,
                wake_by_timer=False,
            )
        )

    def vpsci(self) -> VirtualPsci:
        """What answers its calls, as on a board where nothing else is said."""
        return VirtualPsci(get_profile(load_board(_BOARD).profile), self.description.cpus, ())


@contextmanager
def trap_loop() -> Iterator[TrapLoop]:
    """Boots the machine of the agent's default board into the loop.

    Raises:
        HostError: this host lacks something.
        TargetError: the machine does not start.
    """
    board, monitor = load_board(_BOARD), Monitor.load()
    with tempfile.TemporaryDirectory(prefix="hil-agent-bench-") as name:
        folder = Path(name)
        kernel = recognise(_assemble(folder), load_address=_LOAD_ADDRESS)
        size = monitor.areas_size(board.cpus) + (0 if board.rom else len(monitor.image))
        layout = plan_layout(board.ram, kernel, monitor_size=size)
        code = board.rom.start if board.rom else layout.monitor.start + monitor.areas_size(board.cpus)
        with board.open(layout.blobs(folder), code + monitor.labels["entry"], folder) as machine:
            with Client(machine.connect_stub()) as client:
                client.handshake()
                loop = TrapLoop(machine, folder, monitor, code, layout.monitor, _describe(client, layout))
                _enter_guest(client, loop, layout)
            yield loop


def _assemble(folder: Path) -> Path:
    """The guest as a flat binary; its code does not depend on its address."""
    unlinked, binary = folder / "guest.o", folder / "guest.bin"
    subprocess.run([ASSEMBLER, "-o", unlinked, _GUEST], check=True)
    subprocess.run([_OBJCOPY, "-O", "binary", "-j", ".text", unlinked, binary], check=True)
    return binary


def _describe(client: Client, layout: Layout) -> MachineDescription:
    return describe(client.read_memory(layout.device_tree.start, layout.device_tree.size))


def _enter_guest(client: Client, loop: TrapLoop, layout: Layout) -> None:
    source = loop.source(client)
    source.arm()
    source.start()
    client.resume()
    client.wait_stop(_TIMEOUT_S)
    source.enter(0, EntryState(layout.entry, 0, PSTATE_EL1H | PSTATE_DAIF, {}))

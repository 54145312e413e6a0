"""The guest's kernel: what it calls its addresses, and its log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hil_agent.errors import GuestError
from hil_agent.guest.kernel import recognise
from hil_agent.guest.layout import plan_layout
from hil_agent.session.plan import BootPlan
from hil_agent.symbols.gdb import gdb_script
from hil_agent.symbols.kaslr import virtual_start
from hil_agent.symbols.kernel import KernelSymbols, symbols_for
from hil_agent.symbols.printk import read_log
from hil_agent.symbols.vmcoreinfo import ReadVirtual, read_vmcoreinfo

_LONGEST: Final = 1 << 16
"""Bytes. What is further behind a symbol is not its own: a stripped kernel does not name its data."""


@dataclass(frozen=True, slots=True)
class KernelFile:
    """A kernel as it was loaded.

    Attributes:
        symbols: its own.
        load_address: physical address of its first byte.
    """

    symbols: KernelSymbols
    load_address: int

    @classmethod
    def of(cls, plan: BootPlan) -> KernelFile | None:
        """The kernel of a boot plan; None if it has no symbols. For a new kernel this takes some seconds.

        Raises:
            FileError: it is not there any more or broken, or its vmlinux is, or is another kernel's.
            HostError: the cache cannot be written.
        """
        guest = plan.guest
        symbols = symbols_for(guest.kernel, guest.symbols, load_address=guest.load_address)
        if symbols is None:
            return None
        kernel = recognise(guest.kernel, load_address=guest.load_address, entry=guest.entry)
        layout = plan_layout(plan.board.ram, kernel, monitor_size=0)
        return cls(symbols, layout.segments[0].address)

    def locate(self, read_physical: Callable[[int, int], bytes]) -> LiveKernel:
        """Finds where it runs; what the reading raises passes through."""
        anchor = self.symbols.anchor
        start = None if anchor is None else virtual_start(anchor, self.load_address, read_physical)
        return LiveKernel(self, start)


@dataclass(frozen=True, slots=True)
class LiveKernel:
    """A kernel as it runs.

    Attributes:
        file: what was loaded.
        start: the virtual address of its first byte; None as long as it has none for good.
    """

    file: KernelFile
    start: int | None

    @property
    def gdb_commands(self) -> list[str]:
        """What gives gdb its symbols."""
        symbols, load_address = self.file.symbols, self.file.load_address
        return gdb_script(
            symbols.elf, linked=symbols.linked, load_address=load_address, virtual_start=self.start
        )

    def log(self, read: ReadVirtual) -> tuple[str, ...]:
        """The kernel's log, a line each; what the reading raises passes through.

        Raises:
            GuestError: it is not there, or not yet.
        """
        symbols = self.file.symbols
        if self.start is None:
            raise GuestError("the kernel does not run at its virtual addresses yet")
        info = read_vmcoreinfo(symbols.table, self.start - symbols.linked, read)
        return tuple(line for record in read_log(info, read) for line in str(record).splitlines())

    def name(self, address: int) -> str | None:
        """An address, virtual or physical, in words: ``cpu_resume+0x12``; None if it is not in the kernel."""
        symbols = self.file.symbols
        for start in (self.start, self.file.load_address):
            if start is not None and (found := symbols.table.describe(address - start + symbols.linked)):
                distance = int(found.partition("+")[2] or "0", 16)
                return found if distance < _LONGEST else None
        return None

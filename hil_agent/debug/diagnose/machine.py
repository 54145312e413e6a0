"""What gdb tells of a machine that stands: its vCPUs, and what lies in its physical memory."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from hil_agent.debug.diagnose.evidence import Vcpu
from hil_agent.debug.diagnose.gaps import Gaps
from hil_agent.debug.diagnose.unwind import walk
from hil_agent.debug.gdb import Gdb
from hil_agent.debug.mi import Frame, GdbError, Thread
from hil_agent.errors import GuestError
from hil_agent.session.documents import Status
from hil_agent.symbols.translation import TranslationRegime, translate

_REGIME: Final = ("SCTLR_EL1", "TCR_EL1", "TTBR0_EL1", "TTBR1_EL1")
_PAGE: Final = 4096
_LARGEST: Final = 16 << 20
"""Bytes that are read at once. How much there is to read, a guest may tell."""

_INSTRUCTION: Final = 4
_SCTLR_M: Final = 1 << 0
_T1SZ: Final = 16
"""Where TCR_EL1 has the size of the kernel's half of the address space."""


Name = Callable[[int], str | None]
"""Says which symbol an address belongs to, and how far into it: ``cpu_resume+0x10``."""


class PhysicalMemory:
    """The machine's memory by physical addresses, and what the guest's kernel calls its own.

    Args:
        gdb: attached to a stub that knows QEMU's ``qqemu.PhyMemMode`` (gdbstub of QEMU since 4.1).
    """

    def __init__(self, gdb: Gdb) -> None:
        self._gdb = gdb
        self._read_table: Callable[[int, int], bytes] = self.read

    @contextmanager
    def reading(self) -> Iterator[PhysicalMemory]:
        """For this block, all of gdb's addresses are physical.

        Raises:
            GdbError: the stub has no such mode.
        """
        self._switch(on=True)
        self._read_table = functools.cache(self.read)  # the machine stands
        try:
            yield self
        finally:
            self._switch(on=False)

    def read(self, address: int, length: int) -> bytes:
        """Bytes at a physical address."""
        return self._gdb.read_memory(address, length)

    def word(self, address: int) -> int:
        """A device's 32-bit register, by one access."""
        return int.from_bytes(self.read(address, 4), "little")

    def read_virtual(self, address: int, length: int, regime: TranslationRegime) -> bytes:
        """Bytes at a virtual address of the kernel's.

        Raises:
            GdbError: nothing is mapped there.
            GuestError: so much is asked for that the guest's own word for it can only be wrong.
        """
        if length > _LARGEST:
            raise GuestError(f"the kernel's memory tells of {length} bytes at {address:#x}, which cannot be")
        data = bytearray()
        while len(data) < length:
            at = address + len(data)
            physical = translate(at, regime, self._read_table)
            if physical is None:
                raise GdbError(f"nothing is mapped at {at:#x}")
            data += self.read(physical, min(length - len(data), _PAGE - at % _PAGE))
        return bytes(data)

    def _switch(self, *, on: bool) -> None:
        answer = self._gdb.console(f"maintenance packet Qqemu.PhyMemMode:{on:d}")
        if '"OK"' not in answer:
            raise GdbError("the stub does not read physical memory")
        self._gdb.console("maintenance flush dcache")


def read_vcpus(gdb: Gdb, memory: PhysicalMemory, status: Status, name: Name, gaps: Gaps) -> tuple[Vcpu, ...]:
    """Every vCPU: its registers, where it is, and how it has come there.

    Args:
        gdb: attached.
        memory: the machine's.
        status: tells the vCPUs' power.
        name: says which symbol an address belongs to.
        gaps: what cannot be had is noted there.
    """
    powers = {each.cpu: each.power for each in status.cpus}
    threads = {_cpu(thread): thread.number for thread in gdb.threads()}
    vcpus = []
    for cpu, thread in sorted(threads.items()):
        with gaps.noting(f"the registers of vCPU {cpu}"):
            vcpus.append(Vcpu(cpu, powers.get(cpu, ""), gdb.registers(thread)))
    with gaps.noting("stacks and code in physical memory"), memory.reading():
        vcpus = [_with_chain(vcpu, memory) for vcpu in vcpus]
    result = []
    for vcpu in vcpus:
        frames = tuple(_frame(level, address, name) for level, address in enumerate(vcpu.chain))
        if vcpu.power != "off":
            with gaps.noting(f"gdb's backtrace of vCPU {vcpu.cpu}"):
                told = tuple(frame for frame in gdb.backtrace(threads[vcpu.cpu]) if frame.address)
                frames = max(told, frames, key=len)
        addresses = {*vcpu.registers.values(), *(frame.address for frame in frames)}
        symbols = {address: symbol for address in addresses if (symbol := name(address))}
        result.append(replace(vcpu, backtrace=frames, symbols=symbols))
    return tuple(result)


def kernel_regime(registers: Mapping[str, int]) -> TranslationRegime | None:
    """How the kernel's addresses are translated, by a vCPU's registers; None if they do not tell."""
    if not all(name in registers for name in _REGIME):
        return None
    regime = TranslationRegime(*(registers[name] for name in _REGIME))
    return regime if regime.sctlr & _SCTLR_M and regime.ttbr1 else None


def _with_chain(vcpu: Vcpu, memory: PhysicalMemory) -> Vcpu:
    """The vCPU with the addresses of its call chain, and the instructions around its PC."""
    registers = vcpu.registers
    if vcpu.power == "off" or vcpu.level != 1 or not all(name in registers for name in _REGIME):
        return vcpu
    regime = TranslationRegime(*(registers[name] for name in _REGIME))

    def read(address: int, length: int) -> bytes:
        return memory.read_virtual(address, length, regime)

    address_bits = 64 - (regime.tcr >> _T1SZ & 0x3F)
    chain = tuple(walk(registers["pc"], registers["x29"], address_bits, read))
    try:
        words = read(registers["pc"] - _INSTRUCTION, 2 * _INSTRUCTION)
    except GdbError:
        return replace(vcpu, chain=chain)
    before, at = (
        int.from_bytes(words[start : start + _INSTRUCTION], "little") for start in (0, _INSTRUCTION)
    )
    return replace(vcpu, chain=chain, code=(before, at))


def _frame(level: int, address: int, name: Name) -> Frame:
    symbol = name(address - _INSTRUCTION if level else address)  # what calls last may be followed by another
    return Frame(level, address, symbol.partition("+")[0] if symbol else None)


def _cpu(thread: Thread) -> int:
    """The vCPU that a thread is: stubs number them from 1, in order."""
    return int(thread.target_id.rpartition(".")[2].rpartition(" ")[2]) - 1

"""The dialogue with the probe, a bare-metal guest that executes what it is told and shows what came of it.

The probe knows nothing of PSCI; ``guest_images/psci-probe/probe.S`` says what it does know.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from hil_agent.conformance.instructions import (
    LOAD32,
    LOAD64,
    STORE32,
    STORE64,
    conduit_call,
    read_register,
    write_register,
)
from hil_agent.errors import GuestError, InternalError, ProtocolError, TargetTimeout
from hil_agent.psci import Conduit

BANNER = b"psci-probe ready"
LANDINGS = 32
"""How many entry points the probe has, one instruction each."""

EL1H_MASKED = 0x3C5
"""PSTATE that instructions are executed with, as in SPSR_EL1: EL1 with its own SP, all exceptions masked."""

_AREA_SHIFT = 10
_VECTORS_SIZE = 0x800
_INSTRUCTION = 4
_WORD = 32
_BRIEF, _FULL = 7, 41
"""Words of a record: up to x3, and all."""

_LONGEST_LINE = 4096
_START_S = 20.0
_GRACE_S = 5.0


class Arrival(Enum):
    """What brought a vCPU back to the probe."""

    RETURNED = "returned"
    EXCEPTION = "exception"
    ENTERED = "entered"


@dataclass(frozen=True, slots=True)
class Record:
    """A vCPU as it came back to the probe. Registers are 64 bits wide.

    Attributes:
        arrival: what brought it.
        pc: of an entry, where it arrived; of an exception, offset of the vector.
        changed: bit n: x<n> (SP for 31), bit 32 + n: v<n> does not hold the pattern that it was given.
        pstate: as in SPSR_EL1.
        x: x0 to x3; x0 to x30 in a full record.
        sp, esr, elr, spsr, vbar, cpacr: likewise of EL1; 0 unless it is a full record.
        time: CNTVCT_EL0 when it came back; likewise.
    """

    arrival: Arrival
    pc: int
    changed: int
    pstate: int
    x: tuple[int, ...]
    sp: int = 0
    esr: int = 0
    elr: int = 0
    spsr: int = 0
    vbar: int = 0
    cpacr: int = 0
    time: int = 0


class Probe:
    """The probe on a live machine. Not for more than one thread.

    Args:
        stream: its console.
        labels: addresses of its global labels, as `read_labels` finds them.
        mpidrs: affinity of each vCPU, by index.

    Attributes:
        mpidrs: as given.
        table: address of a page for a translation table.
        vectors: address of the probe's exception vectors.
        ticks_per_s: frequency of CNTVCT_EL0.

    Raises, from every method that gets an answer:
        TargetTimeout: there was none in time, or the console has ended.
        ProtocolError: it was none of the probe's.
    """

    def __init__(self, stream: socket.socket, labels: Mapping[str, int], mpidrs: Sequence[int]) -> None:
        self.mpidrs = tuple(mpidrs)
        self.table = labels["table"]
        self.vectors = labels["vectors"]
        self._stream = stream
        self._labels = labels
        self._received = b""
        self._owner = 0
        self.ticks_per_s = 0

    def wait_banner(self) -> None:
        """Waits for what the probe says first, after a boot or a reset."""
        line = self._line(_START_S)
        if line != BANNER:
            raise ProtocolError(f"the probe did not say what it says first, but {_shown(line)}")

    def start(self) -> None:
        """Begins the dialogue with a probe that has just started, and so has its console on vCPU 0."""
        self._owner = 0
        if self.arrival(0, 0.0) is None:
            raise ProtocolError("the probe runs, and says that it was not entered")
        self.ticks_per_s = self.read_system_register("CNTFRQ_EL0")

    @property
    def owner(self) -> int:
        """Index of the vCPU that has the console."""
        return self._owner

    def hand_over(self, cpu: int) -> None:
        """Gives the console to another vCPU, which must be on."""
        self._send("o", self._area(cpu))
        self._owner = cpu

    def landing(self, number: int) -> int:
        """Address of one of the probe's entry points."""
        return self._labels["landings"] + _INSTRUCTION * number

    # ------------------------------------------------------------- instructions, and what came of them

    def prepare_call(
        self,
        cpu: int,
        registers: Sequence[int],
        conduit: Conduit = Conduit.HVC,
        immediate: int = 0,
        pstate: int = EL1H_MASKED,
    ) -> int:
        """Has a vCPU make a call when `go` says so.

        Args:
            cpu: index of the vCPU.
            registers: x0 to x3; the others are filled with a pattern.
            conduit: the instruction.
            immediate: of the instruction, 16 bits.
            pstate: flags and exception masks that it is made with, as in SPSR_EL1.

        Returns:
            the address of the instruction.
        """
        if immediate:
            at = self._place(cpu, conduit_call(conduit, immediate))
        else:
            at = self._labels[f"{conduit.value}_site"]
        self._send("x", self._area(cpu), pstate, at, *registers)
        return at

    def go(self) -> None:
        """Whatever is prepared is executed, on all vCPUs at once."""
        self._send("g")

    def arrival(self, cpu: int, timeout_s: float) -> Record | None:
        """How a vCPU has come back since it was asked last; None if it did not within ``timeout_s``.

        A machine that is suspended gives no answer, so the time is the guest's.
        """
        self.ask(cpu, timeout_s)
        return self.answer(timeout_s + _GRACE_S)

    def ask(self, cpu: int, timeout_s: float) -> None:
        """Asks how a vCPU has come back, without waiting for the answer, see `arrival`."""
        self._send("r", self._area(cpu), _BRIEF, int(timeout_s * self.ticks_per_s))

    def answer(self, timeout_s: float = _GRACE_S) -> Record | None:
        """What `ask` has asked for."""
        arrived, record = self._answer(timeout_s)
        return record if arrived else None

    def answers_within(self, timeout_s: float) -> bool:
        """Whether an answer comes in time; it is still to be taken."""
        return self._await_line(timeout_s)

    def has_restarted(self) -> bool:
        """Whether what comes next is no answer, but what the probe says first after a reset."""
        return self._received.startswith(BANNER)

    def record(self, cpu: int) -> Record:
        """All registers of a vCPU as it came back last."""
        self._send("r", self._area(cpu), _FULL, 0)
        return self._answer(_GRACE_S)[1]

    def execute(self, cpu: int, instruction: int, x0: int = 0, x1: int = 0) -> int:
        """Has a vCPU execute an instruction; returns its x0.

        Raises:
            GuestError: an exception was taken instead.
        """
        self._send("x", self._area(cpu), EL1H_MASKED, self._place(cpu, instruction), x0, x1, 0, 0)
        self.go()
        record = self.arrival(cpu, _GRACE_S)
        if record is None or record.arrival is not Arrival.RETURNED:
            raise GuestError(f"vCPU {cpu} could not execute {instruction:#010x}: {record}")
        return record.x[0]

    def read_system_register(self, name: str, cpu: int | None = None) -> int:
        """A system register of EL1, 64 bits; of the vCPU that has the console if none is named."""
        return self.execute(self._owner if cpu is None else cpu, read_register(name))

    def write_system_register(self, name: str, value: int, cpu: int | None = None) -> None:
        """Sets a system register of EL1, 64 bits."""
        self.execute(self._owner if cpu is None else cpu, write_register(name), value)

    def read_memory(self, address: int, width: int = 64, cpu: int | None = None) -> int:
        """Memory, or a register of a device, 32 or 64 bits, as a vCPU sees it."""
        return self.execute(
            self._owner if cpu is None else cpu, LOAD32 if width == _WORD else LOAD64, x1=address
        )

    def write_memory(self, address: int, value: int, width: int = 64, cpu: int | None = None) -> None:
        """Sets memory, or a register of a device, 32 or 64 bits."""
        instruction = STORE32 if width == _WORD else STORE64
        self.execute(self._owner if cpu is None else cpu, instruction, value, address)

    # ------------------------------------------------------------------------------------- within

    def _area(self, cpu: int) -> int:
        """As the probe finds it: by Aff0, 16 of them, and the low bits of Aff1."""
        mpidr = self.mpidrs[cpu]
        return self._labels["areas"] + (((mpidr & 0xF) << 2 | mpidr >> 8 & 3) << _AREA_SHIFT)

    def _place(self, cpu: int, instruction: int) -> int:
        slot = self._area(cpu) + self._labels["area_slot"]
        self._send("w", slot, instruction)
        return slot

    def _send(self, letter: str, *numbers: int) -> None:
        try:
            self._stream.sendall(" ".join([letter, *(f"{number:x}" for number in numbers)]).encode() + b"\n")
        except OSError as error:
            raise GuestError(f"the probe's console has ended: {error.strerror}") from error

    def _answer(self, timeout_s: float) -> tuple[bool, Record]:
        line = self._line(timeout_s)
        try:
            arrived, *words = (int(word, 16) for word in line.split())
        except ValueError:
            raise ProtocolError(f"the probe said {_shown(line)}") from None
        if arrived not in (0, 1) or len(words) not in (_BRIEF, _FULL) or any(word >> 64 for word in words):
            raise ProtocolError(f"the probe said {_shown(line)}")
        where, changed, pstate, *x = words
        if len(words) == _FULL:
            return bool(arrived), Record(*self._arrival(where), changed, pstate, tuple(x[:31]), *x[31:])
        return bool(arrived), Record(*self._arrival(where), changed, pstate, tuple(x))

    def _arrival(self, where: int) -> tuple[Arrival, int]:
        if where == self._labels["returned"]:
            return Arrival.RETURNED, where
        if 0 <= where - self.vectors < _VECTORS_SIZE:
            return Arrival.EXCEPTION, where - self.vectors
        return Arrival.ENTERED, where

    def _line(self, timeout_s: float) -> bytes:
        if not self._await_line(timeout_s):
            raise TargetTimeout(f"the probe did not answer within {timeout_s:g} s")
        line, _, self._received = self._received.partition(b"\n")
        return line.strip()

    def _await_line(self, timeout_s: float) -> bool:
        """Whether a line is there, or comes in time; not if the console ends."""
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._received:
            if len(self._received) > _LONGEST_LINE:
                raise ProtocolError(f"the probe said {_shown(self._received)}")
            remaining = deadline - time.monotonic()
            if not select.select([self._stream], [], [], max(0.0, remaining))[0]:
                return False
            try:
                received = self._stream.recv(4096)
            except OSError:
                received = b""
            if not received:
                return False
            self._received += received
        return True


def _shown(line: bytes) -> str:
    return repr(line[:80].decode(errors="replace"))


def read_labels(elf: Path) -> Mapping[str, int]:
    """The global labels of the probe's ELF file, by name.

    Raises:
        InternalError: it has none.
    """
    with elf.open("rb") as stream:
        symbols = ELFFile(stream).get_section_by_name(".symtab")
        if not isinstance(symbols, SymbolTableSection):
            raise InternalError(f"{elf} has no symbols")
        return {
            symbol.name: int(symbol["st_value"])
            for symbol in symbols.iter_symbols()
            if symbol["st_info"]["bind"] == "STB_GLOBAL"
        }

"""What was found out about a session that hangs, and what was concluded. Values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from hil_agent.debug.diagnose.gic import Interrupt
from hil_agent.debug.mi import Frame
from hil_agent.session.documents import Status, TraceRecord
from hil_agent.session.plan import BootPlan

_WFI: Final = 0xD503207F
_WFE: Final = 0xD503205F
_SPIN: Final = 0x14000000
"""``b .``"""

_PSTATE_I: Final = 1 << 7
_SCTLR_M: Final = 1 << 0
_MASK64: Final = (1 << 64) - 1

_VECTORS_SIZE: Final = 0x800
"""Bytes of a vector table (Arm ARM D1.4, exception vectors)."""


_TIMERS: Final = {
    "EL1 virtual": (27, "CNTV_CTL_EL0", "CNTV_CVAL_EL0"),
    "EL1 physical": (30, "CNTP_CTL_EL0", "CNTP_CVAL_EL0"),
}
"""The guest's timers: INTID (Arm BSA), control, compare value. EL2's is our own tick."""


@dataclass(frozen=True, slots=True)
class Timer:
    """A generic timer of a vCPU (Arm ARM D12.2).

    Attributes:
        name: which one.
        intid: number of its interrupt.
        control: its CTL register.
        compare: its CVAL register: at which count of the system counter it fires.
    """

    name: str
    intid: int
    control: int
    compare: int

    @property
    def enabled(self) -> bool:
        """Whether it counts (ENABLE)."""
        return bool(self.control & 1)

    @property
    def masked(self) -> bool:
        """Whether it raises no interrupt (IMASK)."""
        return bool(self.control & 2)

    @property
    def fired(self) -> bool:
        """Whether its time has come (ISTATUS)."""
        return bool(self.control & 4)


@dataclass(frozen=True)
class Vcpu:
    """One vCPU.

    Attributes:
        cpu: its index.
        power: its PSCI power, as ``status`` has it; empty if that is not known.
        registers: by their architectural names, 64 bits at most.
        chain: the addresses of its call chain, by frame records; the innermost first.
        backtrace: the innermost frame first.
        symbols: what lies at an address of a register or frame, such as ``cpu_resume+0x10``.
        code: the two instructions before and at its PC, if they can be read.
    """

    cpu: int
    power: str = ""
    registers: Mapping[str, int] = field(default_factory=dict)
    chain: tuple[int, ...] = ()
    backtrace: tuple[Frame, ...] = ()
    symbols: Mapping[int, str] = field(default_factory=dict)
    code: tuple[int, int] | None = None

    @property
    def level(self) -> int | None:
        """Its exception level; None if that is not known."""
        pstate = self.registers.get("cpsr")
        return None if pstate is None else pstate >> 2 & 3

    @property
    def mmu_is_off(self) -> bool:
        """Whether EL1 translates no addresses."""
        return not self.registers.get("SCTLR_EL1", _SCTLR_M) & _SCTLR_M

    @property
    def masks_interrupts(self) -> bool:
        """Whether it takes no IRQ (PSTATE.I)."""
        return bool(self.registers.get("cpsr", 0) & _PSTATE_I)

    @property
    def waits(self) -> bool:
        """Whether it has executed a WFI or WFE last."""
        return self.code is not None and self.code[0] in {_WFI, _WFE}

    @property
    def spins(self) -> bool:
        """Whether it stands on an instruction that branches to itself."""
        return self.code is not None and self.code[1] == _SPIN

    @property
    def excepts_for_ever(self) -> bool:
        """Whether taking an exception at EL1 leads to the next one, as the vectors cannot be executed."""
        registers = self.registers
        if self.level != 1 or not self.in_vectors or "ELR_EL1" not in registers:
            return False
        return _in_vectors(registers["ELR_EL1"], registers["VBAR_EL1"])

    @property
    def in_vectors(self) -> bool:
        """Whether it is in EL1's vector table."""
        registers = self.registers
        return {"pc", "VBAR_EL1"} <= registers.keys() and _in_vectors(registers["pc"], registers["VBAR_EL1"])

    @property
    def timers(self) -> tuple[Timer, ...]:
        """Its timers, those that the stub tells of."""
        return tuple(
            Timer(name, intid, self.registers[control], self.registers.get(compare, 0))
            for name, (intid, control, compare) in _TIMERS.items()
            if control in self.registers
        )

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions of its backtrace, by name."""
        return tuple(frame.function for frame in self.backtrace if frame.function)

    @property
    def where(self) -> str:
        """Where it is, in a word or two."""
        if self.level == 2:  # noqa: PLR2004 - EL2
            return "in the EL2 monitor"
        if not self.backtrace:
            return "" if "pc" not in self.registers else f"{self.registers['pc']:#x}"
        return self.name(self.backtrace[0].address)

    def name(self, address: int) -> str:
        """An address, by the symbol that it belongs to if there is one."""
        return self.symbols.get(address, f"{address:#x}")


def _in_vectors(address: int, vectors: int) -> bool:
    return (address - vectors) & _MASK64 < _VECTORS_SIZE


@dataclass(frozen=True)
class Evidence:
    """All that could be had.

    Attributes:
        status: of the session, before anything was stopped.
        plan: what was booted; None if that cannot be read.
        calls: the last calls, oldest first.
        events: what else has happened, as journal.jsonl has it, oldest first.
        vcpus: by index.
        interrupts: those that are enabled, pending or active.
        kernel_log: lines of the kernel's log, read in the guest's memory.
        console: the last lines of the guest's console.
        missing: what could not be had, and why.
    """

    status: Status
    plan: BootPlan | None = None
    calls: tuple[TraceRecord, ...] = ()
    events: tuple[Mapping[str, Any], ...] = ()
    vcpus: tuple[Vcpu, ...] = ()
    interrupts: tuple[Interrupt, ...] = ()
    kernel_log: tuple[str, ...] = ()
    console: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @cached_property
    def said(self) -> tuple[str, ...]:
        """What the kernel has said, from its memory or, where that could not be had, its console."""
        return self.kernel_log or self.console

    def last_call(self, function: str) -> TraceRecord | None:
        """The last call of a function."""
        return next((call for call in reversed(self.calls) if call.function == function), None)

    def last_event(self, name: str) -> Mapping[str, Any] | None:
        """The last event of a name."""
        return next((event for event in reversed(self.events) if event.get("event") == name), None)


@dataclass(frozen=True)
class Finding:
    """A conclusion: which rule has drawn it, what is wrong, and where to look."""

    rule: str
    what: str
    look: str


@dataclass(frozen=True)
class Diagnosis:
    """Where everything was written to, and what was concluded, the likely cause first."""

    folder: Path
    evidence: Evidence
    findings: tuple[Finding, ...]
    files: Mapping[str, str]

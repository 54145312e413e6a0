"""The trap source ``el2``: vCPUs that our EL2 monitor holds, seen through a debug stub."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from hil_agent.el2.syndrome import UnexpectedException, exception_class
from hil_agent.psci.call import Call, Conduit
from hil_agent.psci.entry import PSTATE_DAIF, PSTATE_EL1H, EntryState
from hil_agent.rsp import Registers
from hil_agent.trap.monitored import EL_MASK, EL_SHIFT, FLAGS_SHIFT, MonitoredTrapSource, arguments
from hil_agent.trap.source import Trap, TrapKind

_INSTRUCTION = 4
_EC_SMC64 = 0x17

_GENERAL = tuple(f"x{number}" for number in range(31))

_EL0T, _EL1T = 0x0, 0x4
_SP_SELECT = 1
_VECTOR_SP_EL0, _VECTOR_SP_EL1, _VECTOR_LOWER_EL = 0x000, 0x200, 0x400


class El2TrapSource(MonitoredTrapSource):
    """Puts the EL2 monitor to work, to which the guest's calls trap. vCPU 0 must start at EL2."""

    kinds: ClassVar[Mapping[str, TrapKind]] = {
        **MonitoredTrapSource.kinds,
        "kind_hvc": TrapKind.CALL,
        "kind_smc": TrapKind.CALL,
        "kind_immediate": TrapKind.CALL,
        "kind_unexpected": TrapKind.UNEXPECTED,
    }
    exception_level: ClassVar[int] = 2
    leaving: ClassVar[tuple[str, ...]] = ("ELR_EL2", "SPSR_EL2")

    def _trap_at(self, cpu: int, registers: Registers) -> Trap | None:
        trap = super()._trap_at(cpu, registers)
        if trap is None:
            return None
        if trap.kind is TrapKind.CALL:
            return replace(trap, call=self._call(cpu, registers))
        if trap.kind is TrapKind.UNEXPECTED:
            return replace(trap, problem=str(self._unexpected(cpu)))
        return trap

    def _call(self, cpu: int, registers: Registers) -> Call:
        """The guest's call."""
        values = (registers["x0"], registers["x1"], registers["x2"], registers["x3"])
        kind = registers["cpsr"] >> FLAGS_SHIFT
        if kind == self._offsets["kind_hvc"]:
            return Call(cpu, Conduit.HVC, values)
        if kind == self._offsets["kind_smc"]:
            return Call(cpu, Conduit.SMC, values)
        esr = self._read_area(cpu, "area_esr")
        conduit = Conduit.SMC if exception_class(esr) == _EC_SMC64 else Conduit.HVC
        return Call(cpu, conduit, values, esr & 0xFFFF)

    def holds(self, registers: Registers) -> bool:
        """Whether a vCPU with these registers is in our code, and not in the guest's."""
        return registers["cpsr"] >> EL_SHIFT & EL_MASK == self.exception_level

    def leaves(self, writes: Mapping[str, int]) -> bool:
        """Whether a vCPU that is sent on with these writes is in the guest one instruction later."""
        return writes.get("pc") == self._labels["return_to_guest"]

    def _unexpected(self, cpu: int) -> UnexpectedException:
        """What the monitor recorded of an exception that it did not expect."""
        fields = ("vector", "esr", "elr", "far", "spsr")
        return UnexpectedException(**{name: self._read_area(cpu, f"area_{name}") for name in fields})

    def leave(
        self,
        trap: Trap,  # noqa: ARG002 - all leave in the same way
        values: tuple[int, ...],
        *,
        after_interrupt: bool = False,
    ) -> Mapping[str, int]:
        """Lets a caller return with x0, x1, ... set; at once, or after the next interrupt."""
        routine = f"standby_gicv{self._gic.version}" if after_interrupt else "return_to_guest"
        return {**arguments(values), "pc": self._labels[routine]}

    def restore(self, trap: Trap) -> None:
        """Puts a caller's general registers back, PC among them, after steps that used them."""
        values = {name: trap.registers[name] for name in (*_GENERAL, "pc")}
        self._client.write_registers(values, self._threads[trap.cpu])

    def enter(self, cpu: int, entry: EntryState, *, unpark: bool = False) -> None:
        """Sends a vCPU to its entry point, and sees it there: stopped before its first instruction.

        Args:
            cpu: the vCPU.
            entry: how it starts.
            unpark: its wait is ended first.

        Raises:
            TargetError: it did not arrive there in that state.
        """
        leaving = {"ELR_EL2": entry.pc, "SPSR_EL2": entry.pstate}
        self.write_system_registers(cpu, {**entry.system_registers, **leaving}, unpark=unpark)
        if entry.vector_registers:
            self.write_vector_registers(cpu, entry.vector_registers)
        general = {"x0": entry.x0, **entry.general_registers}
        arrived = self.step(cpu, general | {"pc": self._labels["return_to_guest"]})
        self._expect_at(cpu, entry, arrived)

    def guest_registers(self, cpu: int, *, in_monitor: bool) -> dict[str, int]:
        """All that the stub tells of a vCPU's registers, as its guest has them.

        Args:
            cpu: the vCPU.
            in_monitor: it is at the monitor's trap, with the guest's general registers in place.

        One that waits for an interrupt is told with the registers of its call.
        """
        every = self._client.read_all_registers(self._threads[cpu], without=self._not_the_guests)
        registers = {name: value for name, value in every.items() if name not in self.leaving}
        in_our_code = every["cpsr"] >> EL_SHIFT & EL_MASK == self.exception_level
        waits = in_our_code and not in_monitor and self._waits(cpu)
        if waits:
            registers |= self._caller(cpu)
        if in_monitor or waits:
            own = {"pc": "ELR_EL2", "cpsr": "SPSR_EL2", "sp": "SP_EL1"}
            registers |= {name: every[source] for name, source in own.items() if source in every}
        return registers

    def as_guest_sees(self, cpu: int, registers: Registers, trap: Trap | None) -> Mapping[str, int]:
        """What of a vCPU in the monitor is other than the stub tells, as its guest has it.

        It is seen at its call before that is answered, and behind it from then on.

        Args:
            cpu: the vCPU.
            registers: as the stub tells them.
            trap: where it waits for something, if it does.
        """
        sources = ("ELR_EL2", "SPSR_EL2", "SP_EL0", "SP_EL1")
        elr, spsr, sp_el0, sp_el1 = self._client.read_each(sources, self._threads[cpu])
        if not elr:
            return {}  # it has never been in the guest
        at = self._trap_at(cpu, registers)
        asking = at is not None and at.call is not None
        seen = {"pc": elr - _INSTRUCTION if asking else elr, "cpsr": spsr & 0xFFFF_FFFF}
        seen["sp"] = sp_el1 if spsr & _SP_SELECT else sp_el0
        if trap is not None and not asking and registers["pc"] != self._labels["return_to_guest"]:
            seen |= {name: trap.registers[name] for name in _GENERAL}
        elif self._waits(cpu):
            seen |= self._caller(cpu)
        return seen

    def inject_undefined(self, trap: Trap, esr: int) -> None:
        """Has a caller take a synchronous exception to EL1 (Arm ARM, AArch64.TakeException) with ``esr``."""
        state = self.read_system_registers(trap.cpu, ("ELR_EL2", "SPSR_EL2", "VBAR_EL1"))
        mode = state["SPSR_EL2"] & 0xF
        vector = _VECTOR_LOWER_EL if mode == _EL0T else _VECTOR_SP_EL0 if mode == _EL1T else _VECTOR_SP_EL1
        at = state["ELR_EL2"]
        if trap.call is not None and trap.call.conduit is Conduit.SMC:
            at -= _INSTRUCTION  # our monitor has stepped over it already
        self.write_system_registers(
            trap.cpu,
            {
                "ESR_EL1": esr,
                "ELR_EL1": at,
                "SPSR_EL1": state["SPSR_EL2"],
                "ELR_EL2": state["VBAR_EL1"] + vector,
                "SPSR_EL2": PSTATE_EL1H | PSTATE_DAIF,
            },
        )
        self.restore(trap)
        self._client.write_registers({"pc": self._labels["return_to_guest"]}, self._threads[trap.cpu])

    # ------------------------------------------------------------------------- within

    def _prepare_area(self, cpu: int) -> None:
        super()._prepare_area(cpu)
        at = self._area(cpu) + self._offsets["area_gic_version"]
        self._client.write_memory(at, self._gic.version.to_bytes(8, "little"))

    def _waits(self, cpu: int) -> bool:
        """Whether the guest waits in a call whose answer is decided, with its registers in the area."""
        return any(self._read_words(cpu, "area_waiting", 1))

    def _caller(self, cpu: int) -> dict[str, int]:
        """The general registers of a guest that waits: those that the monitor uses meanwhile."""
        names = (*_GENERAL[:18], "x30")
        return dict(zip(names, self._read_words(cpu, "area_caller", len(names)), strict=True))

    def _read_words(self, cpu: int, field: str, count: int) -> tuple[int, ...]:
        """64-bit words of a vCPU's area, whatever address space the current thread is in."""
        at = self._area(cpu) + self._offsets[field]
        physical = self._client.features.physical_memory
        return struct.unpack(f"<{count}Q", self._client.read_memory(at, 8 * count, physical=physical))

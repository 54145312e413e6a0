"""The trap source ``hvc-site``: a guest's calls, caught where it makes them.

A call that is only answered costs what one to the EL2 monitor does: the vCPU stands before its ``hvc``
and goes on behind it. For all else the vCPU has to leave the guest: its MMU is turned off, with
instructions put for a moment in place of its own, and it goes to the EL1 monitor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from hil_agent.errors import TargetError
from hil_agent.hvc_site.breakpoints import CallBreakpoints
from hil_agent.hvc_site.code import find_code
from hil_agent.hvc_site.translation import kernel_mappings
from hil_agent.psci.call import Call, Conduit
from hil_agent.psci.entry import PSTATE_DAIF, PSTATE_EL1H, SCTLR_EL1_RESET, EntryState
from hil_agent.rsp import Registers
from hil_agent.trap.injection import execute
from hil_agent.trap.kind import Setting
from hil_agent.trap.monitored import (
    EL_MASK,
    EL_SHIFT,
    VIRTUAL_TIMER,
    MonitoredTrapSource,
    arguments,
)
from hil_agent.trap.program import move
from hil_agent.trap.source import Trap, TrapKind

_INSTRUCTION = 4
_GENERAL = tuple(f"x{number}" for number in range(31))
_MODE, _EL1T = 0xF, 0x4
_VECTOR_SP_EL0, _VECTOR_SP_EL1 = 0x000, 0x200
_FP_STATE = {"FPCR", "FPSR"}
_CPACR_FPEN = 3 << 20
_LAST = {"CPACR_EL1": 1, "SCTLR_EL1": 2}
"""What is written behind all else: it may forbid FP, or make the vCPU big-endian."""


@dataclass(frozen=True, slots=True)
class _Caller:
    """A vCPU that has left the guest.

    Attributes:
        registers: those that it had at its call.
        sctlr: its SCTLR_EL1 there.
    """

    registers: Registers
    sctlr: int


class HvcSiteTrapSource(MonitoredTrapSource):
    """Puts breakpoints and the EL1 monitor to work.

    Args:
        setting: the guest's kernel must be where it says, unpacked, when the guest starts.

    Raises:
        FileError: the kernel's file is not there any more.
    """

    exception_level: ClassVar[int] = 1
    timer_ppis: ClassVar[int] = VIRTUAL_TIMER  # the physical one ticks for us

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.firmware_routine = f"firmware_call_{setting.conduit_below.value}"
        self._breakpoints = CallBreakpoints(setting.client, find_code(setting.kernel), setting.conduit)
        self._callers: dict[int, _Caller] = {}
        self._standing_by: dict[int, tuple[Trap, tuple[int, ...]]] = {}

    def start(self) -> None:
        """Prepares a machine that was just reset."""
        super().start()
        self._callers.clear()
        self._standing_by.clear()
        self._breakpoints.start()

    # ------------------------------------------------------------- recognising

    def _trap_at(self, cpu: int, registers: Registers) -> Trap | None:
        pc = registers["pc"]
        if registers["cpsr"] >> EL_SHIFT & EL_MASK == self.exception_level:
            if (call := self._call_at(cpu, registers)) is not None:
                return call
            if self._breakpoints.is_watched(pc):
                self._follow(cpu, registers)
                return Trap(TrapKind.DEALT_WITH, cpu, registers)
            trap = super()._trap_at(cpu, registers)
            if trap is not None and trap.kind is TrapKind.DONE and cpu in self._standing_by:
                self._end_standby(cpu)
                return Trap(TrapKind.DEALT_WITH, cpu, registers)
            if trap is not None:
                return trap
        if pc in self._breakpoints or pc == self._trap:
            # The guest has something of its own at that address, in a process perhaps.
            with self._breakpoints.lifted(pc):
                self.step(cpu, {"pc": pc})
            return Trap(TrapKind.DEALT_WITH, cpu, registers)
        return None

    def _call_at(self, cpu: int, registers: Registers) -> Trap | None:
        site = self._breakpoints.site(registers["pc"])
        if site is None:
            return None
        self._breakpoints.called_from(registers["pc"])
        values = (registers["x0"], registers["x1"], registers["x2"], registers["x3"])
        return Trap(TrapKind.CALL, cpu, registers, Call(cpu, site.conduit, values, site.immediate))

    def about_to_call(self, cpu: int) -> Trap | None:
        """The call that a vCPU stands before."""
        registers = self._client.read_registers(self._threads[cpu])
        if registers["cpsr"] >> EL_SHIFT & EL_MASK != self.exception_level:
            return None
        return self._call_at(cpu, registers)

    def holds(self, registers: Registers) -> bool:
        """Whether a vCPU with these registers is in our code, and not in the guest's."""
        level = registers["cpsr"] >> EL_SHIFT & EL_MASK
        return level == self.exception_level and 0 <= registers["pc"] - self._code < len(self._image)

    def leaves(self, _writes: Mapping[str, int]) -> bool:
        """Whether a vCPU sent on with these writes is in the guest one instruction later: it is at once."""
        return False

    def _follow(self, cpu: int, registers: Registers) -> None:
        """Has the guest change its translation, at an address that is physical, and looks for its kernel."""
        pc = registers["pc"]
        with self._breakpoints.lifted(pc):
            after = self.step(cpu, {"pc": pc})
        behind = after["pc"]
        tcr, ttbr1 = (
            self._execute(cpu, move(name, 0, read=True), behind) for name in ("TCR_EL1", "TTBR1_EL1")
        )
        self._client.write_registers(
            {"x0": after["x0"], "cpsr": after["cpsr"], "pc": behind}, self._threads[cpu]
        )
        physical = self._client.features.physical_memory
        self._breakpoints.follow(
            pc,
            kernel_mappings(
                lambda address, size: self._client.read_memory(address, size, physical=physical),
                tcr=tcr,
                ttbr1=ttbr1,
                wanted=self._breakpoints.memory,
            ),
        )

    # ------------------------------------------------------------ leaving for the guest

    def leave(
        self, trap: Trap, values: tuple[int, ...], *, after_interrupt: bool = False
    ) -> Mapping[str, int]:
        """Lets a caller return with x0, x1, ... set; at once, or after the next interrupt."""
        if after_interrupt:
            self._standing_by[trap.cpu] = (trap, values)
            return self.wait_for_interrupt(trap)
        return {**arguments(values), "pc": trap.registers["pc"] + _INSTRUCTION}

    def _end_standby(self, cpu: int) -> None:
        trap, values = self._standing_by.pop(cpu)
        self.restore(trap)
        self._client.write_registers(self.leave(trap, values), self._threads[cpu])

    def restore(self, trap: Trap) -> None:
        """Puts a caller back to where it called, if it has left, with its registers as they were."""
        self._leave_monitor(trap.cpu)
        values = {name: trap.registers[name] for name in (*_GENERAL, "pc", "cpsr")}
        self._client.write_registers(values, self._threads[trap.cpu])

    def enter(self, cpu: int, entry: EntryState, *, unpark: bool = False) -> None:
        """Sends a vCPU to its entry point, and sees it there: stopped before its first instruction.

        Raises:
            TargetError: it did not arrive there in that state.
        """
        system = {"SPSEL": 1, **entry.system_registers}
        stack = {"sp": system.pop("SP_EL1")} if "SP_EL1" in system else {}
        self.write_system_registers(cpu, system, unpark=unpark)
        self._callers.pop(cpu, None)
        thread = self._threads[cpu]
        self.write_vector_registers(cpu, entry.vector_registers)
        writes = {"x0": entry.x0, **entry.general_registers, **stack}
        self._client.write_registers({**writes, "cpsr": entry.pstate, "pc": entry.pc}, thread)
        self._expect_at(cpu, entry, self._client.read_registers(thread))

    def inject_undefined(self, trap: Trap, esr: int) -> None:
        """Has a caller take a synchronous exception to EL1 (Arm ARM, AArch64.TakeException) with ``esr``."""
        cpu, pc, pstate = trap.cpu, trap.registers["pc"], trap.registers["cpsr"]
        vector = _VECTOR_SP_EL0 if pstate & _MODE == _EL1T else _VECTOR_SP_EL1
        passed = trap.call is not None and trap.call.conduit is Conduit.HVC
        vectors = self.read_system_registers(cpu, ("VBAR_EL1",))["VBAR_EL1"]
        values = {
            "ESR_EL1": esr,
            "ELR_EL1": pc + _INSTRUCTION if passed else pc,
            "SPSR_EL1": pstate,
            "SPSEL": 1,
        }
        self.write_system_registers(cpu, values)
        self.restore(trap)
        target = {"pc": vectors + vector, "cpsr": PSTATE_EL1H | PSTATE_DAIF}
        self._client.write_registers(target, self._threads[cpu])

    def guest_registers(self, cpu: int, *, in_monitor: bool) -> dict[str, int]:
        """All that the stub tells of a vCPU's registers, as its guest has them; a call counts as made."""
        registers = self._client.read_all_registers(self._threads[cpu], without=self._not_the_guests)
        if in_monitor and self._breakpoints.site(registers["pc"]) is not None:
            registers["pc"] += _INSTRUCTION
        return registers

    def as_guest_sees(self, cpu: int, registers: Registers, trap: Trap | None) -> Mapping[str, int]:  # noqa: ARG002
        """What of a vCPU in the monitor is other than the stub tells, as the guest has it: after its call."""
        caller = self._callers.get(cpu)
        if caller is None:
            return {}  # it has not been in the guest yet
        seen = {name: caller.registers[name] for name in (*_GENERAL, "cpsr")}
        return {**seen, "pc": caller.registers["pc"] + _INSTRUCTION, "SCTLR_EL1": caller.sctlr}

    # --------------------------------------------------------------- system registers

    def write_system_registers(self, cpu: int, values: Mapping[str, int], *, unpark: bool = False) -> None:
        """Sets system registers by name, after its wait if it is parked; its general registers are lost."""
        if not _FP_STATE.isdisjoint(values):
            if unpark:
                self.unpark(cpu)
            values = {"CPACR_EL1": self._allow_fp(cpu), **values}
            unpark = False
        ordered = dict(sorted(values.items(), key=lambda item: _LAST.get(item[0], 0)))
        super().write_system_registers(cpu, ordered, unpark=unpark)

    def read_system_registers(self, cpu: int, names: tuple[str, ...]) -> dict[str, int]:
        """Reads system registers by name, as the guest has them; clobbers the vCPU's general registers."""
        own: dict[str, int] = {}
        if not _FP_STATE.isdisjoint(names):
            own["CPACR_EL1"] = self._allow_fp(cpu)
        found = super().read_system_registers(cpu, tuple(name for name in names if name != "SP_EL1"))
        if own:
            self.write_system_registers(cpu, own)
        if "SP_EL1" in names:
            own["SP_EL1"] = self._read_sp_el1(cpu)
        if caller := self._callers.get(cpu):
            own["SCTLR_EL1"] = caller.sctlr
        return {name: own[name] if name in own else found[name] for name in names}

    def _read_sp_el1(self, cpu: int) -> int:
        """SP_EL1 of a vCPU in the monitor, where MRS cannot name it."""
        selected = self._client.read_registers(self._threads[cpu])["cpsr"] & 1
        if not selected:
            super().write_system_registers(cpu, {"SPSEL": 1})
        sp = self._client.read_registers(self._threads[cpu])["sp"]
        if not selected:
            super().write_system_registers(cpu, {"SPSEL": 0})
        return sp

    def _allow_fp(self, cpu: int) -> int:
        """Has FP registers accessible at EL1, which else is an exception of the guest's; CPACR_EL1 before."""
        cpacr = super().read_system_registers(cpu, ("CPACR_EL1",))["CPACR_EL1"]
        super().write_system_registers(cpu, {"CPACR_EL1": cpacr | _CPACR_FPEN})
        return cpacr

    def set_system_register(self, cpu: int, name: str, value: int) -> None:
        """Gives one system register a value, wherever the vCPU stands; all else of it is as before.

        Raises:
            UsageError: it is none that can be written there.
            StateError: the vCPU is where nothing can be written.
        """
        with self._breakpoints.lifted(self._client.read_registers(self._threads[cpu])["pc"]):
            super().set_system_register(cpu, name, value)

    # ------------------------------------------------------------- leaving the guest

    def _bring_in(self, cpu: int) -> None:
        """Brings a caller to the EL1 monitor, if it is not there yet; its x0 and PC are lost.

        Raises:
            TargetError: its MMU could not be turned off.
        """
        registers = self._client.read_registers(self._threads[cpu])
        pc = registers["pc"]
        site = self._breakpoints.site(pc)
        if site is None:
            return
        read = move("SCTLR_EL1", 0, read=True)
        sctlr = self._execute(cpu, read, pc)
        write = move("SCTLR_EL1", 0, read=False)
        self._execute(cpu, write, pc, x0=SCTLR_EL1_RESET, put_back_at=site.address)
        self._callers[cpu] = _Caller(registers, sctlr)
        # An instruction cache may have held the old one.
        if self._execute(cpu, read, site.address) != SCTLR_EL1_RESET:
            raise TargetError(f"vCPU {cpu} did not turn its MMU off when it was made to at {pc:#x}")

    def _leave_monitor(self, cpu: int) -> None:
        """Turns a caller's MMU on again, if it was. Where its PC is there may be nothing then."""
        caller = self._callers.pop(cpu, None)
        if caller is not None:
            self.step(cpu, {"x0": caller.sctlr, "pc": self._labels["set_sctlr"]})

    def _execute(
        self, cpu: int, instruction: bytes, at: int, *, x0: int = 0, put_back_at: int | None = None
    ) -> int:
        with self._breakpoints.lifted(at):
            thread = self._threads[cpu]
            return execute(self._client, thread, instruction, at=at, x0=x0, put_back_at=put_back_at)

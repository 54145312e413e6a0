"""The trap source ``el2``: vCPUs that our EL2 monitor holds, seen through a debug stub.

Every stop at one of the monitor's ``trap_*`` labels is a :class:`Trap`; from there a vCPU is
sent on by setting its PC to one of the monitor's routines. What takes several steps (a
program, a firmware call) runs that vCPU alone until its next trap, so that nothing else of
the machine moves in between.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from hil_agent.el2.monitor import Monitor
from hil_agent.el2.program import Program, read_system_registers, write_system_registers
from hil_agent.el2.syndrome import UnexpectedException, exception_class
from hil_agent.errors import InternalError, TargetError
from hil_agent.guest.address import AddressRange
from hil_agent.guest.device_tree import Gic
from hil_agent.psci.call import Call, Conduit
from hil_agent.psci.entry import PSTATE_DAIF, PSTATE_EL1H, EntryState
from hil_agent.rsp import BreakpointKind, Client, Registers, StopReply, ThreadId

_TIMEOUT_S = 5.0
_SCRUB_TIMEOUT_S = 120.0
_SCTLR_EE = 1 << 25
_INSTRUCTION = 4
_EC_SMC64 = 0x17
_EL_MASK = 0xC
_EL2 = 0x8
_FLAGS_SHIFT = 28

_GENERAL = tuple(f"x{number}" for number in range(31))
_LEAVING = ("ELR_EL2", "SPSR_EL2")
_NOT_THE_GUESTS = re.compile(
    r".*_EL[23]|ID_.*|MVFR\d_.*|(MIDR|MPIDR|REVIDR|AIDR|CTR|CLIDR|CCSIDR|DCZID|RVBAR|DUMMY|RES_)\w*"
)
"""State of higher exception levels, and what identifies a CPU and never changes."""

_PSTATE_MASK = 0x3DF  # DAIF and mode
_EL0T, _EL1T = 0x0, 0x4
_VECTOR_SP_EL0, _VECTOR_SP_EL1, _VECTOR_LOWER_EL = 0x000, 0x200, 0x400

_CPU_OFF, _CPU_ON = 0x84000002, 0xC4000003

_TICK = 10
"""How often a parked vCPU listens for us: 2^10 times a second."""

_ANY_PRIORITY = 0xFF
_TICK_ONLY = 0x08
_TIMER_PPIS = 1 << 27 | 1 << 30
"""The virtual and the physical timer of EL1 (Arm BSA, private peripheral interrupts)."""


class TrapKind(Enum):
    """Why a vCPU waits for us: the label of that kind in the monitor."""

    ENTRY = "kind_entry"
    HVC = "kind_hvc"
    SMC = "kind_smc"
    IMMEDIATE = "kind_immediate"
    DONE = "kind_done"
    WAKE = "kind_wake"
    UNEXPECTED = "kind_unexpected"


@dataclass(frozen=True, slots=True)
class Trap:
    """A vCPU that waits at the monitor's trap.

    Attributes:
        kind: why.
        cpu: index of the vCPU.
        registers: its general registers, for a call still those of the guest.
    """

    kind: TrapKind
    cpu: int
    registers: Registers


class El2TrapSource:
    """Puts the monitor to work. vCPU 0 is expected to start at the monitor's ``entry``, at EL2.

    Args:
        client: the debug stub; its register writes are trusted only for general registers and PC.
        monitor: the monitor.
        code: physical address to place it at.
        reserved: RAM that the guest leaves alone; it begins with the monitor's areas.
        gic: the machine's interrupt controller, which parked vCPUs wait on.
        wake_by_interrupt: any interrupt ends a suspend.
        wake_by_timer: the timers of EL1 do, whatever else does.
    """

    def __init__(
        self,
        client: Client,
        monitor: Monitor,
        *,
        code: int,
        reserved: AddressRange,
        gic: Gic,
        wake_by_interrupt: bool,
        wake_by_timer: bool,
    ) -> None:
        self._client = client
        self._image = monitor.image
        self._code = code
        self._reserved = reserved
        self._labels = {name: code + offset for name, offset in monitor.labels.items()}
        self._offsets = monitor.labels
        self._kinds = {self._offsets[kind.value]: kind for kind in TrapKind}
        self._trap = self._labels["trap"]
        self._threads: list[ThreadId] = client.threads()
        self._cpus = {thread: cpu for cpu, thread in enumerate(self._threads)}
        self._gic = gic
        self._not_the_guests = frozenset(
            name
            for name in client.description.registers
            if _NOT_THE_GUESTS.fullmatch(name) and name not in _LEAVING
        )
        self._priority_mask = _ANY_PRIORITY if wake_by_interrupt else _TICK_ONLY
        self._wake_ppis = _TIMER_PPIS if wake_by_timer else 0

    def arm(self) -> None:
        """Sets the one breakpoint, which stays over resets of the machine."""
        self._client.insert_breakpoint(BreakpointKind.HARDWARE, self._trap, _INSTRUCTION)

    def start(self) -> None:
        """Prepares a machine that was just reset: the monitor in memory, and vCPU 0's area in its x0."""
        self._client.write_memory(self._code, self._image, verify=True)
        self._prepare_area(0)
        self._client.write_registers({"x0": self._area(0)}, self._threads[0])

    def thread(self, cpu: int) -> ThreadId:
        """What the stub calls a vCPU."""
        return self._threads[cpu]

    def cpu(self, thread: ThreadId | None) -> int | None:
        """The vCPU that the stub calls so; None if it is none."""
        return None if thread is None else self._cpus.get(thread)

    # ------------------------------------------------------------- recognising

    def identify(self, stop: StopReply) -> Trap | None:
        """The trap that a stop is; None if it is none of ours: an interrupt, a breakpoint of somebody else's.

        Breakpoints go by virtual address, so a guest that has mapped something at the monitor's
        address can hit ours: only EL2 counts.
        """
        cpu = self.cpu(stop.thread)
        if cpu is None:
            return None
        registers = self._client.read_registers()
        if registers["pc"] != self._trap:
            return None
        pstate = registers["cpsr"]
        kind = self._kinds.get(pstate >> _FLAGS_SHIFT)
        if kind is None or pstate & _EL_MASK != _EL2:
            return None
        return Trap(kind, cpu, registers)

    def call(self, trap: Trap) -> Call:
        """The guest's call that a trap is."""
        registers = trap.registers
        arguments = (registers["x0"], registers["x1"], registers["x2"], registers["x3"])
        if trap.kind is TrapKind.HVC:
            return Call(trap.cpu, Conduit.HVC, arguments)
        if trap.kind is TrapKind.SMC:
            return Call(trap.cpu, Conduit.SMC, arguments)
        esr = self._read_area(trap.cpu, "area_esr")
        conduit = Conduit.SMC if exception_class(esr) == _EC_SMC64 else Conduit.HVC
        return Call(trap.cpu, conduit, arguments, esr & 0xFFFF)

    def holds(self, registers: Registers) -> bool:
        """Whether a vCPU with these registers is in our code, and not in the guest's."""
        return registers["cpsr"] & _EL_MASK == _EL2

    def leaves(self, writes: Mapping[str, int]) -> bool:
        """Whether a vCPU that is sent on with these writes is in the guest one instruction later."""
        return writes.get("pc") == self._labels["return_to_guest"]

    def refreshed(self, trap: Trap) -> Trap:
        """A trap with the registers that its vCPU has now, which a debugger may have changed."""
        return replace(trap, registers=self._client.read_registers(self._threads[trap.cpu]))

    def unexpected(self, trap: Trap) -> UnexpectedException:
        """What the monitor recorded of an exception that it did not expect."""
        fields = ("vector", "esr", "elr", "far", "spsr")
        return UnexpectedException(**{name: self._read_area(trap.cpu, f"area_{name}") for name in fields})

    def wake_interrupt(self, trap: Trap) -> int:
        """INTID of the interrupt that ended a parked vCPU's wait."""
        return self._read_area(trap.cpu, "area_wake_intid")

    # ------------------------------------------------ register writes that send a vCPU on

    def leave(self, values: tuple[int, ...], *, after_interrupt: bool = False) -> Mapping[str, int]:
        """Lets the caller that stopped return with x0, x1, ... set; at once, or after the next interrupt."""
        routine = f"standby_gicv{self._gic.version}" if after_interrupt else "return_to_guest"
        return {**_arguments(values), "pc": self._labels[routine]}

    def wait_for_interrupt(self, at_most_us: int | None = None) -> Mapping[str, int]:
        """Has the vCPU that stopped wait until an interrupt is pending; that ends in a trap, done.

        Args:
            at_most_us: microseconds of the guest's time after which it ends without one.
        """
        if at_most_us is None:
            return {"pc": self._labels[f"wait_for_interrupt_gicv{self._gic.version}"]}
        return {"x0": at_most_us, "pc": self._labels["wait_at_most"]}

    def delay(self, time_us: int) -> Mapping[str, int]:
        """Has the vCPU that stopped wait for microseconds of the guest's time; that ends in a trap, done."""
        return {"x0": time_us, "pc": self._labels["delay"]}

    def park(self, cpu: int) -> Mapping[str, int]:
        """Has a suspended vCPU wait at EL2, with the machine going on; a trap tells what wakes it."""
        return {
            "x0": self._area(cpu),
            "x3": _TICK,
            "x4": self._priority_mask,
            "x5": self._wake_ppis,
            "pc": self._labels[f"park_gicv{self._gic.version}"],
        }

    # ------------------------------------------------- steps that run one vCPU to its next trap

    def run(self, cpu: int, writes: Mapping[str, int], timeout_s: float = _TIMEOUT_S) -> Registers:
        """Sends a vCPU to a routine of the monitor's, and waits until that is done.

        Args:
            cpu: the vCPU.
            writes: registers to set first, PC among them.
            timeout_s: seconds that it may take.

        Raises:
            TargetError: it ended somewhere else.
        """
        thread = self._threads[cpu]
        self._client.resume(thread, writes=writes)
        while True:
            trap = self.identify(self._client.wait_stop(timeout_s))
            if trap is not None and trap.cpu == cpu:
                break
            # Late news of another vCPU, which stands at its trap and will report it again.
            self._client.resume(thread)
        if trap.kind is TrapKind.DONE:
            return trap.registers
        raise TargetError(
            f"vCPU {cpu} did not finish what the EL2 monitor should do: "
            + (str(self.unexpected(trap)) if trap.kind is TrapKind.UNEXPECTED else trap.kind.value)
        )

    def step(self, cpu: int, writes: Mapping[str, int]) -> Registers:
        """One instruction of one vCPU, after register writes.

        Returns:
            its registers after it.
        """
        thread = self._threads[cpu]
        before = self._client.read_registers(thread)["pc"] if "pc" not in writes else writes["pc"]
        self._client.resume(thread, step=True, writes=writes)
        while True:
            stop = self._client.wait_stop(_TIMEOUT_S)
            registers = self._client.read_registers(thread)
            if stop.thread in {thread, None} or registers["pc"] != before:
                return registers
            # Late news of another vCPU came before the step was done.
            self._client.resume(thread, step=True)

    def unpark(self, cpu: int) -> None:
        """Ends a vCPU's wait: its GIC state is again as the guest left it."""
        self._run_program(cpu, write_system_registers({}), unpark=True)

    def write_system_registers(self, cpu: int, values: Mapping[str, int], *, unpark: bool = False) -> None:
        """Sets system registers by name, after its wait if it is parked; its general registers are lost."""
        self._run_program(cpu, write_system_registers(values), unpark=unpark)

    def read_system_registers(self, cpu: int, names: tuple[str, ...]) -> dict[str, int]:
        """Reads system registers by name; clobbers the vCPU's general registers."""
        self._run_program(cpu, read_system_registers(names))
        data = self._client.read_memory(self._area(cpu) + self._offsets["area_data"], 8 * len(names))
        return {
            name: int.from_bytes(data[8 * index : 8 * index + 8], "little")
            for index, name in enumerate(names)
        }

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
            self._client.write_registers(entry.vector_registers, self._threads[cpu])
        general = {"x0": entry.x0, **entry.general_registers}
        arrived = self.step(cpu, general | {"pc": self._labels["return_to_guest"]})
        pstate = arrived["cpsr"] & _PSTATE_MASK
        if (arrived["pc"], arrived["x0"], pstate) != (entry.pc, entry.x0, entry.pstate & _PSTATE_MASK):
            raise TargetError(
                f"vCPU {cpu} was sent to {entry.pc:#x} with x0 = {entry.x0:#x}, PSTATE {entry.pstate:#x}, "
                f"and is at {arrived['pc']:#x} with x0 = {arrived['x0']:#x}, PSTATE {arrived['cpsr']:#x}"
            )

    def with_endianness(self, entry: EntryState, cpu: int) -> EntryState:
        """An entry state with the endianness (SCTLR_EL1.EE) of a vCPU, if it is to inherit that.

        Then the vCPU's general registers are lost.
        """
        if not entry.inherits_endianness:
            return entry
        endianness = self.read_system_registers(cpu, ("SCTLR_EL1",))["SCTLR_EL1"] & _SCTLR_EE
        sctlr = entry.system_registers["SCTLR_EL1"] & ~_SCTLR_EE | endianness
        return replace(entry, system_registers={**entry.system_registers, "SCTLR_EL1": sctlr})

    def scrub(self, cpu: int, memory: Iterable[range]) -> None:
        """Zeros memory, but for what belongs to the monitor; the vCPU's general registers are lost."""
        for part in memory:
            before = (part.start, min(part.stop, self._reserved.start))
            behind = (max(part.start, self._reserved.end), part.stop)
            for start, end in (before, behind):
                if start < end:
                    self.run(cpu, {"x0": start, "x1": end, "pc": self._labels["scrub"]}, _SCRUB_TIMEOUT_S)

    def restore(self, trap: Trap) -> None:
        """Puts a caller's general registers back, PC among them, after steps that used them."""
        values = {name: trap.registers[name] for name in (*_GENERAL, "pc")}
        self._client.write_registers(values, self._threads[trap.cpu])

    def power_on(self, caller: int, cpu: int, mpidr: int) -> int:
        """Has the firmware below EL2 power on ``cpu``, which will trap at its entry.

        ``caller`` makes the call; its general registers are lost.

        Returns:
            the firmware's return code, signed.
        """
        self._prepare_area(cpu)
        writes = self._firmware_call(_CPU_ON, mpidr, self._labels["entry"], self._area(cpu))
        return _signed(self.run(caller, writes)["x0"])

    def power_off(self, cpu: int) -> None:
        """Has the firmware below EL2 power off ``cpu``.

        Stepped, so that it is off when this returns: it will not stop anywhere after.
        """
        self.step(cpu, self._firmware_call(_CPU_OFF))

    def guest_registers(self, cpu: int, *, in_monitor: bool) -> dict[str, int]:
        """All that the stub tells of a vCPU's registers, as its guest has them.

        Args:
            cpu: the vCPU.
            in_monitor: it is at the monitor's trap, with the guest's general registers in place.
        """
        every = self._client.read_all_registers(self._threads[cpu], without=self._not_the_guests)
        registers = {name: value for name, value in every.items() if name not in _LEAVING}
        if in_monitor:
            own = {"pc": "ELR_EL2", "cpsr": "SPSR_EL2", "sp": "SP_EL1"}
            registers |= {name: every[source] for name, source in own.items() if source in every}
        return registers

    def inject_undefined(self, trap: Trap, esr: int) -> None:
        """Has a caller take a synchronous exception to EL1 (Arm ARM, AArch64.TakeException) with ``esr``."""
        state = self.read_system_registers(trap.cpu, ("ELR_EL2", "SPSR_EL2", "VBAR_EL1"))
        mode = state["SPSR_EL2"] & 0xF
        vector = _VECTOR_LOWER_EL if mode == _EL0T else _VECTOR_SP_EL0 if mode == _EL1T else _VECTOR_SP_EL1
        at = state["ELR_EL2"]
        if self.call(trap).conduit is Conduit.SMC:
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
        """Tells the monitor where a vCPU's interrupt controller is, and that it has saved nothing of it."""
        frames = (self._gic.distributor, self._gic.cpu_frame(cpu))
        self._client.write_memory(
            self._area(cpu) + self._offsets["area_distributor"],
            b"".join(frame.to_bytes(8, "little") for frame in frames),
        )
        self._client.write_memory(self._area(cpu) + self._offsets["area_gic_saved"], bytes(8))

    def _run_program(self, cpu: int, program: Program, *, unpark: bool = False) -> None:
        area = self._area(cpu)
        for name, content, room in (
            ("area_program", program.code, self._offsets["area_size"] - self._offsets["area_program"]),
            ("area_data", program.data, self._offsets["area_program"] - self._offsets["area_data"]),
        ):
            if len(content) > room:
                raise InternalError(
                    f"a program for the EL2 monitor is too long: {len(content)} > {room} bytes"
                )
            self._client.write_memory(area + self._offsets[name], content)
        routine = f"unpark_gicv{self._gic.version}" if unpark else "run_program"
        self.run(cpu, {"x0": area, "pc": self._labels[routine]})

    def _firmware_call(self, *arguments: int) -> Mapping[str, int]:
        return _arguments(arguments) | {"pc": self._labels["firmware_call"]}

    def _area(self, cpu: int) -> int:
        return self._reserved.start + cpu * self._offsets["area_size"]

    def _read_area(self, cpu: int, field: str) -> int:
        return int.from_bytes(self._client.read_memory(self._area(cpu) + self._offsets[field], 8), "little")


def _arguments(values: Iterable[int]) -> dict[str, int]:
    return {f"x{number}": value for number, value in enumerate(values)}


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value

"""Trap sources with code of ours in the guest's machine, a monitor, that vCPUs wait in.

Whatever the monitor has to say ends at its one trap; from there a vCPU is sent on by setting its PC to
one of the monitor's routines. What takes several steps (a program, a firmware call) runs that vCPU
alone until its next trap, so that nothing else of the machine moves in between.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import ClassVar

from hil_agent.errors import InternalError, TargetError
from hil_agent.psci.entry import VECTORS_ZERO, EntryState
from hil_agent.rsp import BreakpointKind, Registers, StopReply, ThreadId
from hil_agent.trap.injection import check_writable, inject
from hil_agent.trap.kind import Setting
from hil_agent.trap.program import Program, read_system_registers, write_system_registers
from hil_agent.trap.source import Trap, TrapKind

_TIMEOUT_S = 5.0
_SCRUB_TIMEOUT_S = 120.0
_SCTLR_EE = 1 << 25
_GENERAL = tuple(f"x{number}" for number in range(31))
_INSTRUCTION = 4
EL_SHIFT, EL_MASK = 2, 3
"""Where the exception level is in PSTATE."""
PSTATE_MASK = 0x3DF
"""DAIF and mode in PSTATE."""
FLAGS_SHIFT = 28
"""Where NZCV is in PSTATE."""

_NOT_THE_GUESTS = re.compile(
    r".*_EL[23]|ID_.*|MVFR\d_.*|(MIDR|MPIDR|REVIDR|AIDR|CTR|CLIDR|CCSIDR|DCZID|RVBAR|DUMMY|RES_)\w*"
)
"""State of higher exception levels, and what identifies a CPU and never changes."""

_CPU_OFF, _CPU_ON = 0x84000002, 0xC4000003

_RESULTS = 18
"""Registers that a call may return values in, from x0 on (SMCCC, section 2.6)."""

_TICK = 10
"""How often a parked vCPU listens for us: 2^10 times a second."""

_ANY_PRIORITY = 0xFF
_TICK_ONLY = 0x08
VIRTUAL_TIMER, PHYSICAL_TIMER = 1 << 27, 1 << 30
"""The timers of EL1, by their bits among the private interrupts (Arm BSA)."""


class MonitoredTrapSource:
    """Puts a monitor to work. vCPU 0 is expected to start at the monitor's ``entry``."""

    kinds: ClassVar[Mapping[str, TrapKind]] = {
        "kind_entry": TrapKind.ENTRY,
        "kind_done": TrapKind.DONE,
        "kind_wake": TrapKind.WAKE,
    }
    """What a trap is by the monitor's own label for it."""

    exception_level: ClassVar[int]
    """Where the monitor runs."""

    leaving: ClassVar[tuple[str, ...]] = ()
    """The registers of that level that hold what is the guest's while a vCPU is in the monitor."""

    timer_ppis: ClassVar[int] = VIRTUAL_TIMER | PHYSICAL_TIMER
    """The guest's timers."""

    firmware_routine = "firmware_call"
    """The monitor's routine that calls the firmware below."""

    def __init__(self, setting: Setting) -> None:
        self._client = client = setting.client
        self._image = setting.monitor.image
        self._code = setting.code
        self._reserved = setting.reserved
        self._offsets = setting.monitor.labels
        self._labels = {name: setting.code + offset for name, offset in self._offsets.items()}
        self._kinds = {self._offsets[label]: kind for label, kind in self.kinds.items()}
        self._trap = self._labels["trap"]
        self._threads: list[ThreadId] = client.threads()
        self._cpus = {thread: cpu for cpu, thread in enumerate(self._threads)}
        self._gic = setting.gic
        self._not_the_guests = frozenset(
            name
            for name in client.description.registers
            if _NOT_THE_GUESTS.fullmatch(name) and name not in self.leaving
        )
        described = client.description.registers
        self._vectors = {name: name if name in described else f"z{name[1:]}" for name in VECTORS_ZERO}
        self._priority_mask = _ANY_PRIORITY if setting.wake_by_interrupt else _TICK_ONLY
        self._wake_ppis = self.timer_ppis if setting.wake_by_timer else 0

    def arm(self) -> None:
        """Sets the monitor's one breakpoint, which stays over resets of the machine."""
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
        """The trap that a stop is; None if none of ours: an interrupt, a breakpoint of others."""
        cpu = self.cpu(stop.thread)
        return None if cpu is None else self._trap_at(cpu, self._client.read_registers())

    def _trap_at(self, cpu: int, registers: Registers) -> Trap | None:
        """The trap that a vCPU is at, with these registers.

        Breakpoints go by virtual address, so a guest that has mapped something at the monitor's address
        can hit ours: only the monitor's own exception level counts.
        """
        if registers["pc"] != self._trap:
            return None
        pstate = registers["cpsr"]
        kind = self._kinds.get(pstate >> FLAGS_SHIFT)
        if kind is None or pstate >> EL_SHIFT & EL_MASK != self.exception_level:
            return None
        return Trap(kind, cpu, registers)

    def about_to_call(self, cpu: int) -> Trap | None:  # noqa: ARG002 - to be overridden
        """The call that a vCPU stands before, where calls are caught at the guest's own instructions."""
        return None

    def refreshed(self, trap: Trap) -> Trap | None:
        """A trap with the registers that its vCPU has now; None if it is there no more."""
        return self._trap_at(trap.cpu, self._client.read_registers(self._threads[trap.cpu]))

    def wake_interrupt(self, trap: Trap) -> int:
        """INTID of the interrupt that ended a parked vCPU's wait."""
        return self._read_area(trap.cpu, "area_wake_intid")

    # ------------------------------------------------ register writes that send a vCPU on

    def wait_for_interrupt(self, trap: Trap, at_most_us: int | None = None) -> Mapping[str, int]:
        """Has a caller wait until an interrupt is pending; that ends in a trap, done.

        Args:
            trap: where it is.
            at_most_us: microseconds of the guest's time after which it ends without one.
        """
        self._bring_in(trap.cpu)
        if at_most_us is None:
            routine = self._labels[f"wait_for_interrupt_gicv{self._gic.version}"]
            return {"x0": self._area(trap.cpu), "pc": routine}
        return {"x0": at_most_us, "pc": self._labels["wait_at_most"]}

    def delay(self, trap: Trap, time_us: int) -> Mapping[str, int]:
        """Has a caller wait for microseconds of the guest's time; that ends in a trap, done."""
        self._bring_in(trap.cpu)
        return {"x0": time_us, "pc": self._labels["delay"]}

    def park(self, trap: Trap) -> Mapping[str, int]:
        """Has a suspended caller wait, with the machine going on; a trap tells what wakes it."""
        self._bring_in(trap.cpu)
        return {
            "x0": self._area(trap.cpu),
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
        self._bring_in(cpu)
        self._client.resume(thread, writes=writes)
        while True:
            trap = self.identify(self._client.wait_stop(timeout_s))
            if trap is not None and trap.cpu == cpu and trap.kind is not TrapKind.DEALT_WITH:
                break
            # Late news of another vCPU, which stands at its trap and will report it again.
            self._client.resume(thread)
        if trap.kind is TrapKind.DONE:
            return trap.registers
        raise TargetError(
            f"vCPU {cpu} did not finish what the monitor should do: {trap.problem or trap.kind.value}"
        )

    def step(self, cpu: int, writes: Mapping[str, int]) -> Registers:
        """One instruction of one vCPU, after register writes, PC among them.

        Returns:
            its registers after it.
        """
        thread = self._threads[cpu]
        self._client.resume(thread, step=True, writes=writes)
        while True:
            stop = self._client.wait_stop(_TIMEOUT_S)
            registers = self._client.read_registers(thread)
            if stop.thread in {thread, None} or registers["pc"] != writes["pc"]:
                return registers
            # Late news of another vCPU came before the step was done.
            self._client.resume(thread, step=True)

    def unpark(self, cpu: int) -> None:
        """Ends a vCPU's wait: its GIC state is again as the guest left it."""
        self._run_program(cpu, write_system_registers({}), unpark=True)

    def write_system_registers(self, cpu: int, values: Mapping[str, int], *, unpark: bool = False) -> None:
        """Sets system registers by name, after its wait if it is parked; its general registers are lost."""
        self._run_program(cpu, write_system_registers(values), unpark=unpark)

    def write_vector_registers(self, cpu: int, values: Mapping[str, int]) -> None:
        """Sets v0 to v31, which a stub calls z0 to z31 where the vCPU has SVE: then with all above zero."""
        writes = {self._vectors[name]: value for name, value in values.items()}
        self._client.write_registers(writes, self._threads[cpu])

    def read_system_registers(self, cpu: int, names: tuple[str, ...]) -> dict[str, int]:
        """Reads system registers by name; clobbers the vCPU's general registers."""
        self._run_program(cpu, read_system_registers(names))
        data = self._client.read_memory(self._area(cpu) + self._offsets["area_data"], 8 * len(names))
        return {
            name: int.from_bytes(data[8 * index : 8 * index + 8], "little")
            for index, name in enumerate(names)
        }

    def set_system_register(self, cpu: int, name: str, value: int) -> None:
        """Gives one system register a value, wherever the vCPU stands; all else of it is as before.

        Raises:
            UsageError: it is none that can be written there.
            StateError: the vCPU is where nothing can be written.
        """
        before = self._client.read_registers(self._threads[cpu])
        if not self.holds(before):
            inject(self._client, self._threads[cpu], name, value)
            return
        check_writable(name, self.exception_level)
        kept = {register: before[register] for register in (*_GENERAL, "pc", "cpsr")}
        self.write_system_registers(cpu, {name: value})
        self._client.write_registers(kept, self._threads[cpu])

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

    def power_on(self, caller: int, cpu: int, mpidr: int) -> int:
        """Has the firmware below power on ``cpu``, which will trap at its entry.

        ``caller`` makes the call; its general registers are lost.

        Returns:
            the firmware's return code, signed.
        """
        self._bring_in(caller)
        self._prepare_area(cpu)
        writes = self._firmware_call(_CPU_ON, mpidr, self._labels["entry"], self._area(cpu))
        return _signed(self.run(caller, writes)["x0"])

    def power_off(self, cpu: int, keeps: tuple[str, ...] = ()) -> Mapping[str, int]:
        """Has the firmware below power off ``cpu``.

        Stepped, so that it is off when this returns: it will not stop anywhere after.

        Args:
            cpu: the vCPU.
            keeps: system registers, and v0 to v31, that are wanted of it.

        Returns:
            their values.
        """
        self._bring_in(cpu)
        kept: dict[str, int] = {}
        if vectors := VECTORS_ZERO.keys() & set(keeps):
            others = self._client.description.registers.keys() - self._vectors.values()
            every = self._client.read_all_registers(self._threads[cpu], without=others)
            kept = {name: every[self._vectors[name]] for name in vectors}
        if system := tuple(name for name in keeps if name not in vectors):
            kept |= self.read_system_registers(cpu, system)
        self.step(cpu, self._firmware_call(_CPU_OFF))
        return kept

    def pass_on(self, trap: Trap) -> tuple[int, ...]:
        """Has the firmware below answer a call: x0, x1, ... as it has left them, for `leave`."""
        registers = self.run(trap.cpu, self._firmware_call(trap.registers["x0"]))
        self.restore(trap)
        return tuple(registers[f"x{number}"] for number in range(_RESULTS))

    def holds(self, registers: Registers) -> bool:
        """Whether a vCPU with these registers is in our code, and not in the guest's."""
        raise NotImplementedError

    def restore(self, trap: Trap) -> None:
        """Puts a caller's registers back, PC among them, after steps that used them."""
        raise NotImplementedError

    # ------------------------------------------------------------------------- within

    def _expect_at(self, cpu: int, entry: EntryState, arrived: Registers) -> None:
        """Raises TargetError if a vCPU has not arrived at its entry point as it must."""
        pstate = arrived["cpsr"] & PSTATE_MASK
        if (arrived["pc"], arrived["x0"], pstate) != (entry.pc, entry.x0, entry.pstate & PSTATE_MASK):
            raise TargetError(
                f"vCPU {cpu} was sent to {entry.pc:#x} with x0 = {entry.x0:#x}, PSTATE {entry.pstate:#x}, "
                f"and is at {arrived['pc']:#x} with x0 = {arrived['x0']:#x}, PSTATE {arrived['cpsr']:#x}"
            )

    def _bring_in(self, cpu: int) -> None:
        """Sees to it that a vCPU is in the monitor; to be overridden where a caller may be elsewhere."""

    def _prepare_area(self, cpu: int) -> None:
        """Tells the monitor where a vCPU's interrupt controller is, and that it has saved nothing of it."""
        frames = (self._gic.distributor, self._gic.cpu_frame(cpu))
        self._client.write_memory(
            self._area(cpu) + self._offsets["area_distributor"],
            b"".join(frame.to_bytes(8, "little") for frame in frames),
        )
        self._client.write_memory(self._area(cpu) + self._offsets["area_gic_saved"], bytes(8))

    def _run_program(self, cpu: int, program: Program, *, unpark: bool = False) -> None:
        self._bring_in(cpu)
        area = self._area(cpu)
        for name, content, room in (
            ("area_program", program.code, self._offsets["area_size"] - self._offsets["area_program"]),
            ("area_data", program.data, self._offsets["area_program"] - self._offsets["area_data"]),
        ):
            if len(content) > room:
                raise InternalError(f"a program for the monitor is too long: {len(content)} > {room} bytes")
            self._client.write_memory(area + self._offsets[name], content)
        routine = f"unpark_gicv{self._gic.version}" if unpark else "run_program"
        self.run(cpu, {"x0": area, "pc": self._labels[routine]})

    def _firmware_call(self, *values: int) -> Mapping[str, int]:
        return arguments(values) | {"pc": self._labels[self.firmware_routine]}

    def _area(self, cpu: int) -> int:
        return self._reserved.start + cpu * self._offsets["area_size"]

    def _read_area(self, cpu: int, field: str) -> int:
        return int.from_bytes(self._client.read_memory(self._area(cpu) + self._offsets[field], 8), "little")


def arguments(values: Iterable[int]) -> dict[str, int]:
    """The registers that a call's arguments, or its results, are in."""
    return {f"x{number}": value for number, value in enumerate(values)}


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value

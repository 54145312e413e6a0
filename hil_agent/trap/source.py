"""What the executor asks of a trap source, and the values that go between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from hil_agent.psci.call import Call
from hil_agent.psci.entry import EntryState
from hil_agent.rsp import Registers, StopReply, ThreadId


class TrapKind(Enum):
    """Why a vCPU waits for us."""

    ENTRY = "a vCPU was powered on, and is to be sent to its entry point"
    CALL = "the guest has made a call"
    DONE = "what a vCPU was sent to is done"
    WAKE = "an interrupt ends a parked vCPU's wait"
    UNEXPECTED = "something that never should happen"
    DEALT_WITH = "something of the trap source's own, which is done"


@dataclass(frozen=True, slots=True)
class Trap:
    """A vCPU that waits for us.

    Attributes:
        kind: why.
        cpu: index of the vCPU.
        registers: its general registers, for a call still those of the guest.
        call: the call that it has made, if it has.
        problem: what is known of something unexpected, for people.
    """

    kind: TrapKind
    cpu: int
    registers: Registers
    call: Call | None = None
    problem: str = ""


class TrapSource(Protocol):
    """Catches calls, and moves vCPUs.

    Methods that return registers tell what to write into those of the vCPU that stopped, before the
    machine goes on with it. All others work at once, with the machine stopped, and leave it so.
    """

    def arm(self) -> None:
        """Sets what stops the machine at a trap, once; it stays over resets."""

    def start(self) -> None:
        """Prepares a machine that was just reset. vCPU 0 will trap at its entry."""

    def thread(self, cpu: int) -> ThreadId:
        """What the stub calls a vCPU."""

    def cpu(self, thread: ThreadId | None) -> int | None:
        """The vCPU that the stub calls so; None if it is none."""

    def identify(self, stop: StopReply) -> Trap | None:
        """The trap that a stop is; None if it is none of ours."""

    def refreshed(self, trap: Trap) -> Trap | None:
        """A trap with the registers that its vCPU has now; None if it is there no more."""

    def about_to_call(self, cpu: int) -> Trap | None:
        """The call that a vCPU stands before, where calls are caught at the guest's own instructions."""

    def holds(self, registers: Registers) -> bool:
        """Whether a vCPU with these registers is in our code, and not in the guest's."""

    def leaves(self, writes: Mapping[str, int]) -> bool:
        """Whether a vCPU that is sent on with these writes is in the guest one instruction later."""

    def step(self, cpu: int, writes: Mapping[str, int]) -> Registers:
        """One instruction of one vCPU, after register writes, PC among them.

        Returns:
            its registers after it.
        """

    def wake_interrupt(self, trap: Trap) -> int:
        """INTID of the interrupt that ended a parked vCPU's wait."""

    def leave(
        self, trap: Trap, values: tuple[int, ...], *, after_interrupt: bool = False
    ) -> Mapping[str, int]:
        """Lets a caller return with x0, x1, ... set; at once, or after the next interrupt."""

    def wait_for_interrupt(self, trap: Trap, at_most_us: int | None = None) -> Mapping[str, int]:
        """Has a caller wait until an interrupt is pending; that ends in a trap, done.

        Args:
            trap: where it is.
            at_most_us: microseconds of the guest's time after which it ends without one.
        """

    def delay(self, trap: Trap, time_us: int) -> Mapping[str, int]:
        """Has a caller wait for microseconds of the guest's time; that ends in a trap, done."""

    def park(self, trap: Trap) -> Mapping[str, int]:
        """Has a suspended caller wait, with the machine going on; a trap tells what wakes it."""

    def unpark(self, cpu: int) -> None:
        """Ends a vCPU's wait: its GIC state is again as the guest left it."""

    def restore(self, trap: Trap) -> None:
        """Puts a caller's registers back, PC among them, after steps that used them."""

    def enter(self, cpu: int, entry: EntryState, *, unpark: bool = False) -> None:
        """Sends a vCPU to its entry point, and sees it there: stopped before its first instruction.

        Args:
            cpu: the vCPU.
            entry: how it starts.
            unpark: its wait is ended first.

        Raises:
            TargetError: it did not arrive there in that state.
        """

    def with_endianness(self, entry: EntryState, cpu: int) -> EntryState:
        """An entry state with the endianness (SCTLR_EL1.EE) of a vCPU, if it is to inherit that.

        Then the vCPU's general registers are lost.
        """

    def power_on(self, caller: int, cpu: int, mpidr: int) -> int:
        """Has the firmware below power on ``cpu``, which will trap at its entry.

        The caller's general registers are lost.

        Returns:
            the firmware's return code, signed.
        """

    def power_off(self, cpu: int, keeps: tuple[str, ...] = ()) -> Mapping[str, int]:
        """Has the firmware below power off ``cpu``; it is off when this returns.

        Args:
            cpu: the vCPU.
            keeps: system registers, and v0 to v31, that are wanted of it.

        Returns:
            their values.
        """

    def pass_on(self, trap: Trap) -> tuple[int, ...]:
        """Has the firmware below answer a call: x0, x1, ... as it has left them, for `leave`."""

    def scrub(self, cpu: int, memory: Iterable[range]) -> None:
        """Zeros memory, but for what is ours; the vCPU's general registers are lost."""

    def inject_undefined(self, trap: Trap, esr: int) -> None:
        """Has a caller take a synchronous exception to EL1 with ``esr``."""

    def guest_registers(self, cpu: int, *, in_monitor: bool) -> dict[str, int]:
        """All that the stub tells of a vCPU's registers, as its guest has them.

        Args:
            cpu: the vCPU.
            in_monitor: it is at a trap, with the guest's general registers in place.
        """

    def as_guest_sees(self, cpu: int, registers: Registers, trap: Trap | None) -> Mapping[str, int]:
        """What of a vCPU that is in our code is other than the stub tells, as its guest has it: at its call.

        Args:
            cpu: the vCPU.
            registers: as the stub tells them.
            trap: where it waits for something, if it does.
        """

    def set_system_register(self, cpu: int, name: str, value: int) -> None:
        """Gives one system register a value, wherever the vCPU stands; all else of it is as before.

        Raises:
            UsageError: it is none that can be written there.
            StateError: the vCPU is where nothing can be written.
        """

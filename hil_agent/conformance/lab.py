"""What scenarios are made of: a machine with the probe on it, and what may be done there.

The lab knows which vCPUs are on. When it has lost one, or the machine, it takes a fresh one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from typing import Self

from hil_agent.board.schema import WakeSource
from hil_agent.conformance.case import Argument, Call, Landing, Mpidr
from hil_agent.conformance.function_ids import Id
from hil_agent.conformance.observation import (
    RESTARTED,
    SILENCE,
    STILL_ON,
    SWITCHED_OFF,
    Enters,
    Observation,
    Returns,
    Takes,
)
from hil_agent.conformance.probe import EL1H_MASKED, LANDINGS, Arrival, Probe, Record
from hil_agent.conformance.target import Target
from hil_agent.errors import GuestError, TargetError
from hil_agent.psci import Conduit
from hil_agent.psci.functions import MASK32

FLAGS = 0xA000_0000
"""PSTATE.N and C set, Z and V clear: what calls are made with, to see whether they are kept."""

_ANSWER_S = 2.0
_AT_ONCE_S = 0.05
_START_S = 0.5
_RESET_S = 5.0
_OFF = 1
_PATIENCE = 200

_STARTS = {Id.CPU_ON32, Id.CPU_ON64, Id.KVM_CPU_ON, Id.XEN_CPU_ON}
_AFFINITY_01 = 0xFFFF


class Lab:
    """A machine with the probe on it. A context manager, which ends it.

    Args:
        start: starts a machine.
    """

    def __init__(self, start: Callable[[], AbstractContextManager[Target]]) -> None:
        self._start = start
        self._stack = ExitStack()
        self._on: set[int] = set()
        self._lost = False
        self._started: Record | None = None

    def __enter__(self) -> Self:
        self._renew()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def probe(self) -> Probe:
        """The probe on the machine there is now."""
        return self._target.probe

    @property
    def cpus(self) -> int:
        """How many vCPUs the machine has."""
        return len(self.probe.mpidrs)

    @property
    def gic_version(self) -> int | None:
        """Version of its interrupt controller, where we know how to set it up."""
        return self._target.gic_version

    @property
    def conduit(self) -> Conduit:
        """The instruction that the guest is told to call with."""
        return self._target.conduit

    @property
    def wake(self) -> frozenset[WakeSource]:
        """What ends a suspend of the system."""
        return self._target.wake

    def arrange(self, on: Iterable[int]) -> None:
        """Sees to it that just these vCPUs are on, besides vCPU 0, which has the console.

        Raises:
            TargetError: that cannot be done even on a fresh machine.
        """
        wanted = {0, *on}
        if not self._lost:
            try:
                self._power(wanted)
            except TargetError:
                self.give_up()
        if self._lost:
            self._renew()
            self._power(wanted)

    def give_up(self) -> None:
        """Has the next scenario begin on a fresh machine: nobody knows what has become of this one."""
        self._lost = True

    # --------------------------------------------------------------------------------- calls

    def resolve(self, argument: Argument) -> int:
        """The number that an argument stands for on this machine."""
        match argument:
            case Mpidr(cpu, extra):
                return self.probe.mpidrs[cpu] | extra
            case Landing(number, offset):
                return self.probe.landing(number) + offset
            case _:
                return argument

    def prepare(self, call: Call) -> int:
        """Has the calling vCPU make a call when the probe is told to go; returns where it will be made."""
        args = [self.resolve(argument) for argument in call.args]
        registers = [call.function_id, *args, *[0] * (3 - len(args))]
        conduit = call.conduit or self.conduit
        return self.probe.prepare_call(call.cpu, registers, conduit, call.immediate, EL1H_MASKED | FLAGS)

    def call(self, call: Call) -> Observation:
        """Makes a call that comes back. A vCPU that it starts is waited for."""
        at = self.prepare(call)
        self.probe.go()
        came = self.observe(call, at, self.probe.arrival(call.cpu, _ANSWER_S))
        if came is SILENCE:
            self.give_up()
        elif came == Returns(0) and call.function_id & MASK32 in _STARTS:
            self._await_start(call)
        return came

    def start(self, call: Call) -> Observation:
        """Makes a call that starts another vCPU: how that vCPU is entered, or else what the caller gets."""
        came = self.call(call)
        if came != Returns(0):
            return came
        return SILENCE if self._started is None else self.entered(call, self._started)

    def power_on(self, cpu: int) -> None:
        """Starts a vCPU at an entry point of its own.

        Raises:
            GuestError: it did not start.
        """
        number, context_id = cpu % LANDINGS, 0x100 + cpu
        call = Call(Id.CPU_ON64, (Mpidr(cpu), Landing(number), context_id), cpu=self.probe.owner)
        came = self.start(call)
        if came != Enters(context_id):
            self.give_up()
            raise GuestError(f"vCPU {cpu} cannot be started: {call}: {came}")

    def power_off(self, cpu: int, function_id: int = Id.CPU_OFF) -> Observation:
        """Has a vCPU that does not have the console make the call CPU_OFF, or another that ends it."""
        call = Call(function_id, cpu=cpu)
        at = self.prepare(call)
        self.probe.go()
        for _ in range(_PATIENCE):
            if self.call(Call(Id.AFFINITY_INFO64, (Mpidr(cpu), 0), cpu=self.probe.owner)) == Returns(_OFF):
                self._on.discard(cpu)
                return SILENCE
            if (record := self.probe.arrival(cpu, 0.0)) is not None:
                return self.observe(call, at, record)
        self.give_up()
        return STILL_ON

    def suspend(self, call: Call, *, resume: bool = True) -> Observation:
        """Makes a call that suspends the system.

        Args:
            call: made by the vCPU that has the console, the only one that is on.
            resume: by command; else something else is to end the suspend.
        """
        at = self.prepare(call)
        self.probe.go()
        self.probe.ask(call.cpu, 0.0)
        if resume and not self.probe.answers_within(_AT_ONCE_S) and self._target.wait_suspended(_ANSWER_S):
            self._target.resume()
        if not self.probe.answers_within(_ANSWER_S):
            self.give_up()
            return SILENCE
        return self.observe(call, at, self.probe.answer())

    def end(self, call: Call, *, off: bool = False) -> Observation:
        """Makes a call that resets the machine, or switches it ``off``."""
        at = self.prepare(call)
        self.probe.go()
        self.probe.ask(call.cpu, 0.0)
        answered = self.probe.answers_within(_AT_ONCE_S if off else _RESET_S)
        if answered and not self.probe.has_restarted():
            return self.observe(call, at, self.probe.answer())
        self.give_up()
        if answered:
            return RESTARTED
        return SWITCHED_OFF if self._target.wait_off(_ANSWER_S) else SILENCE

    def observe(self, call: Call, at: int, record: Record | None) -> Observation:
        """What has come of a call that was made ``at`` an address."""
        if record is None:
            return SILENCE
        match record.arrival:
            case Arrival.RETURNED:
                return Returns(record.x[0], _changed(record))
            case Arrival.EXCEPTION:
                record = self.probe.record(call.cpu)
                return Takes(record.esr, record.elr - at)
            case Arrival.ENTERED:
                return self.entered(call, record)

    def arrived(self, cpu: int) -> Record | None:
        """How a vCPU that was just started has come to the probe."""
        record = self.probe.arrival(cpu, _START_S)
        self._on.add(cpu)
        if record is None:
            self.give_up()
        return record

    def entered(self, call: Call, record: Record) -> Enters:
        """A vCPU's arrival at an entry point, as what has come of ``call``."""
        landings = [arg.number for arg in call.args if isinstance(arg, Landing)]
        there = record.pc in map(self.probe.landing, landings)
        return Enters(record.x[0], None if there else record.pc)

    # ------------------------------------------------------------------------------------- within

    def _renew(self) -> None:
        self._stack.close()
        self._target = self._stack.enter_context(self._start())
        self._on = {0}
        self._lost = False

    def _power(self, wanted: set[int]) -> None:
        """May lose the machine."""
        for cpu in sorted(wanted - self._on):
            self.power_on(cpu)
        self.probe.hand_over(0)
        for cpu in self._on - wanted:
            self.power_off(cpu)

    def _await_start(self, call: Call) -> None:
        """Takes note of the vCPU that a call has started, if there is one, and of how it was entered."""
        target = self.resolve(call.args[0]) & _AFFINITY_01
        found = [cpu for cpu, mpidr in enumerate(self.probe.mpidrs) if mpidr & _AFFINITY_01 == target]
        self._started = self.arrived(found[0]) if found else None


def _changed(record: Record) -> tuple[str, ...]:
    names = [name for bit, name in enumerate(_KEPT) if record.changed >> bit & 1]
    return (*names, *(["PSTATE"] if record.pstate != EL1H_MASKED | FLAGS else []))


_KEPT = [f"x{number}" for number in range(31)] + ["sp"] + [f"v{number}" for number in range(32)]

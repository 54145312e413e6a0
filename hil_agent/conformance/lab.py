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
    SILENCE,
    SWITCHED_OFF,
    Observation,
)
from hil_agent.conformance.probe import EL1H_MASKED, Probe, Record
from hil_agent.conformance.target import Target
from hil_agent.errors import TargetTimeout

FLAGS = 0xA000_0000
"""PSTATE.N and C set, Z and V clear: what calls are made with, to see whether they are kept."""

_ANSWER_S = 2.0
_AT_ONCE_S = 0.1
_RESET_S = 20.0
_OFF = 1
_PATIENCE = 400

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
            for cpu in self._on - wanted:
                self.power_off(cpu)
        if self._lost:
            self._renew()
        for cpu in sorted(wanted - self._on):
            self.power_on(cpu)

    def give_up(self) -> None:
        """The machine is not used any more: nobody knows what has become of it."""
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
        conduit = call.conduit or self._target.conduit
        return self.probe.prepare_call(call.cpu, registers, conduit, call.immediate, EL1H_MASKED | FLAGS)

    def call(self, call: Call) -> Observation:
        """Makes a call that comes back."""
        at = self.prepare(call)
        self.probe.go()
        return self.observe(call, at, self.probe.arrival(call.cpu, _ANSWER_S))

    def suspend(self, call: Call, *, resume: bool = True) -> Observation:
        """Makes a call that suspends the system.

        Args:
            call: made by the vCPU that has the console, the only one that is on.
            resume: by command; else something else is to end the suspend.
        """
        at = self.prepare(call)
        self.probe.go()
        self.probe.ask(call.cpu, 0.0)
        try:
            if resume and not self.probe.answers_within(_AT_ONCE_S) and self._target.wait_suspended(_ANSWER_S):
                self._target.resume()
            return self.observe(call, at, self.probe.answer(_ANSWER_S))
        except TargetTimeout:
            self.give_up()
            return SILENCE

    def end(self, call: Call, *, off: bool = False) -> Observation:
        """Makes a call that resets the machine, or switches it ``off``."""
        at = self.prepare(call)
        self.probe.go()
        self.probe.ask(call.cpu, 0.0)
        if off and not self.probe.answers_within(_AT_ONCE_S):
            self.give_up()
            return SWITCHED_OFF if self._target.wait_off(_ANSWER_S) else SILENCE
        if not self.probe.answers_within(_RESET_S):
            self.give_up()
            return SILENCE
        try:
            record = self.probe.answer(0.0)
        except ProtocolError: ...
        return self.observe(call, at, record)

    def observe(self, call: Call, at: int, record: Record | None) -> Observation:
        """What has come of a call that was made ``at`` an address."""

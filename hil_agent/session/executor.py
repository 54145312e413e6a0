"""Carries out what the vPSCI decides: the one place that knows both PSCI and the target.

A stop becomes a call, the call an outcome, and the outcome's effects become register writes with
which the machine goes on. A call that is simply answered costs one read and one write.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import assert_never

from hil_agent.board.machine import Machine
from hil_agent.el2.trap_source import El2TrapSource, Trap, TrapKind
from hil_agent.errors import InternalError, TargetError
from hil_agent.psci.effects import (
    Effect,
    InjectUndefined,
    PowerOff,
    PowerOn,
    Return,
    Standby,
    Suspend,
    SystemOff,
    SystemReset,
)
from hil_agent.psci.entry import EntryState
from hil_agent.psci.functions import MASK64, ReturnCode
from hil_agent.psci.state import PowerState
from hil_agent.psci.vpsci import VirtualPsci
from hil_agent.rsp import Client, StopReply
from hil_agent.session.events import (
    CallAnswered,
    Crashed,
    Entered,
    Event,
    Listener,
    Resumed,
    Suspended,
    SwitchedOff,
    WasReset,
)

Writes = Mapping[str, int]
"""Registers of the vCPU that stopped, to be set before the machine goes on."""

_NONE: Writes = {}


@dataclass(slots=True)
class _Visit:
    """A caller that waits for its answer."""

    trap: Trap
    after_interrupt: bool = False
    failure: ReturnCode | None = None


class Executor:
    """Belongs to the thread that owns the target.

    Args:
        client: the target's debug stub.
        source: what catches calls and moves vCPUs.
        vpsci: what decides.
        machine: what is reset.
        boot: loads what a boot needs into memory, and tells how vCPU 0 starts.
        listeners: who is told what happened.

    Attributes:
        vpsci: as given.
        ended: the guest has switched itself off or is lost, and the machine must not go on.
    """

    def __init__(
        self,
        client: Client,
        source: El2TrapSource,
        vpsci: VirtualPsci,
        *,
        machine: Machine,
        boot: Callable[[], EntryState],
        listeners: tuple[Listener, ...],
    ) -> None:
        self.vpsci = vpsci
        self.ended = False
        self._client = client
        self._source = source
        self._machine = machine
        self._boot = boot
        self._listeners = listeners
        self._entries: dict[int, Callable[[], EntryState]] = {}
        self._parked: Trap | None = None
        self._reactions: Mapping[TrapKind, Callable[[Trap], Writes]] = {
            TrapKind.ENTRY: self._on_entry,
            TrapKind.WAKE: self._on_wake,
            TrapKind.UNEXPECTED: self._on_unexpected,
            TrapKind.DONE: self._on_done,
        }

    def start(self) -> None:
        """Arms the traps, and lets a machine go that stands before its first instruction."""
        self._source.arm()
        self._power_up()
        self._client.resume()

    def handle(self, stop: StopReply, *, hold: bool = False) -> None:
        """Deals with a stop and lets the machine go on; with ``hold`` it stays stopped.

        Raises:
            TargetError: the machine did not do what it must.
        """
        began = time.perf_counter()
        trap = self._source.identify(stop)
        reaction = self._reactions.get(trap.kind) if trap else None
        if trap is None:
            self._go_on(_NONE, hold=hold)
        elif reaction is not None:
            self._go_on(reaction(trap), hold=hold)
        else:
            call = self._source.call(trap)
            outcome = self.vpsci.call(call)
            visit = _Visit(trap)
            writes = _NONE
            for effect in outcome.effects:
                writes = self._carry_out(visit, effect)
            self._go_on(writes, hold=hold)
            result = outcome.result if visit.failure is None else visit.failure & MASK64
            self.tell(CallAnswered(call, result, time.perf_counter() - began))

    def tell(self, event: Event) -> None:
        """Tells every listener, in the thread that owns the target."""
        for listener in self._listeners:
            listener(event)

    # ------------------------------------------- asked from outside, with the machine stopped

    def resume(self, cause: str = "command") -> None:
        """Resumes the suspended guest.

        With the context cleared the vCPU goes on after its call, as in Xen's ``arch_domain_resume``.
        The suspend is over only when the vCPU has been seen at its entry point.

        Raises:
            StateError: it is not suspended; nothing has changed.
            TargetError: the vCPU did not arrive; it is still suspended, so that it can be tried again.
        """
        entry, context, parked = self.vpsci.resume(), self.vpsci.context, self._parked
        if parked is None:
            raise InternalError("the guest is suspended, but no vCPU is parked")
        self._source.unpark(parked.cpu)
        if entry is not None:
            self._source.enter(parked.cpu, entry)
        else:
            self._source.restore(parked)
            self._client.write_registers(self._source.leave(parked, (ReturnCode.SUCCESS,)))
        self.vpsci.resumed()
        self._parked = None
        self.tell(Resumed(context, cause))

    def reset(self) -> None:
        """Resets the machine: everything as after power-on."""
        self._machine.reset()
        self.vpsci.reset()
        self._power_up()
        self.ended = False
        self.tell(WasReset())

    def crashed(self, reason: str) -> None:
        """Gives the machine up."""
        self.ended = True
        self.tell(Crashed(reason))

    # ------------------------------------------------------------- traps that are no calls

    def _on_entry(self, trap: Trap) -> Writes:
        prepare = self._entries.pop(trap.cpu, None)
        if prepare is None:
            raise TargetError(f"vCPU {trap.cpu} entered EL2 though nobody powered it on")
        entry = prepare()
        self._source.enter(trap.cpu, entry)
        if self.vpsci.power(trap.cpu) is PowerState.ON_PENDING:
            self.vpsci.entered(trap.cpu)
        self.tell(Entered(trap.cpu, entry.pc))
        return _NONE

    def _on_wake(self, trap: Trap) -> Writes:
        self.resume(f"interrupt {self._source.wake_interrupt(trap)}")
        return _NONE

    def _on_unexpected(self, trap: Trap) -> Writes:
        self.crashed(f"vCPU {trap.cpu}: {self._source.unexpected(trap)}")
        return _NONE

    def _on_done(self, trap: Trap) -> Writes:
        raise InternalError(f"vCPU {trap.cpu} finished something that nobody waits for")

    # -------------------------------------------------------------------------- effects

    def _carry_out(self, visit: _Visit, effect: Effect) -> Writes:
        """Does what an effect asks for; returns the register writes with which its caller goes on."""
        match effect:
            case Return(values):
                if visit.failure is not None:
                    values = (visit.failure & MASK64, *values[1:])
                return self._source.leave(visit.trap, values, after_interrupt=visit.after_interrupt)
            case Standby():
                visit.after_interrupt = True
            case PowerOn():
                self._power_on(visit, effect)
            case PowerOff():
                self._source.power_off(visit.trap.cpu)
            case Suspend(context):
                self._parked = visit.trap
                self.tell(Suspended(context))
                return self._source.park(visit.trap.cpu)
            case SystemReset():
                self.reset()
            case SystemOff():
                self.ended = True
                self.tell(SwitchedOff())
            case InjectUndefined():
                self._source.inject_undefined(visit.trap, effect.esr)
            case _:
                assert_never(effect)
        return _NONE

    def _power_on(self, visit: _Visit, effect: PowerOn) -> None:
        code = self._source.power_on(visit.trap.cpu, effect.cpu, self.vpsci.mpidrs[effect.cpu])
        self._source.restore(visit.trap)
        if code == ReturnCode.SUCCESS:
            self._entries[effect.cpu] = lambda: effect.entry
        else:
            self.vpsci.power_on_failed(effect.cpu)
            visit.failure = ReturnCode.INTERNAL_FAILURE

    # --------------------------------------------------------------------------- within

    def _go_on(self, writes: Writes, *, hold: bool) -> None:
        if self.ended:
            return
        if hold:
            self._client.write_registers(writes)
        else:
            self._client.resume(writes=writes)

    def _power_up(self) -> None:
        self._parked = None
        self._entries = {0: self._boot}
        self._source.start()

"""Carries out what the vPSCI decides: the one place that knows both PSCI and the target.

A stop becomes a call, the call an outcome, and the outcome's effects become register writes with
which the machine goes on. A call that is simply answered costs one read and one write. When the
machine goes on, and which vCPUs of it, is not decided here but in ``run_control``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import assert_never

from hil_agent.board.machine import Machine
from hil_agent.engine.events import (
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
from hil_agent.errors import InternalError, TargetError
from hil_agent.psci.call import Call
from hil_agent.psci.context import ResumeContext
from hil_agent.psci.effects import (
    Delay,
    Effect,
    InjectUndefined,
    Outcome,
    PassOn,
    PowerDown,
    PowerOff,
    PowerOn,
    Return,
    Standby,
    Suspend,
    SystemOff,
    SystemReset,
    Wake,
)
from hil_agent.psci.entry import EntryState
from hil_agent.psci.functions import MASK64, Function, ReturnCode
from hil_agent.psci.state import PowerState
from hil_agent.psci.vpsci import VirtualPsci
from hil_agent.rsp import Client, StopReply
from hil_agent.trap.source import Trap, TrapKind, TrapSource

Writes = Mapping[str, int]
"""Registers of the vCPU that stopped, to be set before the machine goes on."""

Steps = Generator[Writes, None, Writes]
"""An answer that takes several: what each sends the caller's vCPU to, and in the end how it leaves."""

_NONE: Writes = {}


@dataclass(slots=True)
class _Visit:
    """A caller that is being answered.

    Attributes:
        trap: where it waits.
        wake_after_us: when a fault ends what it waits for, in microseconds; None if none does.
        after_interrupt: it returns only after the next interrupt.
        result: what it finds in x0 where that is not what the vPSCI has decided, as that could not be done,
            or the firmware below was asked.
    """

    trap: Trap
    wake_after_us: int | None
    after_interrupt: bool = False
    result: int | None = None


@dataclass(frozen=True, slots=True)
class Reaction:
    """What a vCPU that came to our trap goes on with.

    Attributes:
        cpu: the vCPU.
        writes: registers of it to be set first.
        call: the call that it made, if it was one.
        result: x0 as returned; None if the call does not return.
        fault: name of the fault in the answer.
        began: when the stop was seen, on the performance counter.
        caught: the call was not answered: see `Executor.answer_caught`.
    """

    cpu: int
    writes: Writes
    call: Call | None = None
    result: int | None = None
    fault: str | None = None
    began: float = 0.0
    caught: bool = False


class Executor:
    """Belongs to the thread that owns the target.

    Args:
        client: the target's debug stub.
        source: what catches calls and moves vCPUs.
        vpsci: what decides.
        answer: how it is asked, with faults in between if there are any.
        machine: what is reset.
        boot: loads what a boot needs into memory, and tells how vCPU 0 starts.
        listeners: who is told what happened.
        forget_answers: drops what is repeated without asking us; is called with the machine standing.

    Attributes:
        vpsci: as given.
        ended: the guest has switched itself off or is lost, and the machine must not go on.
        captured: every register of each vCPU that was not off when the guest last suspended, by vCPU.
        changed: those of them that were others when it had resumed, before and after.
        held: the host holds the guest, and the machine must not go on until it is resumed.
        wake_at: when a fault resumes the suspended guest, on the monotonic clock; None if none does.
        catching: functions whose calls are not answered at once, but caught for a debugger.
        followed: the vCPU that a debugger steps, and that must be seen when it leaves our code.
    """

    def __init__(
        self,
        client: Client,
        source: TrapSource,
        vpsci: VirtualPsci,
        *,
        answer: Callable[[Call], Outcome],
        machine: Machine,
        boot: Callable[[], EntryState],
        listeners: tuple[Listener, ...],
        forget_answers: Callable[[], None] = lambda: None,
    ) -> None:
        self.vpsci = vpsci
        self.ended = self.held = False
        self.wake_at: float | None = None
        self.captured: dict[int, dict[str, int]] = {}
        self.changed: dict[int, dict[str, tuple[int, int]]] = {}
        self.catching: set[Function] = set()
        self.followed: int | None = None
        self._client = client
        self._source = source
        self._ask = answer
        self._machine = machine
        self._boot = boot
        self._forget_answers = forget_answers
        self._listeners = listeners
        self._entries: dict[int, Callable[[], EntryState]] = {}
        self._kept: dict[int, Mapping[str, int]] = {}
        self._waiting: dict[int, Steps] = {}
        self._visits: dict[int, _Visit] = {}
        self._left: dict[int, Trap] = {}  # with which call each vCPU that is off has gone
        self._parked: Trap | None = None
        self._caught: Trap | None = None
        self._reactions: Mapping[TrapKind, Callable[[Trap], Writes]] = {
            TrapKind.ENTRY: self._on_entry,
            TrapKind.WAKE: self._on_wake,
            TrapKind.DONE: self._on_done,
            TrapKind.UNEXPECTED: self._on_unexpected,
            TrapKind.DEALT_WITH: lambda _trap: _NONE,
        }

    def start(self) -> None:
        """Arms the traps, and prepares a machine that stands before its first instruction."""
        self._source.arm()
        self._power_up()

    @property
    def may_go(self) -> bool:
        """Whether the machine may run at all."""
        return not (self.ended or self.held)

    def handle(self, stop: StopReply) -> Reaction | None:
        """Deals with a stop; the machine stays stopped. None if the stop is none of ours.

        Raises:
            TargetError: the machine did not do what it must.
        """
        trap = self._source.identify(stop)
        return None if trap is None else self.take(trap)

    def take(self, trap: Trap) -> Reaction:
        """Deals with a vCPU that is at a trap."""
        began = time.perf_counter()
        call = trap.call
        if call is None:
            return Reaction(trap.cpu, self._reactions[trap.kind](trap))
        if self.catching and self.vpsci.function(call) in self.catching:
            self._caught = trap
            return Reaction(trap.cpu, _NONE, call, caught=True)
        return self._answer_call(trap, call, began)

    @property
    def caught(self) -> Call | None:
        """The call that was caught and waits for `answer_caught`."""
        return self._caught.call if self._caught else None

    def answer_caught(self) -> Reaction:
        """Answers the call that was caught, with the registers that its vCPU has now."""
        began = time.perf_counter()
        trap = self._source.refreshed(self._caught) if self._caught else None
        if trap is None or trap.call is None:
            raise InternalError("no call has been caught")
        self._caught = None
        return self._answer_call(trap, trap.call, began)

    def gone_on(self, reaction: Reaction) -> None:
        """Tells of the call that was answered, after its vCPU has gone on."""
        if reaction.call is not None and not reaction.caught:
            handling_s = time.perf_counter() - reaction.began
            self.tell(CallAnswered(reaction.call, reaction.result, handling_s, reaction.fault))

    def waits_at(self, cpu: int) -> Trap | None:
        """The trap of a vCPU that is off, or waits in our code for something, or for a debugger."""
        if self._parked is not None and self._parked.cpu == cpu:
            return self._parked
        if self._caught is not None and self._caught.cpu == cpu:
            return self._caught
        visit = self._visits.get(cpu)
        return visit.trap if visit else self._left.get(cpu)

    def catch(self, function: Function) -> None:
        """Has the next calls of a function caught, before they are answered."""
        self._forget_answers()
        self.catching.add(function)

    def may_repeat(self, function: Function) -> bool:
        """Whether no debugger wants to see the next call of a function."""
        return function not in self.catching and self.followed is None

    def tell(self, event: Event) -> None:
        """Tells every listener, in the thread that owns the target."""
        for listener in self._listeners:
            listener(event)

    # ------------------------------------------- asked from outside, with the machine stopped

    def resume(self, cause: str = "command") -> None:
        """Resumes the suspended guest.

        The suspend is over only when the vCPU has been seen at its entry point. With the context cleared it
        goes on after its call, as in Xen's ``arch_domain_resume``; a guest that the host holds, where it is.

        Raises:
            StateError: it is not suspended; nothing has changed.
            TargetError: the vCPU did not arrive; it is still suspended, so that it can be tried again.
        """
        entry = self.vpsci.resume()
        if entry is None:
            self._return_to_caller(self.vpsci.profile.returning(ReturnCode.SUCCESS), cause)
            return
        cpu = self._suspended_vcpu().cpu
        if entry.inherits_endianness:
            self._source.unpark(cpu)
            self._source.enter(cpu, self._source.with_endianness(entry, cpu))
        else:
            self._source.enter(cpu, entry, unpark=True)
        self._resumed(cause)

    def resume_as_is(self, code: ReturnCode) -> None:
        """Abandons the suspend: the call returns with ``code``, as if nothing had been.

        Raises:
            StateError: the guest is not suspended, or not by a call.
        """
        self._return_to_caller(self.vpsci.resume_as_is(code), f"abandoned, {code.name}")

    def suspend_by_host(self) -> None:
        """Holds the guest where it is, all vCPUs stopped, as Xen's SCHEDOP_shutdown does: no context.

        Raises:
            StateError: it is suspended already.
        """
        self.vpsci.suspend_by_host()
        self.held = True
        self.captured = self._registers()
        self.tell(Suspended(None))

    def reset(self, cause: str = "command") -> None:
        """Resets the machine: everything as after power-on, but RAM that nothing is loaded to."""
        self._forget_answers()
        self._machine.reset()
        self.vpsci.reset()
        self._power_up()
        self.ended = self.held = False
        self.tell(WasReset(cause))

    def crashed(self, reason: str) -> None:
        """Gives the machine up."""
        self.ended = True
        self.tell(Crashed(reason))

    # ------------------------------------------------------------- traps that are no calls

    def _on_entry(self, trap: Trap) -> Writes:
        self._left.pop(trap.cpu, None)
        prepare = self._entries.pop(trap.cpu, None)
        if prepare is None:
            raise TargetError(f"vCPU {trap.cpu} came up though nobody powered it on")
        entry = prepare()
        self._source.enter(trap.cpu, entry)
        if self.vpsci.power(trap.cpu) is PowerState.ON_PENDING:
            self.vpsci.entered(trap.cpu)
        self.tell(Entered(trap.cpu, entry.pc))
        return _NONE

    def _on_wake(self, trap: Trap) -> Writes:
        self.resume(f"interrupt {self._source.wake_interrupt(trap)}")
        return _NONE

    def _on_done(self, trap: Trap) -> Writes:
        steps = self._waiting.pop(trap.cpu, None)
        if steps is None:
            raise InternalError(f"vCPU {trap.cpu} finished something that nobody waits for")
        return self._next(trap.cpu, steps)

    def _on_unexpected(self, trap: Trap) -> Writes:
        self.crashed(f"vCPU {trap.cpu}: {trap.problem}")
        return _NONE

    # ----------------------------------------------------------------------- answering

    def _answer_call(self, trap: Trap, call: Call, began: float) -> Reaction:
        outcome = self._ask(call)
        visit = _Visit(trap, _wake_after(outcome))
        self._visits[trap.cpu] = visit
        writes = self._next(trap.cpu, self._answer(visit, outcome.effects))
        result = outcome.result if visit.result is None else visit.result
        return Reaction(trap.cpu, writes, call, result, outcome.fault, began)

    def _next(self, cpu: int, steps: Steps) -> Writes:
        """Goes on answering a caller: to where it has to wait for its vCPU's next trap, or to the end."""
        try:
            writes = next(steps)
        except StopIteration as end:
            self._visits.pop(cpu, None)
            final: Writes = end.value
            return final
        self._waiting[cpu] = steps
        return writes

    def _answer(self, visit: _Visit, effects: tuple[Effect, ...]) -> Steps:
        """Carries out effects in order.

        Yields the register writes that send the caller's vCPU to something that ends in a trap, and goes on
        after that. Returns those with which it leaves for good.
        """
        source, trap = self._source, visit.trap
        writes = _NONE
        for effect in effects:
            match effect:
                case Return(values):
                    if visit.result is not None:
                        values = (visit.result, *values[1:])
                    writes = source.leave(trap, values, after_interrupt=visit.after_interrupt)
                case PassOn():
                    passed = source.pass_on(trap)
                    visit.result = passed[0]
                    writes = source.leave(trap, passed)
                case Standby(timed):
                    if timed or visit.wake_after_us is not None or trap.cpu == self.followed:
                        yield source.wait_for_interrupt(trap, visit.wake_after_us)
                        source.restore(trap)
                        if timed:
                            self.vpsci.woke(trap.cpu)
                    else:
                        visit.after_interrupt = True
                case PowerDown(entry):
                    entry = source.with_endianness(entry, trap.cpu)
                    yield source.wait_for_interrupt(trap, visit.wake_after_us)
                    source.enter(trap.cpu, entry)
                    self.vpsci.woke(trap.cpu)
                    self.tell(Entered(trap.cpu, entry.pc))
                case Delay(time_us):
                    yield source.delay(trap, time_us)
                    source.restore(trap)
                case PowerOn():
                    self._power_on(visit, effect)
                case PowerOff(keeps):
                    self._kept[trap.cpu] = source.power_off(trap.cpu, keeps)
                    self._left[trap.cpu] = trap
                case Suspend(context):
                    writes = self._suspend(visit, context)
                case SystemReset(scrub_memory=scrub):
                    if scrub:
                        source.scrub(trap.cpu, self.vpsci.memory)
                    self.reset(effect.cause)
                case SystemOff():
                    self.vpsci.switch_off()
                    self.ended = True
                    self.tell(SwitchedOff(effect.cause))
                case InjectUndefined():
                    source.inject_undefined(trap, effect.esr)
                case Wake():
                    pass  # told the visit, before whatever it ends
                case _:
                    assert_never(effect)
        return writes

    def _suspend(self, visit: _Visit, context: ResumeContext) -> Writes:
        self._parked = visit.trap
        if visit.wake_after_us is not None:
            self.wake_at = time.monotonic() + visit.wake_after_us / 1e6
        self.tell(Suspended(context))
        self.captured = self._registers(in_monitor=visit.trap.cpu)
        return self._source.park(visit.trap)

    def _power_on(self, visit: _Visit, effect: PowerOn) -> None:
        caller = visit.trap.cpu
        entry = self._source.with_endianness(effect.entry, caller).keeping(self._kept.get(effect.cpu, {}))
        code = self._source.power_on(caller, effect.cpu, self.vpsci.mpidrs[effect.cpu])
        self._source.restore(visit.trap)
        if code == ReturnCode.SUCCESS:
            self._entries[effect.cpu] = lambda: entry
        else:
            self.vpsci.power_on_failed(effect.cpu)
            visit.result = ReturnCode.INTERNAL_FAILURE & MASK64

    # --------------------------------------------------------------------------- within

    def _return_to_caller(self, answer: Return, cause: str) -> None:
        """Lets a suspended guest go on without an entry point."""
        if self._parked is not None:
            parked = self._suspended_vcpu()
            self._source.unpark(parked.cpu)
            self._source.restore(parked)
            self._client.write_registers(self._source.leave(parked, answer.values))
            self._resumed(cause, in_monitor=parked.cpu)
        else:
            self._resumed(cause)

    def _registers(self, *, in_monitor: int | None = None) -> dict[int, dict[str, int]]:
        """Every register of each vCPU that is not off, of which ``in_monitor`` is at the monitor's trap."""
        return {
            cpu: self._source.guest_registers(cpu, in_monitor=cpu == in_monitor)
            for cpu, power in enumerate(self.vpsci.powers)
            if power is not PowerState.OFF
        }

    def _suspended_vcpu(self) -> Trap:
        if self._parked is None:
            raise InternalError("the guest is suspended by a call, but no vCPU is parked")
        return self._parked

    def _resumed(self, cause: str, *, in_monitor: int | None = None) -> None:
        context = self.vpsci.context
        self._parked = self.wake_at = None
        self.changed = {
            cpu: {name: (before[name], now) for name, now in after.items() if before.get(name, now) != now}
            for cpu, after in self._registers(in_monitor=in_monitor).items()
            if (before := self.captured.get(cpu)) is not None
        }
        self.vpsci.resumed()
        self.held = False
        self.tell(Resumed(context, cause))

    def _power_up(self) -> None:
        self._parked = self.wake_at = self._caught = None
        self._waiting.clear()
        self._visits.clear()
        self._left.clear()
        self._kept.clear()
        self._entries = {0: self._boot}
        self._source.start()


def _wake_after(outcome: Outcome) -> int | None:
    """When a fault ends what the caller waits for; one that comes before it waits is lost."""
    waits = False
    for effect in outcome.effects:
        if isinstance(effect, Wake) and waits:
            return effect.after_us
        waits = waits or isinstance(effect, Standby | PowerDown | Suspend)
    return None

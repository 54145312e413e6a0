"""When the machine goes on, and which vCPUs of it: at once for us, else as debuggers want it.

Without a debugger every stop is dealt with and the machine goes on. Debuggers share one machine: what
stops for one has stopped for all, and one of them lets it go. What they must not notice, calls above
all, is done in between: a vCPU that steps over its call stops again where the call has led it, or behind
it at once if it does not return.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final

from hil_agent.engine.breakpoints import Breakpoint, Breakpoints
from hil_agent.engine.events import Released, Stopped
from hil_agent.engine.executor import Executor, Reaction, Writes
from hil_agent.errors import StateError
from hil_agent.psci.call import Call
from hil_agent.psci.state import PowerState
from hil_agent.rsp import EVERYONE, Client, Registers, StopReason, StopReply, ThreadId
from hil_agent.rsp.stop import SIGINT, SIGTRAP
from hil_agent.trap.source import TrapSource

_TIMEOUT_S: Final = 5.0
_STEP_S: Final = 0.0005
_NONE: Writes = {}


@dataclass(frozen=True, slots=True)
class Plan:
    """How a debugger lets the machine go.

    Attributes:
        step: the vCPU that executes one instruction; None if all run freely.
        going: the vCPUs that run freely; None for all (but the one that steps).
    """

    step: int | None = None
    going: frozenset[int] | None = None


FREELY: Final = Plan()


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop that debuggers are told.

    Attributes:
        cpu: the vCPU that it is about.
        signal: in GDB's own numbering.
        reason: which kind of watchpoint, if it was one.
        address: the data address that it saw.
        call: the call that was caught and is not answered yet.
    """

    cpu: int
    signal: int = SIGTRAP
    reason: StopReason | None = None
    address: int | None = None
    call: Call | None = None


class RunControl:
    """Belongs to the thread that owns the target.

    Args:
        client: the target's debug stub.
        executor: what deals with our own stops.
        source: tells whether a vCPU is in our code.

    Attributes:
        executor: as given.
        holding: debuggers hold the machine.
        latest: the latest stop that debuggers were told.
        shows_own_code: our own code is debugged like any other.
        halts: at the first trap, a guest's entry, the machine is held.
        on_stop: is told each stop that is for debuggers; with None there are no debuggers.
    """

    def __init__(self, client: Client, executor: Executor, source: TrapSource) -> None:
        self.executor = executor
        self.holding = False
        self.latest = Stop(0)
        self.shows_own_code = False
        self.halts = False
        self.on_stop: Callable[[Stop], None] | None = None
        self._client = client
        self._source = source
        self._breakpoints = Breakpoints()
        self._plan = FREELY
        self._told = False  # that debuggers hold the machine; a step is too short to be told
        self._left_from = 0  # where the vCPU that steps stood
        self._stuck: dict[int, tuple[int, list[Breakpoint]]] = {}  # which stopped at what, by vCPU: PC, which

    # ------------------------------------------------------------------ for the loop

    def handle(self, stop: StopReply) -> None:
        """Deals with a stop of the running machine."""
        at_breakpoint = self._at_breakpoint(stop)
        if at_breakpoint is not None:
            self._announce(Stop(at_breakpoint))
        elif (reaction := self.executor.handle(stop)) is not None:
            self._react(reaction)
        else:
            self._others_stop(stop)

    def pause(self) -> None:
        """Stops the machine for a moment. A call that was trapped just then is answered on the way."""
        if not self._client.running:
            return
        self._client.interrupt()
        stop = self._client.wait_stop(_TIMEOUT_S)
        reaction = None if self._at_breakpoint(stop) is not None else self.executor.handle(stop)
        if reaction is not None and self.executor.may_go:
            self._client.write_registers(reaction.writes, self._source.thread(reaction.cpu))
            self.executor.gone_on(reaction)

    def go_on(self) -> None:
        """Lets the machine go on after a moment's stop, unless there is a reason for it to stand."""
        if not self._client.running:
            self._go(None, _NONE)

    # ------------------------------------------------------------------ for debuggers

    def hold(self) -> None:
        """Stops the machine for debuggers; they are told, unless it stood already."""
        if not self.holding:
            self.pause()
            call = self.executor.caught
            cpu = self._source.cpu(self._client.thread)
            self._announce(Stop(cpu or 0, SIGTRAP if call else SIGINT, call=call))

    def resume(self, plan: Plan) -> None:
        """Lets the machine go; what debuggers were told to have stopped at a breakpoint gets past it."""
        if not self.holding:
            raise StateError("the machine runs already")
        self.holding = False
        self._plan, self.executor.followed = plan, plan.step
        if plan.step is None:
            self._release()
        if self.executor.caught is not None:
            stepped = self.executor.caught.cpu == plan.step
            # However the call returns, its vCPU has moved.
            self._left_from = -1 if stepped or plan.step is None else self._registers(plan.step)["pc"]
            self._react(self.executor.answer_caught())
            return
        if not self.executor.may_go:
            return
        if plan.step is None:
            stuck, self._stuck = self._stuck, {}
            for cpu, (pc, breakpoints) in stuck.items():
                if self._registers(cpu)["pc"] == pc and self._in_the_way(pc, breakpoints):
                    self._step_alone(cpu, breakpoints)
            self._go(None, _NONE)
        else:
            self._step(plan.step)

    def release(self) -> None:
        """Nobody debugs any more: everything goes on."""
        if self.holding:
            self.resume(FREELY)

    def insert(self, owner: Hashable, breakpoint_: Breakpoint) -> None:
        """Sets a breakpoint for ``owner``; the machine stands still.

        Raises:
            RefusedError: the target cannot have it.
        """
        if self._breakpoints.add(owner, breakpoint_):
            try:
                self._arm(breakpoint_)
            except BaseException:
                self._breakpoints.discard(owner, breakpoint_)
                raise

    def remove(self, owner: Hashable, breakpoint_: Breakpoint) -> None:
        """Takes ``owner``'s breakpoint back; the machine stands still."""
        if self._breakpoints.discard(owner, breakpoint_):
            self._disarm(breakpoint_)

    def remove_all(self, owner: Hashable) -> None:
        """Takes all of ``owner``'s breakpoints back; the machine stands still."""
        for each in self._breakpoints.of(owner):
            self.remove(owner, each)

    def has_breakpoints(self, owner: Hashable) -> bool:
        """Whether ``owner`` has set any."""
        return bool(self._breakpoints.of(owner))

    def reset(self) -> None:
        """Resets the machine for debuggers that hold it: it stands before the guest's first instruction."""
        self.executor.reset()
        if not self.holding:
            return
        self._client.resume(self._source.thread(0))
        while (reaction := self.executor.handle(self._client.wait_stop(_TIMEOUT_S))) is None:
            self._client.resume(self._source.thread(0))
        self._client.write_registers(reaction.writes, self._source.thread(0))

    # ------------------------------------------------------------------------- within

    def _at_breakpoint(self, stop: StopReply) -> int | None:
        """The vCPU that has stopped at a debugger's breakpoint, which is told before all else."""
        if not self._breakpoints or (cpu := self._source.cpu(stop.thread)) is None:
            return None
        registers = self._registers(cpu)
        here = self._breakpoints.at(registers["pc"])
        if not here or self._is_hidden(registers):
            return None
        self._stuck[cpu] = registers["pc"], here
        return cpu

    def _others_stop(self, stop: StopReply) -> None:
        """A stop that is none of ours."""
        cpu = self._source.cpu(stop.thread)
        if self.on_stop is None or cpu is None:
            self._go(None, _NONE)
            return
        if stop.code != SIGTRAP:
            self._announce(Stop(cpu, stop.code))
            return
        registers = self._registers(cpu)
        pc = registers["pc"]
        if stop.reason is not None and stop.address is not None:
            self._stuck[cpu] = pc, self._breakpoints.watching(stop.address)
            self._announce(Stop(cpu, reason=stop.reason, address=stop.address))
        elif self._is_hidden(registers):
            if self._breakpoints.at(pc):  # the guest has something of its own at this address
                self._step_alone(cpu)
            self._go(None, _NONE)
        elif cpu == self._plan.step:
            self._announce(Stop(cpu))
        else:  # QEMU ends the single steps of one vCPU only, that which it reports
            self._go(None, _NONE)

    def _react(self, reaction: Reaction) -> None:
        """Has the machine go on after a reaction; a step over a call that will not return is over."""
        if reaction.caught or self.halts:
            self.halts = False
            self._announce(Stop(reaction.cpu, call=reaction.call))
        elif reaction.cpu == self._plan.step and reaction.call is not None and self._stays(reaction.cpu):
            self._write(reaction.cpu, reaction.writes)
            self._announce(Stop(reaction.cpu))
        else:
            self._go(reaction.cpu, reaction.writes)
        self.executor.gone_on(reaction)

    def _announce(self, stop: Stop) -> None:
        self.holding = True
        self.latest = stop
        self._plan, self.executor.followed = FREELY, None
        if not self._told:
            self._told = True
            self.executor.tell(Stopped(stop.cpu))
        if self.on_stop is not None:
            self.on_stop(stop)

    def _release(self) -> None:
        if self._told:
            self._told = False
            self.executor.tell(Released())

    def _go(self, cpu: int | None, writes: Writes) -> None:
        """Lets the machine go on as it was told to; with register writes to a vCPU first."""
        if not self.executor.may_go:
            return
        if self.holding:
            self._write(cpu, writes)
        elif self.executor.caught is not None:
            self._announce(Stop(self.executor.caught.cpu, call=self.executor.caught))
        elif self._plan == FREELY:
            self._client.resume(writes=writes)
        elif self._plan.step is None:
            self._write(cpu, writes)
            self._resume_some()
        else:
            self._go_stepping(self._plan.step, cpu, writes)

    def _go_stepping(self, step: int, cpu: int | None, writes: Writes) -> None:
        if cpu == step and self._source.leaves(writes):
            self._source.step(cpu, writes)
        else:
            self._write(cpu, writes)
        registers = self._registers(step)
        if self._is_hidden(registers):
            if self._plan.going is not None and self.executor.waits_at(step) is None:
                self._client.resume(self._source.thread(step))  # to its trap, which is near
            else:
                self._release()
                self._client.resume()  # what its call waits for may need the others
        elif registers["pc"] != self._left_from:
            self._announce(Stop(step))
        else:
            self._resume_some()

    def _step(self, cpu: int) -> None:
        """One instruction of a vCPU, which may be a call."""
        registers = self._registers(cpu)
        stuck_at, breakpoints = self._stuck.pop(cpu, (None, []))
        pc = self._left_from = registers["pc"]
        if self._is_hidden(registers):
            self._go(None, _NONE)  # it steps when it comes out
        elif (call := self._source.about_to_call(cpu)) is not None:
            self._react(self.executor.take(call))
        elif self._in_the_way(pc, breakpoints if stuck_at == pc else []):
            self._step_alone(cpu, breakpoints)
            self._go(None, _NONE)
        else:
            self._resume_some()

    def _resume_some(self) -> None:
        """Lets those vCPUs go that the plan names."""
        step, going = self._plan.step, self._plan.going
        if going is None:
            others: tuple[ThreadId, ...] = (EVERYONE,)
        else:
            others = tuple(self._source.thread(cpu) for cpu in sorted(going) if cpu != step)
        if step is not None:
            self._client.resume(self._source.thread(step), step=True, others=others)
            self._await_step()
        elif others:
            self._client.resume(others[0], others=others[1:])

    def _await_step(self) -> None:
        """Deals with the end of a step if that comes at once, sooner than the loop would see it."""
        deadline = time.monotonic() + _STEP_S
        while time.monotonic() < deadline:
            if (stop := self._client.poll_stop()) is not None:
                self.handle(stop)
                return
            os.sched_yield()

    def _in_the_way(self, pc: int, stopped_by: Sequence[Breakpoint] = ()) -> list[Breakpoint]:
        """What keeps a vCPU from its instruction at ``pc``; a watchpoint only if it has stopped by that."""
        watches = [each for each in stopped_by if each.is_watchpoint and each in self._breakpoints]
        return self._breakpoints.at(pc) + watches

    def _step_alone(self, cpu: int, stopped_by: Sequence[Breakpoint] = ()) -> None:
        """One instruction of a vCPU, with what is in its way out of it; no other moves."""
        if (call := self._source.about_to_call(cpu)) is not None:
            reaction = self.executor.take(call)
            self._write(cpu, reaction.writes)
            self.executor.gone_on(reaction)
            return
        pc = self._registers(cpu)["pc"]
        lifted = self._in_the_way(pc, stopped_by)
        for each in lifted:
            self._disarm(each)
        try:
            self._source.step(cpu, {"pc": pc})
        finally:
            for each in lifted:
                self._arm(each)

    def _stays(self, cpu: int) -> bool:
        """Whether a vCPU that has made a call is going to be elsewhere when it is seen next, if at all."""
        power = self.executor.vpsci.power(cpu)
        return self.executor.may_go and power in {PowerState.OFF, PowerState.SUSPENDED}

    def _is_hidden(self, registers: Registers) -> bool:
        """Whether a vCPU is in our code, and debuggers do not want to see that."""
        return not self.shows_own_code and self._source.holds(registers)

    def _registers(self, cpu: int) -> Registers:
        return self._client.read_registers(self._source.thread(cpu))

    def _write(self, cpu: int | None, writes: Writes) -> None:
        if cpu is not None and writes:
            self._client.write_registers(writes, self._source.thread(cpu))

    def _arm(self, breakpoint_: Breakpoint) -> None:
        self._client.insert_breakpoint(breakpoint_.kind, breakpoint_.address, breakpoint_.length)

    def _disarm(self, breakpoint_: Breakpoint) -> None:
        self._client.remove_breakpoint(breakpoint_.kind, breakpoint_.address, breakpoint_.length)

"""A trapped call under the agent, against the least that any debugger has to pay for one, and against gdb."""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from time import perf_counter

from bench.gdb_python import gdb
from bench.result import Comparison, Result
from bench.trap_loop import WARM_UP, TrapLoop, trap_loop
from hil_agent.engine.events import CallAnswered, Event
from hil_agent.engine.executor import Executor
from hil_agent.engine.loop import TargetLoop
from hil_agent.engine.run_control import RunControl
from hil_agent.errors import InternalError
from hil_agent.psci import EntryState, VirtualPsci
from hil_agent.rsp import BreakpointKind, Client, StopReply, ThreadId
from hil_agent.rsp.packet import encode
from hil_agent.session.journal import Journal
from hil_agent.session.state import StateCell

_INSTRUCTION = 4
_TIMEOUT_S = 10.0
_RECEIVE_SIZE = 4096
_CONTINUE = encode(b"vCont;c")


@dataclass(frozen=True, slots=True)
class AgentTimes:
    """Seconds, for each call that the agent has answered.

    Attributes:
        cycles: from one answer to the next.
        handling: from the stop reply until the machine was told to go on. If the host has no CPU to spare,
            QEMU may run before the telling returns, and its time is in here.
    """

    cycles: list[float]
    handling: list[float]


def measure(turns: int, calls: int) -> list[Result]:
    """All variants, one after another in each of so many turns, with so many calls each."""
    turn_medians: dict[str, list[float]] = defaultdict(list)
    with trap_loop() as loop:
        for _ in range(turns):
            bare_times, least_times = bare(loop, calls), least(loop, calls)
            agent_times = agent(loop, calls)
            for variant, times in {
                "bare": bare_times,
                "least": least_times,
                "agent": agent_times.cycles,
                "handling": agent_times.handling,
                "gdb": gdb(loop, calls, keep_inserted=False),
                "tuned gdb": gdb(loop, calls, keep_inserted=True),
            }.items():
                turn_medians[variant].append(median(times))
    typical = {variant: median(medians) for variant, medians in turn_medians.items()}

    def compare(measured: str, measured_s: float, against: str, variant: str) -> Comparison:
        return Comparison(measured, measured_s, against, typical[variant], turns * calls)

    cycle, resumed = typical["agent"], typical["handling"] + typical["bare"]
    return [
        Result.slowdown(
            compare(
                "trapped call, from one to the next", cycle, "the same guest, PC + 4 and continue", "least"
            ),
            at_most=1.2,
        ),
        Result.slowdown(
            compare("trapped call, from stop reply to running", resumed, "bare stop and continue", "bare"),
            at_most=1.2,
        ),
        Result.speedup(compare("trapped call", cycle, "gdb's own Python", "gdb"), at_least=3.5),
        Result.speedup(compare("trapped call", cycle, "gdb, breakpoints kept inserted", "tuned gdb")),
    ]


def agent(
    loop: TrapLoop, calls: int, request: Sequence[int] = (), vpsci: VirtualPsci | None = None
) -> AgentTimes:
    """Has the agent answer calls, with all of a session that is at work then.

    Args:
        loop: the machine.
        calls: how many to answer.
        request: x0 to x3 of the call that the guest makes from now on, if it is to be another.
        vpsci: what answers; by default the one of the agent's default board.
    """
    answered: list[float] = []

    def note(event: Event) -> None:
        if not isinstance(event, CallAnswered):
            raise InternalError(f"the guest should do nothing but call, and there was {event}")
        answered.append(perf_counter())
        if len(answered) > WARM_UP + calls:
            target.end()

    with (
        _TimedClient(loop.machine.connect_stub()) as client,
        Journal(loop.folder / "journal.jsonl") as journal,
    ):
        client.handshake()
        source = loop.source(client)
        vpsci = vpsci or loop.vpsci()
        executor = Executor(
            client,
            source,
            vpsci,
            answer=vpsci.call,
            machine=loop.machine,
            boot=_is_booted,
            listeners=(StateCell().apply, journal.apply, note),
        )
        target = TargetLoop(client, RunControl(client, executor, source), loop.machine.last_words)
        source.arm()
        client.write_registers({f"x{19 + number}": value for number, value in enumerate(request)})
        client.resume()
        target.run()
    cycles = [after - before for before, after in pairwise(answered)]
    return AgentTimes(cycles[-calls:], client.handling[-calls:])


def bare(loop: TrapLoop, calls: int) -> list[float]:
    """Seconds of bare stops and continues: the PC stays on the breakpoint, which is hit again at once."""
    return _exchange(loop, calls, _CONTINUE, replies=1)


def least(loop: TrapLoop, calls: int) -> list[float]:
    """Seconds of the least that gets a guest past its trap: PC + 4 written, nothing read, and continue."""
    past_trap = b"P20=%b" % (loop.trap + _INSTRUCTION).to_bytes(8, "little").hex().encode()
    return _exchange(loop, calls, encode(past_trap) + _CONTINUE, replies=2)


def _exchange(loop: TrapLoop, calls: int, requests: bytes, *, replies: int) -> list[float]:
    """Seconds from each write of requests to the next stop, with nothing done in between."""
    connection = loop.machine.connect_stub()
    with Client(connection) as client:
        client.handshake()
        client.insert_breakpoint(BreakpointKind.HARDWARE, loop.trap)
        client.resume()
        client.wait_stop(_TIMEOUT_S)
        connection.settimeout(_TIMEOUT_S)
        times = []
        for _ in range(WARM_UP + calls):
            began = perf_counter()
            connection.sendall(b"+" + requests)
            _receive(connection, replies)
            times.append(perf_counter() - began)
    return times[-calls:]


def _receive(connection: socket.socket, replies: int) -> None:
    """Takes in so many packets; the last one is whole when two digits follow its ``#``."""
    received = b""
    while received.count(b"#") < replies or received[-3:-2] != b"#":
        received += connection.recv(_RECEIVE_SIZE)


class _TimedClient(Client):
    """Notes how long it takes from a stop reply until the machine is told to go on."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        self.handling: list[float] = []
        self._heard = 0.0

    def poll_stop(self) -> StopReply | None:
        self._heard = perf_counter()
        return super().poll_stop()

    def resume(
        self,
        thread: ThreadId | None = None,
        *,
        step: bool = False,
        others: Sequence[ThreadId] = (),
        writes: Mapping[str, int] | None = None,
    ) -> None:
        super().resume(thread, step=step, others=others, writes=writes)
        self.handling.append(perf_counter() - self._heard)


def _is_booted() -> EntryState:
    raise InternalError("the guest was reset")

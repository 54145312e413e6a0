"""A trapped call under the agent, against what any debugger has to pay for one."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter

from bench.trap_loop import TrapLoop
from hil_agent.psci import EntryState
from hil_agent.psci.entry import PSTATE_DAIF, PSTATE_EL1H
from hil_agent.rsp import BreakpointKind, Client, StopReply, ThreadId
from hil_agent.rsp.packet import encode
from hil_agent.session.events import CallAnswered, Event
from hil_agent.session.executor import Executor
from hil_agent.session.journal import Journal
from hil_agent.session.loop import TargetLoop
from hil_agent.session.state import StateCell

_INSTRUCTION = 4
_TIMEOUT_S = 10.0
_RECEIVE_SIZE = 4096
_CONTINUE = encode(b"vCont;c")
_WARM_UP = 20
"""Calls at the start of each turn that are not counted: caches are cold after a change of debuggers."""


@dataclass(frozen=True, slots=True)
class AgentTimes:
    """Seconds, for each call that the agent has answered.

    Attributes:
        cycles: from one answer to the next.
        handling: from the stop reply until the machine was told to go on.
    """

    cycles: list[float]
    handling: list[float]


def agent(loop: TrapLoop, calls: int) -> AgentTimes:
    """Has the agent answer calls, with all that a session's owner of a target consists of."""
    with (
        _TimedClient(loop.machine.connect_stub()) as client,
        Journal(loop.folder / "journal.jsonl") as journal,
    ):
        client.handshake()
        source = loop.source(client)
        answered: list[float] = []

        def count(event: Event) -> None:
            answered.append(perf_counter())
            if len(answered) > _WARM_UP + calls:
                target.end()

        executor = Executor(
            client,
            source,
            loop.vpsci(),
            machine=loop.machine,
            boot=_not_booted,
            listeners=(StateCell().apply, journal.apply, count),
        )
        target = TargetLoop(client, executor, loop.machine.last_words)
        source.arm()
        client.resume()
        target.run()
    cycles = [after - before for before, after in pairwise(answered)]
    return AgentTimes(cycles[-calls:], client.handling[-calls:])


def bare(loop: TrapLoop, calls: int) -> list[float]:
    """Seconds of bare stops and continues: the PC stays on the breakpoint, which is hit again at once."""
    return _exchange(loop, calls, _CONTINUE, replies=1)


def least(loop: TrapLoop, calls: int) -> list[float]:
    """Seconds of the least that gets a guest past its trap: PC + 4 written, nothing read, and continue."""
    step_over = b"P20=%b" % (loop.trap + _INSTRUCTION).to_bytes(8, "little").hex().encode()
    return _exchange(loop, calls, encode(step_over) + _CONTINUE, replies=2)


def _exchange(loop: TrapLoop, calls: int, requests: bytes, *, replies: int) -> list[float]:
    """Seconds of each exchange that ends with the next stop, sent and received with nothing in between."""
    connection = loop.machine.connect_stub()
    with Client(connection) as client:
        client.handshake()
        client.insert_breakpoint(BreakpointKind.HARDWARE, loop.trap)
        client.resume()
        client.wait_stop(_TIMEOUT_S)
        connection.setblocking(True)
        times = []
        for _ in range(_WARM_UP + calls):
            began = perf_counter()
            connection.sendall(b"+" + requests)
            _receive(connection, replies)
            times.append(perf_counter() - began)
    return times[-calls:]


def _receive(connection: socket.socket, replies: int) -> None:
    received = b""
    while received.count(b"#") < replies or received[-3:-2] != b"#":
        received += connection.recv(_RECEIVE_SIZE)


class _TimedClient(Client):
    """Notes when a stop reply was heard and when the machine was told to go on."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        self.handling: list[float] = []
        self._heard = 0.0

    def poll_stop(self) -> StopReply | None:
        self._heard = perf_counter()
        return super().poll_stop()

    def resume(
        self, thread: ThreadId | None = None, *, step: bool = False, writes: Mapping[str, int] | None = None
    ) -> None:
        super().resume(thread, step=step, writes=writes)
        self.handling.append(perf_counter() - self._heard)


def _not_booted() -> EntryState:
    return EntryState(0, 0, PSTATE_EL1H | PSTATE_DAIF, {})

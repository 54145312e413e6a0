"""Stop replies: why the target stopped, and which thread. Pure.

Source: GDB's manual, appendix "GDB Remote Serial Protocol", Stop Reply Packets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final

from hil_agent.errors import ProtocolError
from hil_agent.rsp.reply import excerpt
from hil_agent.rsp.thread import ThreadId

SIGINT: Final = 2
"""The signal of a stop by `Client.interrupt`, in GDB's own numbering."""
SIGTRAP: Final = 5
"""The signal of a breakpoint, a watchpoint or a finished step, in GDB's own numbering."""

_LETTER: Final = re.compile(rb"[TSWX][0-9a-fA-F]{2}")
_HEX: Final = re.compile(rb"[0-9a-fA-F]{1,16}")
_REGISTER_NUMBER: Final = re.compile(rb"[0-9a-fA-F]{1,4}")


class StopKind(Enum):
    """What has become of the target."""

    STOPPED = "stopped by a signal"
    EXITED = "exited"
    KILLED = "killed by a signal"
    NOTHING_RUNS = "no thread left to run"


class StopReason(Enum):
    """Why a thread stopped, where the stub says more than the signal."""

    SOFTWARE_BREAKPOINT = b"swbreak"
    HARDWARE_BREAKPOINT = b"hwbreak"
    WRITE_WATCHPOINT = b"watch"
    READ_WATCHPOINT = b"rwatch"
    ACCESS_WATCHPOINT = b"awatch"
    LIBRARY = b"library"
    REPLAY_LOG = b"replaylog"
    FORK = b"fork"
    VFORK = b"vfork"
    VFORK_DONE = b"vforkdone"
    EXEC = b"exec"
    SYSCALL_ENTRY = b"syscall_entry"
    SYSCALL_RETURN = b"syscall_return"
    CREATE = b"create"


_REASONS: Final = {reason.value: reason for reason in StopReason}
_WATCHPOINTS: Final = {
    StopReason.WRITE_WATCHPOINT,
    StopReason.READ_WATCHPOINT,
    StopReason.ACCESS_WATCHPOINT,
}


@dataclass(frozen=True, slots=True)
class StopReply:
    """A stop reply, decoded.

    Attributes:
        kind: what has become of the target.
        code: the signal in GDB's own numbering, or the exit status. 8 bits.
        thread: the thread that stopped, where the stub names it.
        reason: why, where the stub says.
        address: the 64-bit data address that a watchpoint saw.
        registers: expedited values as (register number, bytes in target order).
    """

    kind: StopKind
    code: int = 0
    thread: ThreadId | None = None
    reason: StopReason | None = None
    address: int | None = None
    registers: tuple[tuple[int, bytes], ...] = ()

    @staticmethod
    def matches(payload: bytes) -> bool:
        """Whether a payload is a stop reply rather than an answer to a request."""
        return payload == b"N" or _LETTER.match(payload) is not None

    @staticmethod
    @lru_cache(maxsize=64)
    def parse(payload: bytes) -> StopReply:
        """Decodes a stop reply. What a stub says beyond the known is ignored, as the protocol asks.

        Cached, as the few breakpoints of a session stop the few vCPUs again and again.

        Raises:
            ProtocolError: `payload` is no stop reply.
        """
        if payload == b"N":
            return StopReply(StopKind.NOTHING_RUNS)
        if not _LETTER.match(payload):
            raise _nonsense(payload)
        code = int(payload[1:3], 16)
        match payload[:1]:
            case b"W":
                return StopReply(StopKind.EXITED, code)
            case b"X":
                return StopReply(StopKind.KILLED, code)
            case b"S":
                return StopReply(StopKind.STOPPED, code)
            case _:
                return _parse_pairs(code, payload)


def _parse_pairs(code: int, payload: bytes) -> StopReply:
    """A ``T`` reply: after the signal come pairs of name and value."""
    thread: ThreadId | None = None
    reason: StopReason | None = None
    address: int | None = None
    registers: list[tuple[int, bytes]] = []
    for pair in payload[3:].split(b";"):
        name, _, value = pair.partition(b":")
        if name == b"thread":
            thread = ThreadId.parse(value)
        elif name in _REASONS:
            reason = _REASONS[name]
            if reason in _WATCHPOINTS:
                if not _HEX.fullmatch(value):
                    raise _nonsense(payload)
                address = int(value, 16)
        elif _REGISTER_NUMBER.fullmatch(name):
            try:
                registers.append((int(name, 16), bytes.fromhex(value.decode("ascii"))))
            except ValueError:
                if set(value) != {ord("x")}:
                    raise _nonsense(payload) from None
    return StopReply(StopKind.STOPPED, code, thread, reason, address, tuple(registers))


def _nonsense(payload: bytes) -> ProtocolError:
    return ProtocolError(f"the stub sent {excerpt(payload)!r} where a stop reply was due")

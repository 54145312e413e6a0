from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.errors import ProtocolError
from hil_agent.rsp import StopKind, StopReason, StopReply, ThreadId
from hil_agent.rsp.stop import SIGINT, SIGTRAP

STOPPED = StopKind.STOPPED


@pytest.mark.parametrize(
    ("payload", "stop"),
    [
        (b"S02", StopReply(STOPPED, SIGINT)),
        (b"W07", StopReply(StopKind.EXITED, 7)),
        (b"W07;process:1a", StopReply(StopKind.EXITED, 7)),
        (b"X09", StopReply(StopKind.KILLED, 9)),
        (b"N", StopReply(StopKind.NOTHING_RUNS)),
        (b"T05", StopReply(STOPPED, SIGTRAP)),
        (b"T05thread:p01.02;", StopReply(STOPPED, SIGTRAP, ThreadId(2, 1))),
        (b"T05hwbreak:;", StopReply(STOPPED, SIGTRAP, reason=StopReason.HARDWARE_BREAKPOINT)),
        (b"T05watch:ff00;", StopReply(STOPPED, SIGTRAP, None, StopReason.WRITE_WATCHPOINT, 0xFF00)),
        (b"T0506:0010;10:ff;", StopReply(STOPPED, SIGTRAP, registers=((6, b"\0\x10"), (16, b"\xff")))),
        (b"T0506:xxxx;", StopReply(STOPPED, SIGTRAP)),
        (b"T05core:1;novelty:zz;", StopReply(STOPPED, SIGTRAP)),
    ],
)
def test_stop_replies_are_read(payload: bytes, stop: StopReply) -> None:
    assert StopReply.parse(payload) == stop


@pytest.mark.parametrize(
    "payload",
    [b"", b"OK", b"T5", b"Tzz", b"Fwrite,1", b"T05thread:;", b"T05watch:;", b"T0506:0;", b"T0506:0x;"],
)
def test_other_payloads_are_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        StopReply.parse(payload)


@given(st.binary(max_size=30).map(b"T05".__add__))
def test_hostile_stop_replies_end_in_a_protocol_error_at_worst(payload: bytes) -> None:
    with suppress(ProtocolError):
        StopReply.parse(payload)

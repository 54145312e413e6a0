"""Debuggers that talk nonsense: the session, its guest and the other debuggers do not notice."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hil_agent.rsp import Client
from hil_agent.rsp.packet import encode
from hil_agent.session import Session

pytestmark = pytest.mark.e2e

Boot = Callable[..., Session]
Assemble = Callable[..., Path]

ADDRESS = 0x4020_0000
TIMEOUT_S = 5.0
EXAMPLES = 300
GROWTH = 32 << 20
"""Bytes that the session's process may grow by meanwhile: what Python keeps for itself."""

NUMBERS = st.integers(0, 2**64).map(lambda value: b"%x" % value)
WORDS = st.sampled_from(b"p1.1 p1.-1 -1 0 9 target.xml read features : , ; = * }".split())
HEADS = st.sampled_from(
    (
        b"? ! g G p P m M X c C s S H T z Z0 Z1 Z2 Z9 D;7 R k x l i bs bc qRcmd, qXfer: qSupported: qC"
        b" qfThreadInfo qsThreadInfo qThreadExtraInfo, qAttached vCont vCont; vCont? vKill; QStartNoAckMode"
        b" Qqemu.PhyMemMode: qqemu.sstepbits vFile:open: qMemoryRegionInfo: jThreadsInfo QNonStop:1"
    ).split()
)
PAYLOADS = st.tuples(HEADS, st.lists(st.one_of(NUMBERS, WORDS, st.binary(max_size=8)), max_size=6)).map(
    lambda parts: parts[0] + b"".join(parts[1])
)
TALK = st.lists(
    st.one_of(PAYLOADS.map(encode), st.binary(max_size=64), st.just(b"\x03"), st.just(b"-")), max_size=12
)


@pytest.fixture(scope="module")
def session(boot_shared: Boot, assemble: Assemble) -> Session:
    """A bare-metal guest that runs for ever."""
    return boot_shared(kernel=assemble("silent", ADDRESS), load_address=ADDRESS)


def connect(session: Session) -> socket.socket:
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(TIMEOUT_S)
    stream.connect(session.status().gdb or "")
    return stream


def resident(session: Session) -> int:
    """Bytes of memory that the session's process has."""
    pages = int(Path(f"/proc/{session.status().pid}/statm").read_text().split()[1])
    return pages * 4096


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(talk=TALK)
@example(talk=[encode(b"qRcmd,zz"), encode(b"m0,"), encode(b"vCont;c:p1.zz"), encode(b"Hgp1.999")])
@example(talk=[b"$" * 64, b"}#7d", encode(b"X0,8:abc"), encode(b"Gzz"), encode(b"P20=1")])
@example(talk=[encode(b"?"), encode(b"c"), b"\x03", b"\x03", encode(b"D;1"), encode(b"?")])
def test_nonsense_harms_nobody(session: Session, talk: list[bytes]) -> None:
    with connect(session) as stream, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for part in talk:
            stream.sendall(part)
    with Client(connect(session), timeout_s=TIMEOUT_S) as client:  # which asks, and is answered in time
        client.handshake()
        assert "pc" in client.read_registers()


def test_after_all_that_no_request_has_failed_by_a_bug(session: Session) -> None:
    assert "Traceback" not in session.folder.session_log.read_text()


def test_the_session_does_not_grow_with_its_debuggers(session: Session) -> None:
    def visit() -> None:
        with Client(connect(session), timeout_s=TIMEOUT_S) as client:
            client.handshake()
            client.read_memory(ADDRESS, 1 << 16)

    for _ in range(20):
        visit()
    before = resident(session)
    for _ in range(200):
        visit()
    assert resident(session) - before < GROWTH

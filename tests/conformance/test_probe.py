"""The host's side of the dialogue, with a console on which anything may be said."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil_agent.conformance.probe import Arrival, Probe, Record
from hil_agent.errors import GuestError, ProtocolError, TargetTimeout

LABELS = {
    "landings": 0x1000,
    "returned": 0x2000,
    "vectors": 0x3000,
    "table": 0x4000,
    "areas": 0x1_0000,
    "area_slot": 0x380,
    "hvc_site": 0x1FF8,
    "smc_site": 0x1FFC,
}
Console = tuple[Probe, socket.socket]


@pytest.fixture
def console() -> Iterator[Console]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Probe(ours, LABELS, [0x0, 0x1, 0x100]), theirs


def words(where: int, *others: int) -> bytes:
    numbers = [1, where, 0, 0x3C5, *others, *[0] * (4 - len(others))]
    return " ".join(f"{number:x}" for number in numbers).encode() + b" \n"


def test_a_call_is_asked_for_and_its_answer_read(console: Console) -> None:
    probe, theirs = console
    probe.prepare_call(1, (0x8400_0000, 1, 2, 3))
    probe.go()
    theirs.sendall(words(0x2000, 0x10001, 1, 2, 3))
    assert probe.arrival(1, 0.0) == Record(Arrival.RETURNED, 0x2000, 0, 0x3C5, (0x10001, 1, 2, 3))
    assert theirs.recv(999) == b"x 11000 3c5 1ff8 84000000 1 2 3\ng\nr 11000 7 0\n"


def test_an_immediate_takes_an_instruction_of_its_own(console: Console) -> None:
    probe, theirs = console
    assert probe.prepare_call(2, (0, 0, 0, 0), immediate=1) == 0x1_0400 + 0x380
    assert theirs.recv(999).startswith(b"w 10780 d4000022\nx 10400 3c5 10780 ")


def test_nothing_came_of_it(console: Console) -> None:
    probe, theirs = console
    theirs.sendall(words(0x2000).replace(b"1", b"0", 1))
    assert probe.arrival(0, 0.0) is None


@pytest.mark.parametrize(
    ("where", "arrival", "pc"),
    [
        (0x1004, Arrival.ENTERED, 0x1004),
        (0x3200, Arrival.EXCEPTION, 0x200),
        (0x2000, Arrival.RETURNED, 0x2000),
    ],
)
def test_where_it_came_back_tells_what_brought_it(
    console: Console, where: int, arrival: Arrival, pc: int
) -> None:
    probe, theirs = console
    theirs.sendall(words(where))
    record = probe.answer()
    assert record is not None
    assert (record.arrival, record.pc) == (arrival, pc)


def test_an_exception_where_none_should_be_is_an_error(console: Console) -> None:
    probe, theirs = console
    theirs.sendall(words(0x3200))
    with pytest.raises(GuestError, match="vCPU 0 could not execute"):
        probe.read_system_register("SCTLR_EL1")


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"1 2 3\n",
        b"hello\n",
        b"2 1 1 1 1 1 1 1\n",
        b"1 1 1 1 1 1 1 g\n",
        b"1 1 1 1 1 1 1 -1\n",
        b"1 1 1 1 1 1 1 10000000000000000\n",
    ],
)
def test_what_is_no_answer_is_refused(console: Console, line: bytes) -> None:
    probe, theirs = console
    theirs.sendall(line)
    with pytest.raises(ProtocolError, match="the probe said"):
        probe.answer()


def test_a_line_without_end_is_refused(console: Console) -> None:
    probe, theirs = console
    theirs.sendall(b"1 " * 4000)
    with pytest.raises(ProtocolError, match="the probe said"):
        probe.answer()


def test_silence_is_a_timeout(console: Console) -> None:
    with pytest.raises(TargetTimeout):
        console[0].answer(0.01)


def test_a_console_that_ends_is_a_timeout_at_once(console: Console) -> None:
    probe, theirs = console
    theirs.close()
    assert not probe.answers_within(60)
    with pytest.raises(TargetTimeout):
        probe.answer(60)


def test_a_restart_is_told_from_an_answer(console: Console) -> None:
    probe, theirs = console
    theirs.sendall(b"psci-probe ready\n")
    assert probe.answers_within(1)
    assert probe.has_restarted()


@settings(max_examples=60, deadline=None)
@given(line=st.binary(max_size=300))
def test_whatever_is_said_is_an_answer_or_refused(line: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(line + b"\n")
        try:
            Probe(ours, LABELS, [0]).answer(1)
        except ProtocolError as error:
            assert error.message.startswith("the probe said")  # noqa: PT017 - any answer is right as well

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from hil_agent.errors import LinkError, ProtocolError, TargetTimeout
from hil_agent.rsp.link import Link
from hil_agent.rsp.packet import encode

DAMAGED = b"$OK#00"


class Wire:
    """A link and the stub's end of it. What the stub says beforehand waits in the socket."""

    def __init__(self, *, pipelining: bool = True, timeout_s: float = 5) -> None:
        near, self.stub = socket.socketpair()
        self.stub.setblocking(False)
        self.link = Link(near, timeout_s=timeout_s, pipelining=pipelining)

    def says(self, *payloads: bytes) -> None:
        self.stub.sendall(b"".join(b"+" + encode(payload) for payload in payloads))

    def heard(self) -> bytes:
        return self.stub.recv(65536)

    def close(self) -> None:
        self.link.close()
        self.stub.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    with closing(Wire()) as wire:
        yield wire


@pytest.fixture
def classic() -> Iterator[Wire]:
    """A link to a stub that takes one packet at a time."""
    with closing(Wire(pipelining=False)) as wire:
        yield wire


@pytest.fixture
def hasty() -> Iterator[Wire]:
    """A link that gives up almost at once."""
    with closing(Wire(timeout_s=0.01)) as wire:
        yield wire


def test_replies_come_in_the_order_of_requests(wire: Wire) -> None:
    wire.says(b"1", b"2")
    assert wire.link.exchange([b"a", b"b"]) == [b"1", b"2"]


def test_pipelined_requests_go_out_together_without_acknowledgements(wire: Wire) -> None:
    wire.says(b"1", b"2")
    wire.link.exchange([b"a", b"b"])
    assert wire.heard() == encode(b"a") + encode(b"b")


def test_the_last_reply_is_acknowledged_in_front_of_the_next_request(wire: Wire) -> None:
    wire.says(b"1", b"2")
    wire.link.exchange([b"a", b"b"])
    wire.heard()
    wire.says(b"3")
    wire.link.exchange([b"c"])
    assert wire.heard() == b"+" + encode(b"c")


def test_without_pipelining_every_reply_is_acknowledged_at_once(classic: Wire) -> None:
    classic.says(b"1")
    classic.link.exchange([b"a"])
    classic.says(b"2")
    classic.link.exchange([b"b"])
    assert classic.heard() == encode(b"a") + b"+" + encode(b"b") + b"+"


def test_nothing_is_acknowledged_once_that_was_agreed(wire: Wire) -> None:
    wire.link.acknowledging = False
    wire.says(b"1")
    wire.link.exchange([b"a"])
    wire.says(b"2")
    wire.link.exchange([b"b"])
    assert wire.heard() == encode(b"a") + encode(b"b")


def test_more_requests_than_buffers_hold_block_nobody(wire: Wire) -> None:
    count = 50
    wire.says(*[b"OK"] * count)
    wire.stub.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire.link.exchange([b"M0,200:" + b"00" * 512] * count)
    assert wire.heard().count(b"$") == count


def test_no_requests_are_nothing_to_send(wire: Wire) -> None:
    assert wire.link.exchange([]) == []
    with pytest.raises(BlockingIOError):
        wire.heard()


def test_console_output_is_no_reply(wire: Wire) -> None:
    printed: list[bytes] = []
    wire.link.on_console = printed.append
    wire.says(b"O6869", b"OK")
    assert (wire.link.exchange([b"a"]), printed) == ([b"OK"], [b"hi"])


def test_console_output_that_is_not_hexadecimal_is_nonsense(wire: Wire) -> None:
    wire.says(b"Ops")
    with pytest.raises(ProtocolError, match="'Ops' as console output"):
        wire.link.exchange([b"a"])


def test_notifications_are_no_replies(wire: Wire) -> None:
    wire.stub.sendall(b"%" + encode(b"Stop:T05")[1:] + encode(b"OK"))
    assert wire.link.exchange([b"a"]) == [b"OK"]


def test_a_damaged_reply_is_asked_for_again(wire: Wire) -> None:
    wire.stub.sendall(b"+" + DAMAGED + encode(b"OK"))
    assert wire.link.exchange([b"a"]) == [b"OK"]
    assert wire.heard() == encode(b"a") + b"-"


def test_a_damaged_request_is_sent_again(wire: Wire) -> None:
    wire.stub.sendall(b"-+" + encode(b"OK"))
    assert wire.link.exchange([b"a"]) == [b"OK"]
    assert wire.heard() == encode(b"a") * 2


def test_repeating_ends(wire: Wire) -> None:
    wire.stub.sendall(DAMAGED * 100)
    with pytest.raises(ProtocolError, match="checksum"):
        wire.link.exchange([b"a"])


def test_with_several_requests_on_their_way_nothing_can_be_repeated(wire: Wire) -> None:
    wire.stub.sendall(DAMAGED)
    with pytest.raises(ProtocolError, match="without pipelining"):
        wire.link.exchange([b"a", b"b"])


def test_damage_without_acknowledgements_is_final(wire: Wire) -> None:
    wire.link.acknowledging = False
    wire.stub.sendall(DAMAGED)
    with pytest.raises(ProtocolError, match="damaged"):
        wire.link.exchange([b"a"])


def test_silence_is_a_timeout_that_names_the_request(hasty: Wire) -> None:
    hasty.says(b"1")
    with pytest.raises(TargetTimeout, match="did not answer 'b'"):
        hasty.link.exchange([b"a", b"b"])


def test_a_stub_that_chatters_on_is_a_timeout(hasty: Wire) -> None:
    hasty.link.on_console = lambda _: hasty.says(b"O00")
    hasty.says(b"O00")
    with pytest.raises(TargetTimeout, match="did not answer"):
        hasty.link.exchange([b"a"])


def test_a_late_reply_is_not_taken_for_the_next(hasty: Wire) -> None:
    with pytest.raises(TargetTimeout):
        hasty.link.exchange([b"a"])
    hasty.says(b"late", b"OK")
    assert hasty.link.exchange([b"b"]) == [b"OK"]


def test_a_stub_that_reads_nothing_is_a_timeout(hasty: Wire) -> None:
    with pytest.raises(TargetTimeout, match="not read"):
        hasty.link.send([b"a" * 10_000_000])


def test_a_reply_that_nobody_asked_for_is_refused(wire: Wire) -> None:
    wire.says(b"1", b"2")
    wire.link.exchange([b"a"])
    with pytest.raises(ProtocolError, match="'2' without being asked"):
        wire.link.exchange([b"b"])


def test_an_end_of_file_is_a_broken_link(wire: Wire) -> None:
    wire.stub.close()
    with pytest.raises(LinkError):
        wire.link.exchange([b"a"])


def test_a_stub_that_goes_away_meanwhile_is_a_broken_link(wire: Wire) -> None:
    wire.stub.shutdown(socket.SHUT_WR)
    with pytest.raises(LinkError, match="closed the connection"):
        wire.link.exchange([b"a"])


def test_a_closed_link_is_broken(wire: Wire) -> None:
    wire.link.close()
    with pytest.raises(LinkError):
        wire.link.exchange([b"a"])


def test_the_next_packet_is_taken_only_if_it_is_there(wire: Wire) -> None:
    assert wire.link.next_packet(0) is None
    wire.says(b"T05")
    assert wire.link.next_packet(0) == b"T05"


def test_half_a_packet_is_not_there_yet(wire: Wire) -> None:
    wire.stub.sendall(b"$T0")
    assert wire.link.next_packet(0) is None
    wire.stub.sendall(encode(b"T05")[3:])
    assert wire.link.next_packet(0) == b"T05"


def test_a_link_can_be_selected_on(wire: Wire) -> None:
    wire.says(b"T05")
    assert select.select([wire.link], [], [], 0)[0] == [wire.link]

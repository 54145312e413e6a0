"""One client's bytes, on a real socket: whatever it sends, nobody else waits for it."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Iterator

import pytest

from hil_agent.rsp.packet import encode
from hil_agent.stub.connection import Connection

TIMEOUT_S = 5.0
BIG = 1 << 20


class Echo:
    """Answers every packet with itself, ``quiet`` ones not at all."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.interrupts = 0

    def answer(self, payload: bytes) -> bytes | None:
        self.heard.append(payload)
        if payload == b"bug":
            raise KeyError(payload)
        return None if payload == b"quiet" else payload

    def interrupt(self) -> None:
        self.interrupts += 1


class Loop:
    """What serves the sockets of a test, turn by turn."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.watched = 0

    def watch(self, stream: socket.socket, events: int, ready: Callable[[int], None]) -> None:
        self.watched += 1
        if not events:
            self._selector.unregister(stream)
        elif stream in self._selector.get_map():
            self._selector.modify(stream, events, ready)
        else:
            self._selector.register(stream, events, ready)

    def turn(self) -> None:
        for key, events in self._selector.select(0):
            key.data(events)

    def close(self) -> None:
        self._selector.close()


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def gone() -> list[bool]:
    return []


@pytest.fixture
def client(loop: Loop, gone: list[bool]) -> Iterator[socket.socket]:
    """The debugger's end."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.settimeout(TIMEOUT_S)
        connection = Connection(ours, loop.watch, lambda: gone.append(True))
        connection.speaker = Echo()
        connection.acknowledging = False
        loop.connection = connection  # type: ignore[attr-defined] # kept alive, and for the tests
        yield theirs
        connection.close()


@pytest.fixture
def connection(client: socket.socket, loop: Loop) -> Connection:
    found = loop.connection  # type: ignore[attr-defined]
    assert isinstance(found, Connection)
    return found


@pytest.fixture
def echo(connection: Connection) -> Echo:
    assert isinstance(connection.speaker, Echo)
    return connection.speaker


def test_a_packet_is_answered(client: socket.socket, loop: Loop) -> None:
    client.sendall(encode(b"hello"))
    loop.turn()
    assert client.recv(100) == encode(b"hello")


def test_a_packet_in_pieces_is_one(client: socket.socket, loop: Loop, echo: Echo) -> None:
    for byte in encode(b"hello"):
        client.sendall(bytes([byte]))
        loop.turn()
    assert echo.heard == [b"hello"]


def test_packets_are_acknowledged_until_that_is_agreed_otherwise(
    client: socket.socket, loop: Loop, connection: Connection
) -> None:
    connection.acknowledging = True
    client.sendall(encode(b"quiet"))
    loop.turn()
    assert client.recv(100) == b"+"


def test_a_damaged_packet_is_asked_for_again(
    client: socket.socket, loop: Loop, connection: Connection
) -> None:
    connection.acknowledging = True
    client.sendall(b"$hello#00")
    loop.turn()
    assert client.recv(100) == b"-"


def test_what_did_not_arrive_is_sent_again(client: socket.socket, loop: Loop, connection: Connection) -> None:
    connection.acknowledging = True
    connection.send(b"T05")
    assert client.recv(100) == encode(b"T05")
    client.sendall(b"-")
    loop.turn()
    assert client.recv(100) == encode(b"T05")


def test_ctrl_c_is_heard_between_packets(client: socket.socket, loop: Loop, echo: Echo) -> None:
    client.sendall(encode(b"quiet") + b"\x03")
    loop.turn()
    assert (echo.heard, echo.interrupts) == ([b"quiet"], 1)


def test_a_client_that_leaves_is_noticed(client: socket.socket, loop: Loop, gone: list[bool]) -> None:
    client.close()
    loop.turn()
    assert gone == [True]


def test_a_client_that_reads_slowly_gets_all_in_the_end(
    client: socket.socket, loop: Loop, connection: Connection
) -> None:
    sent = bytes(range(97, 123)) * (BIG // 26)
    connection.send(sent)
    received = bytearray()
    while len(received) < len(encode(sent)):
        received += client.recv(BIG)
        loop.turn()
    assert bytes(received) == encode(sent)


def test_a_client_that_never_reads_is_given_up(
    client: socket.socket, connection: Connection, gone: list[bool]
) -> None:
    for _ in range(8):
        connection.send(bytes(BIG))
    assert gone == [True]


def test_a_bug_of_ours_costs_that_client_alone(client: socket.socket, loop: Loop, gone: list[bool]) -> None:
    client.sendall(encode(b"bug"))
    loop.turn()
    assert gone == [True]


def test_a_packet_without_an_end_is_given_up(client: socket.socket, loop: Loop, gone: list[bool]) -> None:
    client.setblocking(False)
    pending = b"$" + b"a" * BIG
    while pending and not gone:
        try:
            pending = pending[client.send(pending) :]
        except BlockingIOError:
            loop.turn()
        except OSError:
            break
    loop.turn()
    assert gone == [True]


def test_what_is_to_be_said_last_is_said_before_the_end(
    client: socket.socket, loop: Loop, connection: Connection
) -> None:
    connection.send(b"OK")
    connection.finish()
    assert client.recv(100) == encode(b"OK")
    assert client.recv(100) == b""

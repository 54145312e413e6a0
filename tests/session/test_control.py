from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from hil_agent.console import Cancellation
from hil_agent.errors import StateError
from hil_agent.session.control import ControlServer, Method
from hil_agent.session.protocol import PROTOCOL, encode

TIMEOUT_S = 10


class Service:
    """Methods of every kind."""

    def __init__(self) -> None:
        self.called_off = threading.Event()
        self.gone = threading.Event()

    def echo(self, *, word: str) -> str:
        return word

    def count(self, *, to: int) -> Iterator[int]:
        yield from range(to)

    def refuse(self) -> None:
        raise StateError("not now", hint="later")

    def stumble(self) -> None:
        raise KeyError("oops")

    def hang(self, *, cancel: Cancellation) -> None:
        while not cancel.is_set():
            self.gone.wait(0.01)
        self.called_off.set()


class Connection:
    """A client's end."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT_S)
        self.socket.connect(str(path))
        self._lines = self.socket.makefile("rb")
        self.greeting = self.receive()

    def send(self, number: int, method: str, **params: object) -> None:
        self.socket.sendall(encode({"id": number, "method": method, "params": params}))

    def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._lines.readline())
        return message

    def ask(self, method: str, **params: object) -> dict[str, Any]:
        self.send(1, method, **params)
        return self.receive()

    def close(self) -> None:
        self._lines.close()
        self.socket.close()


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def path() -> Iterator[Path]:
    with TemporaryDirectory(prefix="control-") as folder:
        yield Path(folder, "control.sock")


@pytest.fixture
def connect(service: Service, path: Path) -> Iterator[Callable[[], Connection]]:
    methods: dict[str, Method] = {
        "echo": service.echo,
        "count": service.count,
        "refuse": service.refuse,
        "stumble": service.stumble,
        "hang": service.hang,
    }
    with ControlServer(path, "name", methods, service.gone.set):
        yield lambda: Connection(path)


@pytest.fixture
def client(connect: Callable[[], Connection]) -> Iterator[Connection]:
    connection = connect()
    yield connection
    connection.close()


def test_the_socket_is_for_its_user_alone(client: Connection, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_client_is_greeted_with_the_protocols_version(client: Connection) -> None:
    assert (client.greeting["protocol"], client.greeting["session"]) == (PROTOCOL, "name")


def test_a_request_is_answered_under_its_number(client: Connection) -> None:
    client.send(42, "echo", word="hello")
    assert client.receive() == {"id": 42, "result": "hello"}


def test_items_come_before_the_result(client: Connection) -> None:
    client.send(7, "count", to=3)
    expected = [{"id": 7, "item": number} for number in range(3)] + [{"id": 7, "result": None}]
    assert [client.receive() for _ in range(4)] == expected


def test_an_error_goes_over_as_what_it_is(client: Connection) -> None:
    assert client.ask("refuse")["error"] == {"kind": "StateError", "message": "not now", "hint": "later"}


def test_a_bug_is_answered_too(client: Connection) -> None:
    assert client.ask("stumble")["error"]["kind"] == "InternalError"


def test_after_an_error_the_connection_goes_on(client: Connection) -> None:
    client.ask("refuse")
    assert client.ask("echo", word="still here")["result"] == "still here"


@pytest.mark.parametrize(
    ("method", "params"),
    [("no_such_method", {}), ("__init__", {}), ("echo", {}), ("echo", {"word": "x", "other": 1})],
)
def test_a_request_that_does_not_fit_is_the_clients_fault(
    client: Connection, method: str, params: dict[str, object]
) -> None:
    assert client.ask(method, **params)["error"]["kind"] == "UsageError"


@pytest.mark.parametrize("line", [b"nonsense\n", b"[]\n", b"\n", b"\xff\n", b'{"id": null}\n'])
def test_what_is_no_request_is_refused_and_the_connection_ended(client: Connection, line: bytes) -> None:
    client.socket.sendall(line)
    assert client.receive()["error"]["kind"] == "ProtocolError"
    assert client.socket.recv(1) == b""


def test_a_long_request_keeps_nobody_waiting(client: Connection) -> None:
    client.send(1, "hang")
    client.send(2, "echo", word="quick")
    assert client.receive() == {"id": 2, "result": "quick"}


def test_clients_do_not_see_each_others_answers(connect: Callable[[], Connection]) -> None:
    clients = [connect() for _ in range(5)]
    for number, client in enumerate(clients):
        client.send(1, "echo", word=str(number))
    answers = [client.receive()["result"] for client in clients]
    for client in clients:
        client.close()
    assert answers == ["0", "1", "2", "3", "4"]


def test_a_client_that_goes_calls_off_what_it_asked_for(
    connect: Callable[[], Connection], service: Service
) -> None:
    client = connect()
    client.send(1, "hang")
    client.close()
    assert service.called_off.wait(TIMEOUT_S)
    assert service.gone.wait(TIMEOUT_S)


def test_a_request_that_a_client_sends_and_leaves_is_called_off(
    connect: Callable[[], Connection], service: Service
) -> None:
    for _ in range(20):  # the request's thread may start before or after the client is seen to be gone
        service.called_off.clear()
        client = connect()
        client.send(1, "hang")
        client.close()
        assert service.called_off.wait(TIMEOUT_S)


def test_a_client_that_does_not_read_stops_only_itself(
    client: Connection, connect: Callable[[], Connection]
) -> None:
    client.send(1, "count", to=1_000_000)
    other = connect()
    answer = other.ask("echo", word="x")["result"]
    other.close()
    assert answer == "x"


def test_a_client_that_says_nothing_does_no_harm(
    client: Connection, connect: Callable[[], Connection]
) -> None:
    other = connect()
    answer = other.ask("echo", word="x")["result"]
    other.close()
    assert answer == "x"


def test_after_its_end_nobody_listens(path: Path) -> None:
    with ControlServer(path, "name", {}, lambda: None):
        pass
    with pytest.raises(ConnectionRefusedError), socket.socket(socket.AF_UNIX) as late:
        late.connect(str(path))

from __future__ import annotations

import contextlib
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from hil_agent.console.hub import ConsoleHub
from hil_agent.console.terminal import Ending, interact
from hil_agent.errors import LinkError

# The exit status says how it ended, a traceback would be 1.
SCRIPT = """
import sys
from pathlib import Path
from hil_agent.console.terminal import Ending, interact
sys.exit(10 + list(Ending).index(interact(Path(sys.argv[1]))))
"""
STATUS = {ending: 10 + number for number, ending in enumerate(Ending)}


class Console:
    """A console whose guest is the test."""

    def __init__(self, folder: Path) -> None:
        self.guest, ours = socket.socketpair()
        self.guest.settimeout(20)
        self.path = folder / "sock"
        self.hub = ConsoleHub(ours, log_path=folder / "log", socket_path=self.path)
        self.command = [sys.executable, "-c", SCRIPT, str(self.path)]


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    made = Console(tmp_path)
    with made.guest, made.hub:
        yield made


class Person:
    """Somebody at a terminal, with ``interact`` running there."""

    def __init__(self, console: Console) -> None:
        self.terminal, inside = pty.openpty()
        self.modes = termios.tcgetattr(self.terminal)
        self.process = subprocess.Popen(console.command, stdin=inside, stdout=inside, start_new_session=True)
        os.close(inside)
        console.guest.sendall(b"hello")
        assert self.read(5) == b"hello"  # so the terminal is raw by now

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += os.read(self.terminal, size - len(data))
        return data

    def type(self, keys: bytes) -> None:
        os.write(self.terminal, keys)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)


@pytest.fixture
def person(console: Console) -> Iterator[Person]:
    with contextlib.closing(Person(console)) as somebody:
        yield somebody


def test_every_key_goes_through(console: Console, person: Person) -> None:
    keys = b"\x03\x04\x11\x13\x1a\x1c\r\x1b[A\xff"
    person.type(keys)
    assert console.guest.recv(len(keys), socket.MSG_WAITALL) == keys


def test_every_byte_of_the_guest_is_shown(console: Console, person: Person) -> None:
    text = b"\x1b[6n\n\r\0\xff"
    console.guest.sendall(text)
    assert person.read(len(text)) == text


def test_the_escape_leaves(console: Console, person: Person) -> None:
    person.type(b"last\x1dnot this")
    assert person.process.wait(20) == STATUS[Ending.LEFT]
    assert console.guest.recv(100) == b"last"


def test_leaving_restores_the_terminal(console: Console, person: Person) -> None:
    person.type(b"\x1d")
    person.process.wait(20)
    assert termios.tcgetattr(person.terminal) == person.modes


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_restores_the_terminal(console: Console, person: Person, number: signal.Signals) -> None:
    person.process.send_signal(number)
    assert person.process.wait(20) == 128 + number
    assert termios.tcgetattr(person.terminal) == person.modes


def test_the_end_of_the_console_restores_the_terminal(console: Console, person: Person) -> None:
    console.guest.close()
    assert person.process.wait(20) == STATUS[Ending.CONSOLE_CLOSED]
    assert termios.tcgetattr(person.terminal) == person.modes


def test_a_stopped_guest_does_not_keep_a_person(console: Console, person: Person) -> None:
    for _ in range(20):
        person.type(b"x" * 1000)
    person.type(b"\x1d")
    assert person.process.wait(20) == STATUS[Ending.LEFT]


def test_a_pipe_is_copied_to_its_end_and_the_answer_too(console: Console) -> None:
    with subprocess.Popen(console.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"data\x1dmore")
        process.stdin.close()
        assert console.guest.recv(9, socket.MSG_WAITALL) == b"data\x1dmore"
        console.guest.sendall(b"answer")
        assert process.stdout.read() == b"answer"
        assert process.wait() == STATUS[Ending.INPUT_ENDED]


def test_a_closed_output_ends_it(console: Console) -> None:
    with subprocess.Popen(console.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        process.stdin.write(b"x")
        process.stdin.flush()
        console.guest.recv(1)
        console.guest.sendall(b"text")
        assert process.wait(20) == STATUS[Ending.OUTPUT_CLOSED]


def test_no_console_is_said(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="No such file"):
        interact(tmp_path / "none", stdin=0, stdout=1)

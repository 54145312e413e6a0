"""Connects a person, or a pipe, to the guest's console."""

from __future__ import annotations

import contextlib
import enum
import os
import select
import signal
import socket
import sys
import termios
import tty
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from hil_agent.errors import LinkError

#: Ctrl-], as in telnet: leaves the console.
ESCAPE = b"\x1d"

#: After the end of a piped input, the guest is listened to until it has been silent for so long, in seconds.
LINGER_S = 1.0

_CHUNK_BYTES = 64 * 1024


class Ending(enum.Enum):
    """Why ``interact`` came back."""

    LEFT = "left"  # the person typed ESCAPE
    INPUT_ENDED = "input ended"
    OUTPUT_CLOSED = "output closed"  # as by ``| head``
    CONSOLE_CLOSED = "console closed"


def interact(socket_path: Path, *, stdin: int | None = None, stdout: int | None = None) -> Ending:
    """Copies what is typed to the guest, and what the guest writes to the terminal, until one of them ends.

    A terminal is in raw mode meanwhile, so that every key and every control sequence goes through, but for
    ESCAPE; its modes are restored in any case, SIGTERM and SIGHUP included. To be called in the main thread.

    Args:
        socket_path: the console's socket, see ``ConsoleHub``.
        stdin: descriptor to read from; that of ``sys.stdin`` if None. Without a terminal there, nothing is an
            escape.
        stdout: descriptor to write to; that of ``sys.stdout`` if None.

    Raises:
        LinkError: there is no console at this socket.
    """
    stdin = sys.stdin.fileno() if stdin is None else stdin
    stdout = sys.stdout.fileno() if stdout is None else stdout
    with socket.socket(socket.AF_UNIX) as console:
        try:
            console.connect(str(socket_path))
        except OSError as error:
            raise LinkError(f"no console at {socket_path}: {error.strerror or error}") from error
        if not os.isatty(stdin):
            return _copy(console, stdin, stdout, escape=None)
        with _ended_by_signals(), _raw(stdin):
            return _copy(console, stdin, stdout, escape=ESCAPE)


def _copy(console: socket.socket, stdin: int, stdout: int, *, escape: bytes | None) -> Ending:
    typed = bytearray()  # and not yet taken by the console: a guest that is stopped does not read
    more_input = True
    while True:
        sources: list[int | socket.socket] = [console]
        if more_input and len(typed) < _CHUNK_BYTES:
            sources.append(stdin)
        linger = None if more_input or typed else LINGER_S
        readable, writable, _ = select.select(sources, [console] if typed else [], [], linger)
        if not readable and not writable:
            return Ending.INPUT_ENDED
        if console in readable:
            data = _receive(console)
            if not data:
                return Ending.CONSOLE_CLOSED
            if not _write(stdout, data):
                return Ending.OUTPUT_CLOSED
        if stdin in readable:
            data = os.read(stdin, _CHUNK_BYTES)
            more_input = bool(data)
            before, left, _ = data.partition(escape) if escape else (data, b"", b"")
            typed += before
            if left:
                _send(console, typed)
                return Ending.LEFT
        del typed[: _send(console, typed)]


def _receive(console: socket.socket) -> bytes:
    try:
        return console.recv(_CHUNK_BYTES)
    except ConnectionError:
        return b""


def _send(console: socket.socket, data: bytearray) -> int:
    """Sends what the console takes now. That it is gone shows in ``_receive``."""
    try:
        return console.send(data, socket.MSG_DONTWAIT) if data else 0
    except (BlockingIOError, ConnectionError):
        return 0


def _write(stdout: int, data: bytes) -> bool:
    try:
        while data:
            data = data[os.write(stdout, data) :]
    except BrokenPipeError:
        return False
    return True


@contextlib.contextmanager
def _raw(terminal: int) -> Iterator[None]:
    modes = termios.tcgetattr(terminal)
    tty.setraw(terminal)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, modes)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind the stack here, in place of ending the process at once."""

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

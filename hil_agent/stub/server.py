"""The sockets that debuggers attach to: a unix one in the session's folder, and loopback TCP on request."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import selectors
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from hil_agent.engine.events import (
    Crashed,
    Event,
    Resumed,
    Suspended,
    SwitchedOff,
    WasReset,
)
from hil_agent.engine.run_control import Stop
from hil_agent.errors import HostError
from hil_agent.stub.connection import Connection
from hil_agent.stub.dialogue import Dialogue
from hil_agent.stub.target import Target

_log = logging.getLogger(__name__)

_MOST: Final = 32
"""Debuggers at a time."""

Watch = Callable[[socket.socket, int, Callable[[int], None]], None]


class GdbServer:
    """Serves debuggers in the thread that owns the target, until it is closed.

    Args:
        target: what is debugged.
        watch: has the thread serve a socket; see `TargetLoop.watch`.
        path: the unix socket; 0600.
        address: a TCP address to listen on as well; None for none.

    Attributes:
        target: as given.
        path: as given.
        address: where it listens with TCP; None if it does not.

    Raises:
        HostError: an address is taken, or not one of this host's.
    """

    def __init__(
        self, target: Target, watch: Watch, path: Path, address: tuple[str, int] | None = None
    ) -> None:
        self.target = target
        self._watch = watch
        self._dialogues: list[Dialogue] = []
        self._listeners = [_listen_unix(path)]
        self.path = path
        self.address: tuple[str, int] | None = None
        if address is not None:
            listener = _listen_tcp(*address)
            self._listeners.append(listener)
            self.address = listener.getsockname()[:2]

    def __enter__(self) -> Self:
        for listener in self._listeners:
            self._watch(listener, selectors.EVENT_READ, self._acceptor(listener))
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self._listeners:
            listener.close()

    @property
    def debuggers(self) -> int:
        """How many there are."""
        return len(self._dialogues)

    def apply(self, event: Event) -> None:
        """Has debuggers that wait see what happens to the guest meanwhile."""
        if not self._dialogues:
            return
        text = _said_of(event)
        for dialogue in list(self._dialogues):
            if isinstance(event, SwitchedOff) or (isinstance(event, Crashed) and self._target_is_gone()):
                dialogue.lost()
            elif text is not None:
                dialogue.say(f"[hil-agent] {text}")

    # ------------------------------------------------------------------------- within

    def _acceptor(self, listener: socket.socket) -> Callable[[int], None]:
        def accept(_events: int) -> None:
            with contextlib.suppress(BlockingIOError, ConnectionError):
                stream, _ = listener.accept()
                if len(self._dialogues) < _MOST:
                    self._serve(stream)
                else:
                    _log.info("a debugger is refused: there are %d", _MOST)
                    stream.close()

        return accept

    def _serve(self, stream: socket.socket) -> None:
        connection = Connection(stream, self._watch, lambda: self._gone(dialogue))
        dialogue = connection.speaker = Dialogue(self.target, connection)
        self._dialogues.append(dialogue)
        self.target.run_control.on_stop = self._stopped

    def _stopped(self, stop: Stop) -> None:
        for dialogue in list(self._dialogues):
            dialogue.stopped(stop)

    def _gone(self, dialogue: Dialogue) -> None:
        """Takes away what a debugger has left; when the last has gone, everything goes on."""
        self._dialogues.remove(dialogue)
        run_control = self.target.run_control
        if run_control.has_breakpoints(dialogue):
            self.target.standing(lambda: run_control.remove_all(dialogue))
        if not self._dialogues:
            run_control.on_stop = None
        if not any(each.attached for each in self._dialogues):  # a silent client holds nothing
            run_control.executor.catching.clear()
            run_control.shows_own_code = False
            run_control.release()

    def _target_is_gone(self) -> bool:
        return self.target.run_control.executor.ended


def _said_of(event: Event) -> str | None:
    match event:
        case Suspended(None):
            said = "the host holds the guest; hil-agent resume"
        case Suspended(context) if context is not None:
            entry_point = f"{context.entry_point:#x}"
            said = f"suspended, entry point {entry_point}; hil-agent resume, or Ctrl-C and monitor resume"
        case Resumed(cause=cause):
            said = f"resumed ({cause})"
        case WasReset():
            said = "the machine was reset"
        case Crashed(reason):
            said = f"crashed: {reason}"
        case _:
            return None
    return said


def _listen_unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()
    except OSError as error:
        listener.close()
        raise HostError(f"cannot listen on {path}: {error.strerror or error}") from error
    listener.setblocking(False)
    return listener


def _listen_tcp(host: str, port: int) -> socket.socket:
    if not ipaddress.ip_address(host).is_loopback:
        _log.warning("debuggers can attach from elsewhere, without a password: listening on %s", host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise HostError(
            f"cannot listen on {host} port {port}: {error.strerror}", hint="--gdb-port 0 takes a free one"
        ) from error
    listener.setblocking(False)
    return listener

"""Serves a session's clients on its control socket.

Every request runs in a thread of its own, so that a long one keeps nobody waiting. A client that
goes away calls off what it has asked for.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Self

from hil_agent import __version__
from hil_agent.console import Cancellation
from hil_agent.errors import HilAgentError, InternalError, ProtocolError, UsageError
from hil_agent.session.protocol import (
    LONGEST_LINE,
    PROTOCOL,
    Json,
    Request,
    decode_request,
    encode,
    encode_error,
)

_log = logging.getLogger(__name__)

Method = Callable[..., Json | Iterator[Json]]
"""Takes the request's parameters by name, and ``cancel`` if it is long; returns a result, or yields items."""


class ControlServer:
    """Listens until it is closed.

    Args:
        path: the control socket; 0600.
        session: name of the session.
        methods: what can be asked, by name.
        on_gone: called when a client has gone and its requests have been called off.
    """

    def __init__(
        self, path: Path, session: str, methods: Mapping[str, Method], on_gone: Callable[[], None]
    ) -> None:
        self._methods = methods
        self._on_gone = on_gone
        self._greeting = encode({"hil_agent": __version__, "protocol": PROTOCOL, "session": session})
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept, name="control", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._serve, args=(connection,), name="client", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        client = _Client(connection, self._methods)
        with connection:
            client.send_line(self._greeting)
            client.serve()
        self._on_gone()


class _Client:
    """One connection."""

    def __init__(self, connection: socket.socket, methods: Mapping[str, Method]) -> None:
        self._connection = connection
        self._methods = methods
        self._sending = threading.Lock()
        self._lock = threading.Lock()  # guards the two below
        self._running: set[Cancellation] = set()
        self._gone = False

    def serve(self) -> None:
        """Takes requests until the client goes; then calls off those that run."""
        try:
            with self._connection.makefile("rb") as lines:
                while line := lines.readline(LONGEST_LINE):
                    self._start(decode_request(line))
        except ProtocolError as error:
            self._send({"id": None, "error": encode_error(error)})
        except OSError as error:
            _log.info("a client was lost: %s", error)
        with self._lock:
            self._gone = True
            for cancellation in self._running:
                cancellation.set()

    def _start(self, request: Request) -> None:
        cancel = Cancellation()
        with self._lock:
            self._running.add(cancel)
        threading.Thread(
            target=self._run, args=(request, cancel), name=f"request {request.method}", daemon=True
        ).start()

    def _run(self, request: Request, cancel: Cancellation) -> None:
        try:
            answer = self._call(request, cancel)
            if isinstance(answer, Iterator):
                for item in answer:
                    self._send({"id": request.id, "item": item})
                    if self._gone:
                        return
                answer = None
            self._send({"id": request.id, "result": answer})
        except HilAgentError as error:
            self._send({"id": request.id, "error": encode_error(error)})
        except Exception as error:
            _log.exception("request %s failed", request.method)
            bug = InternalError(f"{request.method}: {type(error).__name__}: {error}", hint="see session.log")
            self._send({"id": request.id, "error": encode_error(bug)})
        finally:
            with self._lock:
                self._running.discard(cancel)
                cancel.close()

    def _call(self, request: Request, cancel: Cancellation) -> Json | Iterator[Json]:
        method = self._methods.get(request.method)
        if method is None:
            raise UsageError(f"this session does not know the method {request.method!r}")
        params = dict(request.params)
        signature = inspect.signature(method)
        if "cancel" in signature.parameters:
            params["cancel"] = cancel
        try:
            signature.bind(**params)
        except TypeError as error:
            raise UsageError(f"{request.method}: {error}") from error
        return method(**params)

    def _send(self, message: dict[str, Json]) -> None:
        self.send_line(encode(message))

    def send_line(self, line: bytes) -> None:
        """Sends one line; a client that is gone does not matter."""
        with self._sending, contextlib.suppress(OSError):
            self._connection.sendall(line)

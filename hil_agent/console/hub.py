"""The one owner of the guest's console: logs it, watches it, and shares it among clients."""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import re
import select
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from hil_agent.console.cancel import Cancellation, Cancelled
from hil_agent.console.death import DeathWatch
from hil_agent.errors import HostError, LinkError, TargetTimeout

#: Bytes that may wait for a client before it is dropped.
CLIENT_BACKLOG_BYTES = 4 * 1024 * 1024
#: Bytes that may wait for the guest before clients are no longer read.
GUEST_BACKLOG_BYTES = 64 * 1024
#: Bytes of the log: a guest may print in an endless loop, and the log's place may be memory.
LOG_BYTES = 256 * 1024 * 1024
#: Bytes of the console kept for ``tail`` and ``wait_for``.
HISTORY_BYTES = 1024 * 1024
#: Clients at the same time.
MAX_CLIENTS = 32

_CHUNK_BYTES = 64 * 1024
_LAST_WORDS_BYTES = 600
_GREETING_BYTES = 1024

# A dying kernel that falls silent in the middle of its report is waited for so long.
_REPORT_QUIET_S = 0.5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What ``ConsoleHub.wait_for`` found.

    Attributes:
        match: the match.
        end: offset of the byte after it, counted from the console's first byte: where to look on.
    """

    match: re.Match[bytes]
    end: int


class _State(enum.Enum):
    LIVE = enum.auto()
    ENDED = enum.auto()  # the guest's end is gone; clients are still being told its last bytes
    CLOSED = enum.auto()


class _Peer:
    """The guest or a client: a stream and what waits to be written to it."""

    def __init__(self, stream: socket.socket) -> None:
        stream.setblocking(False)
        self.stream = stream
        self.backlog = bytearray()
        self.events = 0

    def receive(self) -> bytes | None:
        """Reads what is there: empty when the stream is over or broken, None when there is nothing now."""
        try:
            return self.stream.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def flush(self) -> None:
        """Writes as much of the backlog as the stream takes now. A broken stream shows in ``receive``."""
        try:
            while self.backlog:
                sent = self.stream.send(memoryview(self.backlog)[:_CHUNK_BYTES])
                del self.backlog[:sent]
        except BlockingIOError:
            return
        except OSError:
            self.backlog.clear()


class ConsoleHub:
    """Owns the guest's console, in a thread of its own, until ``close``.

    Args:
        guest: the connected stream to the guest's console. The hub closes it.
        log_path: file that every byte from the guest is appended to, made with mode 0600. A full disk ends
            the log, not the console.
        socket_path: unix socket for clients, made with mode 0600 in a folder that must be private to the
            user; None for none.
        on_death: called with the text of each report of a dying kernel, from the hub's thread: it must return
            at once.

    Raises:
        HostError: the log or the socket cannot be made.
    """

    def __init__(
        self,
        guest: socket.socket,
        *,
        log_path: Path,
        socket_path: Path | None = None,
        on_death: Callable[[str], None] | None = None,
    ) -> None:
        with contextlib.ExitStack() as undo:
            undo.callback(guest.close)
            self._log_file: int | None = _open_log(log_path)
            self._logged = 0
            undo.callback(os.close, self._log_file)
            self._listener = _listen(socket_path) if socket_path else None
            undo.pop_all()
        self._socket_path = socket_path
        self._on_death = on_death
        self._watch = DeathWatch()
        self._guest = _Peer(guest)
        self._clients: dict[socket.socket, _Peer] = {}

        self._lock = threading.Lock()  # for the five below
        self._state = _State.LIVE
        self._history = bytearray()
        self._received = 0
        self._joining: list[socket.socket] = []
        self._waiters: set[int] = set()

        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        if self._listener:
            self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def received(self) -> int:
        """Bytes that the guest has written so far: the offset of its next one."""
        with self._lock:
            return self._received

    @property
    def ended(self) -> bool:
        """Whether the console is over: the guest's end is gone, or ``close`` was called."""
        with self._lock:
            return self._state is not _State.LIVE

    def attach(self) -> socket.socket:
        """Returns a new client: what it sends goes to the guest, what the guest then writes comes to it.

        The caller closes it. It reads end of file when the console ends, or when it lags behind by more than
        CLIENT_BACKLOG_BYTES.
        """
        ours, theirs = socket.socketpair()
        with self._lock:
            if self._state is _State.LIVE:
                self._joining.append(ours)
                os.eventfd_write(self._wakeup, 1)
            else:
                ours.close()
        return theirs

    def tail(self, size: int) -> bytes:
        """The last bytes that the guest has written, at most ``size`` and at most HISTORY_BYTES."""
        with self._lock:
            return bytes(self._history[-size:]) if size > 0 else b""

    def wait_for(
        self,
        pattern: re.Pattern[bytes],
        timeout_s: float,
        *,
        start: int = 0,
        cancel: Cancellation | None = None,
    ) -> Found:
        """Waits until the pattern is found in what the guest has written.

        Args:
            pattern: what to look for, tried whenever bytes arrive: ``$`` can match in the middle of a line.
            timeout_s: seconds to wait.
            start: offset from the console's first byte; nothing before it is looked at.
            cancel: ends the wait when set.

        Raises:
            TargetTimeout: not found in time.
            LinkError: the console has ended without it.
            Cancelled: ``cancel`` was set.
        """
        what = repr(pattern.pattern.decode("utf-8", "replace"))
        deadline = time.monotonic() + timeout_s
        with self._news() as news:
            sources: list[int | Cancellation] = [news, cancel] if cancel else [news]
            while True:
                with self._lock:
                    oldest = self._received - len(self._history)
                    start = max(start, oldest)
                    text = bytes(self._history[start - oldest :])
                    over = self._state is not _State.LIVE
                if match := pattern.search(text):
                    return Found(match, start + match.end())
                if over:
                    raise LinkError(f"the console ended before {what} appeared on it{self._last_words()}")
                left = max(0.0, deadline - time.monotonic())
                ready = select.select(sources, [], [], left)[0]
                if cancel in ready:
                    raise Cancelled(f"no longer waiting for {what} on the console")
                if not ready:
                    raise TargetTimeout(
                        f"{what} did not appear on the console within {timeout_s:g} s{self._last_words()}"
                    )
                os.eventfd_read(news)

    def close(self) -> None:
        """Ends the console for everybody and waits for the hub's thread. A second call does nothing."""
        with self._lock:
            if self._state is _State.CLOSED:
                return
            self._state = _State.CLOSED
            os.eventfd_write(self._wakeup, 1)
        self._thread.join()
        os.close(self._wakeup)

    @contextlib.contextmanager
    def _news(self) -> Iterator[int]:
        """An event descriptor that is readable whenever ``wait_for`` should look again."""
        news = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        with self._lock:
            self._waiters.add(news)
        try:
            yield news
        finally:
            with self._lock:
                self._waiters.remove(news)
            os.close(news)

    def _last_words(self) -> str:
        text = self.tail(_LAST_WORDS_BYTES).decode("utf-8", "replace").strip()
        return f"; the last it said:\n{text}" if text else "; it has not said a word"

    # What follows runs in the hub's thread.

    def _run(self) -> None:
        try:
            self._arrange()
            while self._state is not _State.CLOSED and (self._state is _State.LIVE or self._clients):
                ready = self._selector.select(_REPORT_QUIET_S if self._watch.dying else None)
                if not ready:
                    self._report(self._watch.flush())
                for key, events in ready:
                    self._serve(key.fileobj, events)
                self._arrange()
        finally:
            self._end()
            for peer in list(self._clients.values()):
                self._drop(peer)
            self._selector.close()
            if self._log_file is not None:
                os.close(self._log_file)

    def _serve(self, source: object, events: int) -> None:
        if source == self._wakeup:
            os.eventfd_read(self._wakeup)
            with self._lock:
                joining, self._joining = self._joining, []
            for stream in joining:
                self._join(stream)
        elif source is self._listener:
            self._accept()
        elif source is self._guest.stream:
            self._serve_guest(events)
        elif isinstance(source, socket.socket) and (client := self._clients.get(source)):
            self._serve_client(client, events)

    def _serve_guest(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._guest.flush()
        if events & selectors.EVENT_READ and (data := self._guest.receive()) is not None:
            if data:
                self._publish(data)
            else:
                self._end()

    def _serve_client(self, client: _Peer, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            client.flush()
        if events & selectors.EVENT_READ and (data := client.receive()) is not None:
            if data:
                self._guest.backlog += data
                self._guest.flush()
            else:
                self._drop(client)

    def _publish(self, data: bytes) -> None:
        """Hands bytes of the guest to the log, the history, the clients and the watch."""
        self._write_log(data)
        with self._lock:
            self._history += data
            del self._history[:-HISTORY_BYTES]
            self._received += len(data)
            for news in self._waiters:
                os.eventfd_write(news, 1)
        for client in list(self._clients.values()):
            client.backlog += data
            client.flush()
            if len(client.backlog) > CLIENT_BACKLOG_BYTES:
                _log.warning("console: dropped a client that does not read")
                self._drop(client)
        if report := self._watch.feed(data):
            self._report(report)

    def _write_log(self, data: bytes) -> None:
        try:
            while data and self._log_file is not None:
                written = os.write(self._log_file, data)
                data = data[written:]
                self._logged += written
                if self._logged > LOG_BYTES:
                    self._end_log(f"it has reached {LOG_BYTES >> 20} MiB")
        except OSError as error:
            self._end_log(f"it cannot be written: {error.strerror}")

    def _end_log(self, why: str) -> None:
        _log.warning("console: the log ends here, %s", why)
        if self._log_file is not None:
            os.close(self._log_file)
        self._log_file = None

    def _report(self, report: str) -> None:
        if self._on_death:
            self._on_death(report)

    def _accept(self) -> None:
        if self._listener:
            with contextlib.suppress(OSError):  # the client may be gone again
                stream = self._listener.accept()[0]
                # It came to see what is there: most often a prompt, which would not be written again.
                self._join(stream, greeting=self.tail(_GREETING_BYTES).rpartition(b"\n")[2])

    def _join(self, stream: socket.socket, greeting: bytes = b"") -> None:
        if len(self._clients) >= MAX_CLIENTS:
            stream.close()
            return
        client = self._clients[stream] = _Peer(stream)
        client.backlog += greeting
        client.flush()

    def _drop(self, client: _Peer) -> None:
        del self._clients[client.stream]
        self._forget(client)

    def _forget(self, peer: _Peer) -> None:
        if peer.events:
            self._selector.unregister(peer.stream)
            peer.events = 0
        peer.stream.close()

    def _end(self) -> None:
        """No more from the guest: nobody new may come, and who is here gets the rest of what was said."""
        if self._guest.stream.fileno() < 0:
            return
        self._forget(self._guest)
        if self._listener and self._socket_path:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._socket_path.unlink(missing_ok=True)
        if self._watch.dying:
            self._report(self._watch.flush())
        with self._lock:
            if self._state is _State.LIVE:
                self._state = _State.ENDED
            for stream in self._joining:
                stream.close()
            for news in self._waiters:
                os.eventfd_write(news, 1)

    def _arrange(self) -> None:
        """Tells the selector what each peer is to be watched for."""
        if self._state is _State.LIVE:
            self._watch_for(self._guest, selectors.EVENT_READ)
        else:
            for client in [client for client in self._clients.values() if not client.backlog]:
                self._drop(client)
        hears_clients = self._state is _State.LIVE and len(self._guest.backlog) < GUEST_BACKLOG_BYTES
        for client in self._clients.values():
            self._watch_for(client, selectors.EVENT_READ if hears_clients else 0)

    def _watch_for(self, peer: _Peer, events: int) -> None:
        if peer.backlog:
            events |= selectors.EVENT_WRITE
        if events == peer.events:
            return
        if not peer.events:
            self._selector.register(peer.stream, events)
        elif not events:
            self._selector.unregister(peer.stream)
        else:
            self._selector.modify(peer.stream, events)
        peer.events = events


def _open_log(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HostError(f"cannot write the console's log {path}: {error.strerror}") from error


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise HostError(
            f"cannot make the console's socket {path}: {error.strerror or error}",
            hint="a unix socket's path has at most 107 bytes; its folder must be writable",
        ) from error
    return listener

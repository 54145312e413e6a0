"""Listening to the console: pexpect on a stream, with what else can end a wait."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import pexpect
from pexpect.socket_pexpect import SocketSpawn

from hil_agent.console.cancel import Cancellation, Cancelled
from hil_agent.console.death import PANICS, REBOOTS, DeathWatch
from hil_agent.console.framing import MessageFilter
from hil_agent.errors import GuestError, LinkError, TargetTimeout

# A console that has been silent for so long has, for now, said what it had to say.
QUIET_S = 0.25

# What is looked for is a line, so only so much before the newest byte is searched.
_LINE_BYTES = 4096
_READ_BYTES = 64 * 1024

# More than any answer, and so much that a guest which floods its console does not fill our memory.
_FLOOD_BYTES = 4 * 1024 * 1024


class GuestDied(GuestError):  # noqa: N818 - a word of its own, like TargetTimeout
    """The guest's kernel panicked or booted anew while its shell was in use."""


if TYPE_CHECKING:
    _ByteSpawn = SocketSpawn[bytes]  # generic in the stubs only
else:
    _ByteSpawn = SocketSpawn


class _Stream(_ByteSpawn):
    """The console as pexpect reads it during one wait, with limits of its own.

    Args:
        stream: the console.
        watch: finds out when the guest dies.
        messages: takes the kernel's messages out.
        cancel: ends a read when set.
        until: when to stop waiting, in seconds of ``time.monotonic``.
        settled: when to stop waiting if something was heard and the console is quiet again.
    """

    def __init__(
        self,
        stream: socket.socket,
        watch: DeathWatch,
        messages: MessageFilter,
        *,
        cancel: Cancellation | None,
        until: float,
        settled: float,
    ) -> None:
        super().__init__(stream, maxread=_READ_BYTES, searchwindowsize=_LINE_BYTES)
        self._watch = watch
        self._messages = messages
        self._cancel = cancel
        self._until = until
        self._settled = settled
        self._heard = False
        self._received = 0

    def read_nonblocking(self, size: int = 1, timeout: float | None = -1) -> bytes:  # noqa: ARG002 - see above
        """The next bytes, without the kernel's messages. Raises also Cancelled and GuestDied."""
        now = time.monotonic()
        until = self._until
        if self._watch.dying:
            until = now + QUIET_S
        elif self._heard:
            until = min(until, max(self._settled, now + QUIET_S))
        sources: list[socket.socket | Cancellation] = [self.socket]
        if self._cancel:
            sources.append(self._cancel)
        ready = select.select(sources, [], [], max(0.0, until - now))[0]
        if self._cancel in ready:
            raise Cancelled("cancelled while waiting for the guest's shell")
        data = self.socket.recv(size) if ready else b""
        if report := self._watch.feed(data) if data else self._watch.flush():
            raise GuestDied(f"the guest died or started anew while its shell was in use:\n{report}")
        self._received += len(data)
        if not ready or self._received > _FLOOD_BYTES:
            raise pexpect.TIMEOUT("not heard")
        if not data:
            raise pexpect.EOF("console closed")
        data = self._messages.feed(data)
        # Not the end of the line with the last answer, which comes after it.
        self._heard = self._heard or bool(data.strip())
        return data


class Channel:
    """Sends to the console and waits for a line from it."""

    def __init__(self, stream: socket.socket) -> None:
        self._socket = stream
        self._cancel: Cancellation | None = None
        self._watch = DeathWatch(PANICS + REBOOTS)
        self._messages = MessageFilter()

    @contextlib.contextmanager
    def cancelled_by(self, cancel: Cancellation | None) -> Iterator[None]:
        """Within it, ``expect`` raises Cancelled when ``cancel`` is set; None for never."""
        before, self._cancel = self._cancel, cancel
        try:
            yield
        finally:
            self._cancel = before

    def send(self, data: bytes, deadline: float) -> None:
        """Types something.

        Args:
            data: what to type.
            deadline: until when the console must have taken it, in seconds of ``time.monotonic``.

        Raises:
            TargetTimeout: it did not, so the guest does not read.
            LinkError: the console is closed.
        """
        self._socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            self._socket.sendall(data)
        except TimeoutError as error:
            raise TargetTimeout("the guest does not read its console") from error
        except OSError as error:
            raise LinkError(f"the guest's console is closed: {error.strerror}") from error
        finally:
            self._socket.settimeout(None)

    def expect(
        self, pattern: re.Pattern[bytes], *, until: float, settled: float
    ) -> tuple[bytes, re.Match[bytes]] | None:
        """Waits for a line. What was said before counts no more.

        Args:
            pattern: what to look for, within a line.
            until: when to give up, in seconds of ``time.monotonic``.
            settled: when to give up if something else was heard and the console is quiet again.

        Returns:
            What came before the match, and the match; None when given up, also because far too much came.

        Raises:
            GuestDied: the guest died or started anew meanwhile.
            LinkError: the console was closed.
            Cancelled: see ``cancelled_by``.
        """
        stream = _Stream(
            self._socket, self._watch, self._messages, cancel=self._cancel, until=until, settled=settled
        )
        try:
            stream.expect([pattern], timeout=None)
        except pexpect.TIMEOUT:
            return None
        except (pexpect.EOF, OSError) as error:
            raise LinkError("the guest's console was closed while its shell was in use") from error
        return stream.before or b"", cast("re.Match[bytes]", stream.match)

"""One debugger's connection: bytes to packets and back, however slowly or wrongly it speaks."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import selectors
import socket
from collections.abc import Callable
from typing import Final, Protocol

from hil_agent.errors import ProtocolError
from hil_agent.rsp.packet import Control, Damage, Decoder, Notification, Packet, encode

_log = logging.getLogger(__name__)

_RECEIVE_SIZE: Final = 64 * 1024
_EARLY_LOOKS: Final = 50
_MOST_AT_A_TIME: Final = 64
"""How often a client is heard before it is somebody else's turn."""

_BACKLOG: Final = 4 << 20
"""Bytes that a client may leave unread before it is given up."""


class Speaker(Protocol):
    """Who answers a client."""

    def answer(self, payload: bytes) -> bytes | None:
        """Deals with a packet; the reply, or None if that comes later, or never."""

    def interrupt(self) -> None:
        """Deals with Ctrl-C."""


class Connection:
    """Belongs to the thread that owns the target; never blocks it.

    Args:
        stream: the client's socket, which it owns from here on.
        watch: has the thread serve the socket; see `TargetLoop.watch`.
        gone: called once, when the client has gone or is given up.

    Attributes:
        acknowledging: whether packets are acknowledged (until ``QStartNoAckMode``).
        speaker: who answers.
    """

    speaker: Speaker

    def __init__(
        self,
        stream: socket.socket,
        watch: Callable[[socket.socket, int, Callable[[int], None]], None],
        gone: Callable[[], None],
    ) -> None:
        self.acknowledging = True
        self._stream = stream
        self._watch = watch
        self._gone = gone
        self._decoder = Decoder()
        self._unsent = bytearray()
        self._latest = b""  # in case it did not arrive whole
        self._open = True
        self._ending = False
        self._listening = selectors.EVENT_READ
        stream.setblocking(False)
        if stream.family in (socket.AF_INET, socket.AF_INET6):
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._readable = select.poll()
        self._readable.register(stream, select.POLLIN)
        watch(stream, selectors.EVENT_READ, self._ready)

    def send(self, payload: bytes) -> None:
        """Sends a packet."""
        self._latest = encode(payload)
        self._write(self._latest)

    def finish(self) -> None:
        """Closes the connection when everything has been sent."""
        self._ending = True
        if not self._unsent:
            self.close()

    def close(self) -> None:
        """Closes the connection at once."""
        if self._open:
            self._open = False
            self._watch(self._stream, 0, self._ready)
            self._stream.close()
            self._gone()

    def _ready(self, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                self._flush()
            if self._open and events & selectors.EVENT_READ:
                self._receive()
        except (OSError, ProtocolError) as error:
            _log.info("a debugger is lost: %s", error)
            self.close()
        except Exception:  # a bug of ours costs this client, and not the guest
            _log.exception("a debugger's request failed")
            self.close()

    def _receive(self) -> None:
        """Deals with what has come, and with what comes at once after it has been answered.

        A debugger asks one thing after another, sooner than we would be asleep and awake again.
        """
        looks = _EARLY_LOOKS
        for _ in range(_MOST_AT_A_TIME):
            self._take(self._stream.recv(_RECEIVE_SIZE))
            while self._open and not self._readable.poll(0):
                looks -= 1
                if not looks:
                    return
                os.sched_yield()
            if not self._open:
                return
            looks = _EARLY_LOOKS

    def _take(self, data: bytes) -> None:
        if not data:
            self.close()
            return
        for event in self._decoder.feed(data):
            if not self._open:
                return
            match event:
                case Packet(payload):
                    self._answer(payload)
                case Damage() if self.acknowledging:
                    self._write(Control.NACK.value)
                case Control.NACK if self.acknowledging and self._latest:
                    self._write(self._latest)
                case Control.INTERRUPT:
                    self.speaker.interrupt()
                case Control() | Damage() | Notification():
                    continue

    def _answer(self, payload: bytes) -> None:
        if self.acknowledging:
            self._write(Control.ACK.value)
        reply = self.speaker.answer(payload)
        if reply is not None and self._open:
            self.send(reply)

    def _write(self, data: bytes) -> None:
        if not self._open:
            return
        self._unsent += data
        try:
            if len(self._unsent) == len(data):
                self._flush()
        except OSError as error:
            _log.info("a debugger is lost: %s", error)
            self.close()
        if len(self._unsent) > _BACKLOG:
            _log.info("a debugger is given up: it has left %d bytes unread", len(self._unsent))
            self.close()

    def _flush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            del self._unsent[: self._stream.send(self._unsent)]
        if self._ending and not self._unsent:
            self.close()
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        if wanted != self._listening:
            self._listening = wanted
            self._watch(self._stream, wanted, self._ready)

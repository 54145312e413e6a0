"""Packets over a connected socket: acknowledgement, retransmission, pipelining, time limits.

Requests and replies are matched by their order alone, which is all that the protocol offers. In
acknowledgement mode a pipelined request stands for the acknowledgement of the reply before it: QEMU's
``gdb_read_byte`` (``gdbstub/gdbstub.c``) takes ``$`` for ``+`` and so does OpenOCD's
``gdb_put_packet_inner``. The last reply's ``+`` travels in front of the next request, in the same write,
and never while the target runs: QEMU stops its machine for any byte that it receives then.
"""

from __future__ import annotations

import os
import select
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Final

from hil_agent.errors import LinkError, ProtocolError, TargetTimeout
from hil_agent.rsp.packet import Control, Damage, Decoder, Packet, encode
from hil_agent.rsp.reply import excerpt

_RECEIVE_SIZE: Final = 16 * 1024
_REPEAT_LIMIT: Final = 8
_EARLY_LOOKS: Final = 25
_WINDOW: Final = 16 * 1024
"""Bytes of requests in flight at most: were it more than a socket buffers, both sides could block."""


class Link:
    """One side of a connection to a stub. Not thread-safe.

    Args:
        connection: a connected stream socket; the link owns it from here on.
        timeout_s: how long, in seconds, the stub may take for an exchange.
        pipelining: whether requests may be sent before the replies to those before them have arrived.

    Attributes:
        acknowledging: whether packets are acknowledged (until ``QStartNoAckMode`` has been agreed).
        on_console: is given the text of ``O`` packets, which may come at any time.
    """

    def __init__(self, connection: socket.socket, *, timeout_s: float, pipelining: bool) -> None:
        self.timeout_s = timeout_s
        self.pipelining = pipelining
        self.acknowledging = True
        self.on_console: Callable[[bytes], None] = _discard
        self._socket = connection
        self._decoder = Decoder()
        self._inbox: deque[bytes] = deque()
        self._late = 0  # replies to exchanges that were given up
        self._owes_ack = False
        self._sent: bytes | None = None  # the last write, where it was one packet and so can be repeated
        self._repeats = 0
        connection.setblocking(False)
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._readable = select.poll()
        self._readable.register(connection, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(connection, select.POLLOUT)

    def fileno(self) -> int:
        """The socket's file descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Closes the connection; the stub sees an end of file."""
        self._socket.close()

    def exchange(self, requests: Sequence[bytes]) -> list[bytes]:
        """Sends requests and returns a reply to each, in order.

        Raises:
            TargetTimeout: not all replies came within `timeout_s`.
            LinkError: the connection broke.
            ProtocolError: the stub sent something that it should not have.
        """
        if self._inbox:
            raise ProtocolError(f"the stub sent {excerpt(self._inbox.popleft())!r} without being asked")
        replies: list[bytes] = []
        for batch in self._batches(requests):
            self.send(batch)
            replies += self._collect(batch)
        return replies

    def send(self, requests: Sequence[bytes]) -> None:
        """Sends requests in one write and waits for nothing."""
        data = b"".join(map(encode, requests))
        self._sent = data if len(requests) == 1 else None
        if self._owes_ack:
            self._owes_ack = False
            data = b"+" + data
        self.send_raw(data)

    def send_raw(self, data: bytes) -> None:
        """Sends bytes as they are."""
        deadline = monotonic() + self.timeout_s
        try:
            while True:
                try:
                    sent = self._socket.send(data)
                except BlockingIOError:
                    sent = 0
                if sent == len(data):
                    return
                data = data[sent:]
                if not _poll(self._writable, deadline):
                    raise TargetTimeout(f"the stub has not read its requests for {self.timeout_s:g} s")
        except OSError as error:
            raise _broken(error) from error

    def expect_silence(self) -> None:
        """Sees to it that the stub, which was asked nothing, is there and says nothing.

        Raises:
            LinkError: the connection broke.
            ProtocolError: it has said something.
        """
        self._receive()
        if self._inbox:
            raise ProtocolError("the stub sent something without being asked")

    def next_packet(self, timeout_s: float) -> bytes | None:
        """The next packet's payload; None when none came within `timeout_s` seconds (0: already there)."""
        deadline = monotonic() + timeout_s
        if not self._inbox:
            self._receive()
        while not self._inbox:
            if not _poll(self._readable, deadline):
                return None
            self._receive()
        return self._inbox.popleft()

    def _collect(self, batch: Sequence[bytes]) -> list[bytes]:
        """Waits for the replies to a batch that was sent."""
        try:
            self._wait_for(batch)
        except BaseException:
            # Given up, be it by Ctrl-C: what still comes must not pass for the answers to the next requests.
            self._late += max(0, len(batch) - len(self._inbox))
            self._inbox.clear()
            raise
        return [self._inbox.popleft() for _ in batch]

    def _wait_for(self, batch: Sequence[bytes]) -> None:
        # A stub that is idle answers sooner than we would be asleep and awake again.
        for _ in range(_EARLY_LOOKS):
            self._receive()
            if len(self._inbox) >= len(batch):
                return
            os.sched_yield()
        deadline = monotonic() + self.timeout_s
        while len(self._inbox) < len(batch):
            if not _poll(self._readable, deadline):
                missing = excerpt(batch[len(self._inbox)])
                raise TargetTimeout(f"the stub did not answer {missing!r} within {self.timeout_s:g} s")
            self._receive()

    def _batches(self, requests: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
        """Cuts requests into what may be in flight at once."""
        if not self.pipelining:
            yield from ([request] for request in requests)
            return
        start = size = 0
        for index, request in enumerate(requests):
            size += len(request)
            if size > _WINDOW and index > start:
                yield requests[start:index]
                start, size = index, len(request)
        if requests:
            yield requests[start:]

    def _receive(self) -> None:
        """Takes in what has arrived, if anything has."""
        try:
            data = self._socket.recv(_RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            raise _broken(error) from error
        if not data:
            raise LinkError("the stub closed the connection")
        for event in self._decoder.feed(data):
            match event:
                case Packet(payload):
                    self._accept(payload)
                case Damage():
                    self._repair(b"-", event.value)
                case Control.NACK:
                    self._repair(self._sent, "the stub says that a request was damaged")

    def _accept(self, payload: bytes) -> None:
        self._repeats = 0
        if self.acknowledging:
            if self.pipelining:
                self._owes_ack = True
            else:
                self.send_raw(b"+")
        if payload[:1] == b"O" and payload != b"OK":
            self._print(payload)
        elif self._late:
            self._late -= 1
        else:
            self._inbox.append(payload)

    def _print(self, payload: bytes) -> None:
        try:
            text = bytes.fromhex(payload[1:].decode("ascii"))
        except ValueError:
            raise ProtocolError(f"the stub sent {excerpt(payload)!r} as console output") from None
        self.on_console(text)

    def _repair(self, answer: bytes | None, why: str) -> None:
        """Has one packet sent once more, which works only while just one is on its way."""
        self._repeats += 1
        if not self.acknowledging or self._sent is None or answer is None or self._repeats > _REPEAT_LIMIT:
            raise ProtocolError(
                f"a packet was damaged on its way: {why}",
                hint="On a line that loses bytes, connect without pipelining.",
            )
        self.send_raw(answer)


def _poll(poller: select.poll, deadline: float) -> bool:
    """Waits for a socket, but not beyond `deadline`, even if the stub never ceases to send."""
    remaining = deadline - monotonic()
    return remaining > 0 and bool(poller.poll(round(remaining * 1000)))


def _broken(error: OSError) -> LinkError:
    return LinkError(f"the connection to the stub broke: {error.strerror or error}")


def _discard(_text: bytes) -> None:
    """Where console output goes when nobody asked for it."""

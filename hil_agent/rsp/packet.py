"""The packet layer of the GDB remote serial protocol: bytes to events and back. Pure.

Sources: GDB's manual, appendix "GDB Remote Serial Protocol", Overview; ``read_frame`` in ``gdb/remote.c``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final
from zlib import adler32

from hil_agent.errors import ProtocolError

PAYLOAD_LIMIT: Final = 128 * 1024
"""Largest payload in bytes that a `Decoder` takes, as it travels and after expansion."""

_SPECIAL: Final = re.compile(rb"[#$}*]")
_ESCAPED: Final = re.compile(rb"\}(.?)", re.DOTALL)
_ESCAPE_BIT: Final = 0x20
_RUN_BIAS: Final = 29  # a run's count is sent as the printable character that is 29 above it
_SHORTEST_RUN: Final = 3
_LONGEST_RUN: Final = ord("~") - _RUN_BIAS
_TRAILER: Final = 3  # '#' and two hexadecimal digits
_SUMMED: Final = 256  # bytes of which the sum is below 65521 whatever they are
_CHECKSUMS: Final = tuple(b"%02x" % value for value in range(256))


class Control(Enum):
    """Single bytes that travel between packets."""

    ACK = b"+"
    NACK = b"-"
    INTERRUPT = b"\x03"


class Damage(Enum):
    """Why a packet that arrived cannot be used."""

    CHECKSUM = "its checksum does not match"
    ENCODING = "its escapes or runs are malformed"


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet, introduced by ``$``; the payload has its runs expanded and its escapes removed."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification, introduced by ``%``: like a packet, but never acknowledged."""

    payload: bytes


Event = Packet | Notification | Control | Damage

_FRAMES: Final[dict[int, type[Packet] | type[Notification]]] = {ord("$"): Packet, ord("%"): Notification}
_CONTROLS: Final = {ord(control.value): control for control in Control}


def checksum(payload: bytes) -> int:
    """The sum of a packet's bytes, modulo 256.

    The lower half of an Adler-32 is one more than the sum as long as that is below 65521, and a good deal
    quicker to have than Python's own sum.
    """
    if len(payload) <= _SUMMED:
        return adler32(payload) - 1 & 0xFF
    pieces = (payload[start : start + _SUMMED] for start in range(0, len(payload), _SUMMED))
    return sum(adler32(piece) - 1 & 0xFFFF for piece in pieces) & 0xFF


def encode(payload: bytes) -> bytes:
    """The packet that carries `payload`, ready to be sent. No runs are made."""
    if _SPECIAL.search(payload):
        payload = _SPECIAL.sub(lambda match: bytes((ord("}"), ord(match[0]) ^ _ESCAPE_BIT)), payload)
    return b"$%b#%b" % (payload, _CHECKSUMS[checksum(payload)])


class Decoder:
    """Turns a stream of bytes into events, however the stream is cut into pieces.

    Bytes between packets that mean nothing are skipped, as gdb does.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes.

        Raises:
            ProtocolError: a packet is larger than `PAYLOAD_LIMIT`.
        """
        data = self._rest + data
        events: list[Event] = []
        position = 0
        while position < len(data):
            frame = _FRAMES.get(data[position])
            if frame is None:
                if control := _CONTROLS.get(data[position]):
                    events.append(control)
                position += 1
                continue
            end = data.find(b"#", position)
            if end < 0 or end + _TRAILER > len(data):
                break
            body = data[position + 1 : end]
            position = end + _TRAILER
            if data[end + 1 : position].lower() == _CHECKSUMS[checksum(body)]:
                payload = _unpack(body)
                events.append(Damage.ENCODING if payload is None else frame(payload))
            else:
                events.append(Damage.CHECKSUM)
        self._rest = data[position:]
        if len(self._rest) > PAYLOAD_LIMIT + _TRAILER:
            raise _too_large()
        return events


def _unpack(body: bytes) -> bytes | None:
    """The payload in a packet's body; None where the body is malformed.

    Runs come first: gdb expands them while it still looks for the end of the packet.
    """
    try:
        if b"*" in body:
            body = _expand(body)
        if b"}" in body:
            body = _ESCAPED.sub(_unescape, body)
    except ValueError:
        return None
    return body


def _expand(body: bytes) -> bytes:
    """Replaces each ``*n`` by further copies of the byte before it."""
    expanded = bytearray()
    position = 0
    while (star := body.find(b"*", position)) >= 0:
        expanded += body[position:star]
        count = ord(body[star + 1 : star + 2] or b"\0") - _RUN_BIAS
        if not expanded or not _SHORTEST_RUN <= count <= _LONGEST_RUN:
            raise ValueError
        expanded += expanded[-1:] * count
        if len(expanded) > PAYLOAD_LIMIT:
            raise _too_large()
        position = star + 2
    return bytes(expanded + body[position:])


def _unescape(escaped: re.Match[bytes]) -> bytes:
    if not escaped[1]:
        raise ValueError
    return bytes((ord(escaped[1]) ^ _ESCAPE_BIT,))


def _too_large() -> ProtocolError:
    return ProtocolError(f"the other side sent a packet of more than {PAYLOAD_LIMIT} bytes")

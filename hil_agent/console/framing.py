"""Data as lines of text that survive a console, and back. Pure.

From the guest, data comes in blocks of numbered lines. A message of the kernel can stand anywhere in them,
also in the middle of a line. Most messages are known by their time stamp and taken out. Where that fails, a
line that was torn is recognised, since its number and length are known beforehand, and is asked for again. A
digest over the whole settles the rest.

To the guest, data goes in chunks of lines that the guest decodes and compares with a digest.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

# Gaps so close to each other are asked for together: a request costs more than some lines that are known.
_NEAR_LINES = 16

_NUMBERED_LINE = re.compile(rb"([1-9][0-9]{0,8}):(.*)")


# As printk writes it, in one go, with CONFIG_PRINTK_TIME; and the same when only its beginning has arrived.
_MESSAGE = re.compile(rb"\[ *\d+\.\d{6}\][^\n]*\n")
_MESSAGE_BEGINNING = re.compile(rb"\[[ \d.]{0,20}(?:\][^\n]{0,2000})?\Z")


class MessageFilter:
    """Takes the kernel's messages out of a stream that arrives in pieces."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Takes the next bytes; returns those that are surely not part of a message."""
        data = _MESSAGE.sub(b"", self._held + data)
        beginning = _MESSAGE_BEGINNING.search(data)
        self._held = beginning[0] if beginning else b""
        return data[: len(data) - len(self._held)]


@dataclass(frozen=True, slots=True)
class LineCode:
    """A way to write bytes as lines, for the way from the guest.

    Attributes:
        program: what the guest must have for it.
        encode: shell command that turns standard input into such lines.
        line_bytes: bytes of data in each line but the last.
        text_length: length of the line that holds so many bytes of data.
        decode: the data of a line; raises ValueError for what is no such line.
    """

    program: str
    encode: str
    line_bytes: int
    text_length: Callable[[int], int]
    decode: Callable[[bytes], bytes]

    def line_count(self, size: int) -> int:
        """Lines that ``size`` bytes of data take."""
        return -(-size // self.line_bytes)


def _decode_base64(line: bytes) -> bytes:
    return base64.b64decode(line, validate=True)  # binascii.Error is a ValueError


def _decode_hex(line: bytes) -> bytes:
    return bytes.fromhex(line.decode("ascii"))


#: In order of preference. ``uuencode -m`` is base64 between a header and a trailer line.
LINE_CODES = (
    LineCode("base64", "base64", 57, lambda size: -(-size // 3) * 4, _decode_base64),
    LineCode("uuencode", "uuencode -m x | sed '1d;$d'", 45, lambda size: -(-size // 3) * 4, _decode_base64),
    LineCode("od", "od -An -v -tx1", 16, lambda size: size * 3, _decode_hex),
)


@dataclass(frozen=True, slots=True)
class ChunkCode:
    """A way to write bytes as lines, for the way to the guest.

    Attributes:
        program: what the guest must have for it.
        decode: shell command that turns such lines on standard input into the data.
        encode: the lines, each well below the 4095 bytes that a terminal takes.
    """

    program: str
    decode: str
    encode: Callable[[bytes], list[bytes]]


def _base64_lines(data: bytes) -> list[bytes]:
    return base64.encodebytes(data).splitlines()


def _octal_lines(data: bytes, size: int = 200) -> list[bytes]:
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    return [b"".join(b"\\%03o" % byte for byte in piece) for piece in pieces]


#: In order of preference. ``printf`` is built into every shell: slow, but there.
CHUNK_CODES = (
    ChunkCode("base64", "base64 -d", _base64_lines),
    ChunkCode("printf", 'while IFS= read -r x; do printf "$x"; done', _octal_lines),
)


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest that both sides can compute.

    Attributes:
        program: what computes it in the guest, from standard input; the first word that it prints.
        of: the same word.
    """

    program: str
    of: Callable[[bytes], str]


_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def cksum(data: bytes) -> int:
    """The CRC of POSIX ``cksum``: zlib's with the bits of each byte reversed, over the data and its size."""
    size = len(data)
    reversed_bits = (data + size.to_bytes(-(-size.bit_length() // 8), "little")).translate(_REVERSED_BITS)
    return int(f"{zlib.crc32(reversed_bits, 0xFFFFFFFF):032b}"[::-1], 2)


#: In order of preference; POSIX asks for the second, busybox often has the first only.
DIGESTS = (
    Digest("sha256sum", lambda data: hashlib.sha256(data).hexdigest()),
    Digest("cksum", lambda data: str(cksum(data))),
)


def intact_lines(text: bytes, code: LineCode, size: int) -> dict[int, bytes]:
    """Finds the lines that came through whole.

    Args:
        text: a block of numbered lines, ``1:...``, with anything else in between, also within lines.
        code: how the lines were made.
        size: bytes of data that the block holds when it is whole.

    Returns:
        The data of each intact line by its index, from 0.
    """
    lines: dict[int, bytes] = {}
    expected = 0
    for line in re.split(rb"[\r\n]+", text):
        match = _NUMBERED_LINE.fullmatch(line)
        if not match:
            continue
        # A line torn within its number ("1" and "2:...") seems to have a smaller one, so numbers must rise.
        index = int(match[1]) - 1
        data_size = min(code.line_bytes, size - index * code.line_bytes)
        if index < expected or data_size <= 0 or len(match[2]) != code.text_length(data_size):
            continue
        try:
            lines[index] = code.decode(match[2])
        except ValueError:
            continue
        expected = index + 1
    return lines


def missing_runs(have: Collection[int], count: int) -> Iterator[tuple[int, int]]:
    """The lines still to be asked for, as pairs of first index and number of lines.

    Args:
        have: indices of the lines that are there.
        count: number of lines of the whole.
    """
    missing = [index for index in range(count) if index not in have]
    start = 0
    for position in range(1, len(missing) + 1):
        if position == len(missing) or missing[position] - missing[position - 1] > _NEAR_LINES:
            yield missing[start], missing[position - 1] - missing[start] + 1
            start = position

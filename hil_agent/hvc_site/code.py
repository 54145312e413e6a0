"""Instructions that matter to us, found in what a kernel's file puts into memory. Pure.

Whatever looks like one is taken for one, be it data: a hardware breakpoint changes nothing, and one on
data is never hit.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hil_agent.errors import FileError
from hil_agent.guest.kernel import Segment
from hil_agent.psci.call import Conduit

_WORD = 4
_REGISTER = 0x1F

_CALL_TAIL = b"\xd4"
_CALL_MASK = 0xFFE0_001F
_CALLS = {0xD400_0002: Conduit.HVC, 0xD400_0003: Conduit.SMC}
_IMMEDIATE_SHIFT, _IMMEDIATE_MASK = 5, 0xFFFF

_NEAR = 8
_MOVE_MASK = 0x7FE0_001F
_MOVES_TO_X0 = {0x52A0_0000, 0x72A0_0000}  # movz and movk w0, #0, lsl #16; bit 31: x0

_MSR_TAIL = b"\x18\xd5"
_TRANSLATION = {0xD518_1000, 0xD518_2020}  # msr sctlr_el1, x0 and msr ttbr1_el1, x0

_MZ = b"MZ"
_PE_OFFSET_AT = 60
_PE_HEADER = struct.Struct("<4s2xH12xH2x")
_PE_SECTION = struct.Struct("<8s4I12xI")
_PE_EXECUTE = 0x2000_0000


@dataclass(frozen=True, slots=True)
class Site:
    """An instruction that the guest may call with.

    Attributes:
        address: physical.
        conduit: which instruction it is.
        immediate: its 16-bit immediate.
        owner: the upper half of the function ID, bits [31:16], where an instruction shortly before sets it.
    """

    address: int
    conduit: Conduit
    immediate: int
    owner: int | None = None


@dataclass(frozen=True, slots=True)
class Code:
    """What was found.

    Attributes:
        sites: where the guest may call, in ascending order.
        translation: physical addresses of the instructions that change how kernel addresses are translated:
            writes of SCTLR_EL1, which turns the MMU on, and of TTBR1_EL1, the root of the tables.
    """

    sites: tuple[Site, ...]
    translation: tuple[int, ...]


def find_code(segments: Iterable[Segment]) -> Code:
    """What there is in the parts of a kernel.

    Raises:
        FileError: a kernel's file is not there any more.
    """
    sites: list[Site] = []
    translation: list[int] = []
    for segment in segments:
        content = _content(segment)
        code = content[: _executable(content)]
        sites += _sites(code, segment.address)
        translation += [
            segment.address + at for at, word in _words(code, _MSR_TAIL) if word & ~_REGISTER in _TRANSLATION
        ]
    return Code(tuple(sites), tuple(translation))


def _content(segment: Segment) -> bytes:
    if isinstance(segment.content, bytes):
        return segment.content
    try:
        return segment.content.read_bytes()
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", path=Path(segment.content)) from error


def _executable(content: bytes) -> int | None:
    """Where the code of an Image ends: its header is one of a PE file, too (PE format, "Section Table")."""
    if not content.startswith(_MZ):
        return None
    try:
        (header,) = struct.unpack_from("<I", content, _PE_OFFSET_AT)
        _, count, optional_size = _PE_HEADER.unpack_from(content, header)
        table = header + _PE_HEADER.size + optional_size
        sections = [_PE_SECTION.unpack_from(content, table + i * _PE_SECTION.size) for i in range(count)]
    except struct.error:
        return None
    ends = [start + size for _, _, _, size, start, flags in sections if flags & _PE_EXECUTE]
    return max(ends, default=None)


def _sites(code: bytes, base: int) -> Iterator[Site]:
    for at, word in _words(code, _CALL_TAIL):
        conduit = _CALLS.get(word & _CALL_MASK)
        if conduit is not None:
            immediate = word >> _IMMEDIATE_SHIFT & _IMMEDIATE_MASK
            yield Site(base + at, conduit, immediate, _owner(code, at))


def _owner(code: bytes, call: int) -> int | None:
    """What the last MOVZ or MOVK before a call puts into bits [31:16] of w0 or x0."""
    start = max(0, call - _NEAR * _WORD)
    words: tuple[int, ...] = struct.unpack(f"<{(call - start) // _WORD}I", code[start:call])
    for word in reversed(words):
        if word & _MOVE_MASK in _MOVES_TO_X0:
            return word >> _IMMEDIATE_SHIFT & _IMMEDIATE_MASK
    return None


def _words(code: bytes, tail: bytes) -> Iterator[tuple[int, int]]:
    """Instructions whose bytes end in ``tail``, with their offsets."""
    at = code.find(tail)
    while at >= 0:
        start = at + len(tail) - _WORD
        if start >= 0 and start % _WORD == 0:
            yield start, int.from_bytes(code[start : start + _WORD], "little")
        at = code.find(tail, at + 1)

"""The symbols that an arm64 ``Image`` carries for its own use: Linux's ``scripts/kallsyms.c`` read backwards.

Names are compressed: each byte stands for a token, by a table of 256. The tables follow each other
without a header, in an order that has changed (what is seen in Debian's kernels 5.10 to 7.3)::

    5.10, 6.1  offsets  relative_base  num_syms  names  markers  [seqs]  token_table  token_index
    6.12       num_syms  names  markers  token_table  token_index  offsets  relative_base
    7.3        num_syms  names  markers  token_table  token_index  offsets from where they stand

So the token tables are found by what is in them, the names before them by being names in these tokens,
and the offsets on either side by their order. vmlinux-to-elf does as much for all architectures, but is
a program under the GPL rather than a library, and takes ten times as long.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hil_agent.guest.address import align_down, align_up
from hil_agent.symbols.kaslr import Anchor
from hil_agent.symbols.table import Symbol

_TOKENS = 256
_DIGITS = b"\0" + b"".join(b"%c\0" % digit for digit in b"0123456789")
"""Tokens 48 to 57: digits are too frequent in names to have been given up for longer tokens."""

_ALIGNMENTS = (4, 8)
"""Of the tables: a pointer's size, or in 7.x a word's."""

_NAMES_WITHIN = 32 << 20
"""Bytes before the token table in which the names begin."""

_SYMBOLS_PER_MARKER = 256
_MIN_SYMBOLS, _MAX_SYMBOLS = 256, 1 << 21
_SAMPLE = 257
"""Names that are looked at before all are; so many have two markers."""

_KIND_AND_NAME = re.compile(rb"[A-Za-z][\w.$]+")
_TWO_BYTE_LENGTH = 0x80
_MAX_LENGTH = 512  # KSYM_NAME_LEN

_R_AARCH64_RELATIVE = struct.pack("<Q", 1027)
_B = 0b000101
"""The opcode of an A64 branch, ``b``."""

_KERNEL_HALF = 1 << 63
_USUAL_BASE = 0xFFFF800080000000
"""KIMAGE_VADDR since Linux 6.5, for virtual addresses of 48 bits."""


class NoSymbolsError(Exception):
    """The image has no kallsyms, or they are of a kind that is not known here."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What an Image says about itself.

    Attributes:
        base: The virtual address, as linked, of its first byte (``_text``).
        symbols: By address.
        anchor: A pointer in it that tells, in a running kernel, where it is.
    """

    base: int
    symbols: tuple[Symbol, ...]
    anchor: Anchor | None


@dataclass(frozen=True, slots=True)
class _Names:
    """The names, where their number stands, and where their token tables end."""

    names: list[bytes]
    count_at: int
    tables_end: int


@dataclass(frozen=True, slots=True)
class _Expanded:
    """Names, how far into them each 256th begins, and where they end."""

    names: list[bytes]
    markers: list[int]
    end: int


def recover(image: bytes) -> Recovered:
    """Reads the symbols out of an arm64 Image.

    Args:
        image: All of it, not compressed.

    Raises:
        NoSymbolsError: there are none, or they could not be made out.
    """
    for tokens, start, end in _token_tables(image):
        for names in _name_lists(image, tokens, start, end):
            recovered = _relative_to_place(image, names) or _relative_to_base(image, names)
            if recovered is not None:
                return recovered
    raise NoSymbolsError("no kallsyms tables are in it that could be read")


def _token_tables(image: bytes) -> Iterator[tuple[list[bytes], int, int]]:
    """The tokens, where their table begins, and where the index behind it ends."""
    for found in re.finditer(re.escape(_DIGITS), image):
        digits = end = found.start() + 1
        for _ in range(ord("0"), _TOKENS):
            end = image.find(b"\0", end) + 1
        for alignment in _ALIGNMENTS:
            at = align_up(end, alignment)
            if at + 2 * _TOKENS > len(image):
                continue
            index = struct.unpack_from(f"<{_TOKENS}H", image, at)
            start = digits - index[ord("0")]
            tokens = image[start:end].split(b"\0")[:_TOKENS]
            if index == tuple(_starts(tokens)):
                yield tokens, start, at + 2 * _TOKENS


def _starts(tokens: list[bytes]) -> Iterator[int]:
    at = 0
    for token in tokens:
        yield at
        at += len(token) + 1


def _name_lists(image: bytes, tokens: list[bytes], start: int, end: int) -> Iterator[_Names]:
    """Lists of names before ``start`` that begin with their number and end with right markers."""
    first = align_up(max(start - _NAMES_WITHIN, 0), 4)
    words = memoryview(image)[first : align_down(start, 4)].cast("I")
    for number in range(len(words) - 1, -1, -1):  # they are near
        count, count_at = words[number], first + 4 * number
        if not _MIN_SYMBOLS <= count < _MAX_SYMBOLS:
            continue
        for alignment in _ALIGNMENTS:
            at = align_up(count_at + 4, alignment)
            sample = _expand(image, tokens, at, min(count, _SAMPLE))
            if sample is None or not all(map(_KIND_AND_NAME.fullmatch, sample.names)):
                continue
            if image.find(_words(sample.markers), sample.end, start) < 0:
                continue
            whole = _expand(image, tokens, at, count)
            if whole and image.startswith(_words(whole.markers), align_up(whole.end, alignment)):
                yield _Names(whole.names, count_at, end)


def _words(values: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def _expand(image: bytes, tokens: list[bytes], at: int, count: int) -> _Expanded | None:
    """The first ``count`` names from ``at`` on; None if they are none."""
    names, markers, start = [], [], at
    for number in range(count):
        if at + 1 >= len(image):
            return None
        if number % _SYMBOLS_PER_MARKER == 0:
            markers.append(at - start)
        length = image[at]
        at += 1
        if length & _TWO_BYTE_LENGTH:  # Linux 6.1 and later
            length = length & ~_TWO_BYTE_LENGTH | image[at] << 7
            at += 1
        if not 0 < length < _MAX_LENGTH:
            return None
        names.append(b"".join([tokens[token] for token in image[at : at + length]]))
        at += length
    return _Expanded(names, markers, at)


def _relative_to_place(image: bytes, names: _Names) -> Recovered | None:
    """Behind the token tables, each relative to where it stands itself (7.x)."""
    at, count = names.tables_end, len(names.names)
    if at + 4 * count > len(image):
        return None
    relative = struct.unpack_from(f"<{count}i", image, at)
    offsets = [at + 4 * number + offset for number, offset in enumerate(relative)]
    if not _ascending(offsets) or _entry(names.names, offsets) != _branch_target(image):
        return None
    table, call = (
        _offset(names.names, offsets, name) for name in (b"sys_call_table", b"__arm64_sys_io_setup")
    )
    pointer = None if table is None or call is None else (table, call)
    return _recovered(image, names.names, offsets, pointer)


def _relative_to_base(image: bytes, names: _Names) -> Recovered | None:
    """Before the names or, since 6.4, behind the token tables: offsets, and then from what they count."""
    count = len(names.names)
    before = align_down(names.count_at, 8) - 8
    behind = align_up(names.tables_end, 8)
    for at, base_at in (
        (behind, align_up(behind + 4 * count, 8)),
        (align_down(before - 4 * count, 8), before),
    ):
        if at < 0 or base_at + 8 > len(image):
            continue
        from_base = struct.unpack_from(f"<{count}I", image, at)
        entry, target = _entry(names.names, from_base), _branch_target(image)
        if not _ascending(from_base) or entry is None or target is None:
            continue
        start = target - entry
        offsets = [offset + start for offset in from_base]
        if offsets[0] < 0 or offsets[-1] > max(_memory_size(image), len(image)):
            continue
        return _recovered(image, names.names, offsets, (base_at, start))
    return None


def _memory_size(image: bytes) -> int:
    """What the Image's header says of the kernel's size in memory (Documentation/arch/arm64/booting.rst)."""
    return int.from_bytes(image[16:24], "little")


def _ascending(offsets: Sequence[int]) -> bool:
    return all(one <= other for one, other in pairwise(offsets))


def _offset(names: list[bytes], offsets: Sequence[int], name: bytes) -> int | None:
    """Where the symbol of that name is, of whatever kind."""
    return next((offset for other, offset in zip(names, offsets, strict=True) if other[1:] == name), None)


def _entry(names: list[bytes], offsets: Sequence[int]) -> int | None:
    return _offset(names, offsets, b"primary_entry")


def _branch_target(image: bytes) -> int | None:
    """Where the branch in the Image's header leads: to ``primary_entry`` (``arch/arm64/kernel/head.S``)."""
    for at, word in zip((0, 4), struct.unpack_from("<2I", image), strict=True):
        if word >> 26 == _B:
            return at + 4 * int(word & (1 << 26) - 1)
    return None


def _linked_base(image: bytes, at: int, target: int) -> int | None:
    """The address that the image's start is linked for, as a pointer at ``at`` to ``target`` tells.

    The pointer is in its place, or only in the relocation that makes it (``-z no-apply-dynamic-relocs``).
    """
    value = int.from_bytes(image[at : at + 8], "little")
    if value >= _KERNEL_HALF:
        return value - target
    for found in re.finditer(re.escape(_R_AARCH64_RELATIVE), image[8:-8]):
        place: int
        place, _, addend = struct.unpack_from("<3Q", image, found.start())
        if place - at == addend - target >= _KERNEL_HALF:
            return place - at
    return None


def _recovered(
    image: bytes, names: list[bytes], offsets: Sequence[int], pointer: tuple[int, int] | None
) -> Recovered:
    """Puts it together; of a pointer in the image it is known where it is and where it leads."""
    base, anchor = None, None
    if pointer is not None:
        base, anchor = _linked_base(image, *pointer), Anchor(*pointer)
    if base is None:
        base = _USUAL_BASE
    symbols = (
        Symbol(name[1:].decode("ascii", "replace"), chr(name[0]), base + offset)
        for name, offset in zip(names, offsets, strict=True)
    )
    return Recovered(base, tuple(symbols), anchor)

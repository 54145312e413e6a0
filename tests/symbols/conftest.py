"""Images with kallsyms tables as Linux's scripts/kallsyms.c writes them, in the layouts of all releases."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from enum import Enum

import pytest

BASE = 0xFFFF800080000000
ENTRY = 0x20000
"""Where `primary_entry` is in the image."""

Names = Sequence[tuple[str, int]]
"""With their kind's letter in front, and where they are in the image; by place."""


class Layout(Enum):
    """Orders of the tables, by the release that brought them."""

    FIRST = "5.10"
    WITH_SEQUENCES = "6.2"
    OFFSETS_BEHIND = "6.4"
    RELATIVE_TO_PLACE = "7.x"


def kallsyms_image(names: Names, layout: Layout = Layout.FIRST, *, relocated: bool = False) -> bytes:
    """An Image with these symbols, and with ``Tprimary_entry``, which every kernel has.

    With ``relocated`` pointers are in their places, else only in relocations.
    """
    names = sorted([*names, ("Tprimary_entry", ENTRY)], key=lambda symbol: symbol[1])
    tokens = [bytes([code]) for code in range(256)]
    tokens[0], tokens[1], tokens[2] = b"sys_", b"cpu_", b"_resume"
    table = b"".join(token + b"\0" for token in tokens)
    starts = [sum(len(token) + 1 for token in tokens[:number]) for number in range(256)]
    compressed, markers = b"", []
    for number, (name, _) in enumerate(names):
        if number % 256 == 0:
            markers.append(len(compressed))
        data = name.encode()
        for code in range(3):
            data = data.replace(tokens[code], bytes([code]))
        length = len(data)
        head = bytes([length]) if length < 0x80 else bytes([length & 0x7F | 0x80, length >> 7])
        compressed += head + data
    branch = 0x14000000 | (ENTRY - 4) // 4
    image = bytearray(struct.pack("<2I3Q24x4s4x", 0, branch, 0, 0x200000, 0, b"ARM\x64"))
    image += bytes(0x8000 - len(image))
    alignment = 4 if layout is Layout.RELATIVE_TO_PLACE else 8
    relocations: list[tuple[int, int]] = []

    def put(data: bytes) -> int:
        image.extend(bytes(-len(image) % alignment))
        at = len(image)
        image.extend(data)
        return at

    def put_offsets() -> None:
        image.extend(bytes(-len(image) % alignment))
        if layout is Layout.RELATIVE_TO_PLACE:
            at = len(image)
            put(b"".join(struct.pack("<i", place - at - 4 * n) for n, (_, place) in enumerate(names)))
            return
        put(struct.pack(f"<{len(names)}I", *(place for _, place in names)))
        relocations.append((put(struct.pack("<Q", BASE if relocated else 0)), BASE))

    before = layout in (Layout.FIRST, Layout.WITH_SEQUENCES)
    if before:
        put_offsets()
    put(struct.pack("<I", len(names)))
    put(compressed)
    put(struct.pack(f"<{len(markers)}I", *markers))
    if layout is Layout.WITH_SEQUENCES:
        put(b"\x01\x02\x03" * len(names))
    put(table)
    put(struct.pack("<256H", *starts))
    if not before:
        put_offsets()
    image += bytes(-len(image) % 8)
    for at, target in relocations:
        image += struct.pack("<3Q", BASE + at, 1027, target)
    return bytes(image + bytes(64))


@pytest.fixture(name="kallsyms_image")
def _kallsyms_image() -> Callable[..., bytes]:
    return kallsyms_image

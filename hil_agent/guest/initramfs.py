"""Checks of an initramfs before it is booted, so that a damaged one is told from a kernel that panics.

Formats: Linux's lib/decompress.c, and cpio as in its early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import BinaryIO

from hil_agent.errors import FileError

_CPIO = (b"070701", b"070702")
_GZIP = b"\x1f\x8b"
_XZ, _XZ_FOOTER = b"\xfd7zXZ\0", b"YZ"
_COMPRESSED = (_GZIP, _XZ, b"\x28\xb5\x2f\xfd", b"\x02\x21\x4c\x18", b"BZh", b"\x5d\0\0", b"\x89LZO")

_HEADER = 110
_TRAILER = b"TRAILER!!!\0"
_CHUNK = 64 << 10
"""Bytes read at a time; gzip makes at most a thousand times as many of them."""


def check_initramfs(path: Path) -> None:
    """Checks that a file can be an initramfs, and where that is quick, that none of it is missing.

    Raises:
        FileError: it is empty, no format that Linux unpacks, or cut off.
    """
    try:
        if path.exists() and not path.is_file():
            raise FileError("is no regular file", path=path)
        with path.open("rb") as stream:
            _check(path, stream)
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", path=path) from error


def _check(path: Path, stream: BinaryIO) -> None:
    head = stream.read(8)
    stream.seek(0)
    if not head:
        raise FileError("is empty", path=path)
    if head.startswith(_CPIO):
        whole = _cpio_ends(stream)
    elif head.startswith(_GZIP):
        whole = _gzip_ends(path, stream)
    elif head.startswith(_XZ):
        whole = _xz_ends(stream)
    elif head.startswith(_COMPRESSED):
        whole = True  # nothing short of unpacking tells
    else:
        raise FileError(
            "is no initramfs: neither a cpio archive (newc) nor compressed as Linux knows it",
            path=path,
            hint="make one: find . | cpio -o -H newc | gzip",
        )
    if not whole:
        raise FileError("is cut off: its end is missing", path=path)


def _cpio_ends(stream: BinaryIO) -> bool:
    """Whether the first archive in the file has its trailer; others may follow it."""
    while (header := stream.read(_HEADER)).startswith(_CPIO) and len(header) == _HEADER:
        try:
            size, name_size = int(header[54:62], 16), int(header[94:102], 16)
        except ValueError:
            return False
        if stream.read(min(name_size, _CHUNK)) == _TRAILER:
            return True
        behind_name = stream.tell() + -stream.tell() % 4
        stream.seek(behind_name + size + -size % 4)
    return False


def _gzip_ends(path: Path, stream: BinaryIO) -> bool:
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    while not unpacker.eof and (chunk := stream.read(_CHUNK)):
        try:
            unpacker.decompress(chunk)
        except zlib.error as error:
            raise FileError(f"is damaged: {error}", path=path) from error
    return unpacker.eof


def _xz_ends(stream: BinaryIO) -> bool:
    stream.seek(-min(_CHUNK, stream.seek(0, 2)), 2)
    return stream.read().rstrip(b"\0").endswith(_XZ_FOOTER)

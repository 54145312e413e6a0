"""The "newc" cpio archive that Linux unpacks as its initramfs. Pure; needs no root.

Format: Documentation/driver-api/early-userspace/buffer-format.rst in Linux. Everything belongs to
root, every time stamp is zero: the same entries always give the same bytes.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

_TRAILER = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, directory, symbolic link or device node.

    Attributes:
        path: Where it goes, relative to the root of the archive.
        mode: Type and permission bits, as in ``st_mode``.
        data: A file's content, or a link's target.
        device: Major and minor number of a device node.
    """

    path: PurePosixPath
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.path.is_absolute() or ".." in self.path.parts or not self.path.parts:
            raise ValueError(f"a path in an archive is relative and stays inside: {self.path}")


def directory(path: str, permissions: int = 0o755) -> Entry:
    """A directory."""
    return Entry(PurePosixPath(path), stat.S_IFDIR | permissions)


def file(path: str, data: bytes, permissions: int = 0o644) -> Entry:
    """A regular file."""
    return Entry(PurePosixPath(path), stat.S_IFREG | permissions, data)


def character_device(path: str, major: int, minor: int, permissions: int = 0o600) -> Entry:
    """A character device node."""
    return Entry(PurePosixPath(path), stat.S_IFCHR | permissions, device=(major, minor))


def archive(entries: Iterable[Entry]) -> bytes:
    """The archive of ``entries``, in their order; parent directories that are missing are added.

    Raises:
        ValueError: a path comes twice.
    """
    output = bytearray()
    inode = 0
    for inode, entry in enumerate(_with_parents(entries), start=1):
        output += _member(inode, entry)
    output += _member(inode + 1, Entry(PurePosixPath(_TRAILER), 0))
    return bytes(output)


def _with_parents(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Linux makes no directories by itself: each must come before what it holds."""
    seen: set[PurePosixPath] = set()
    for entry in entries:
        if entry.path in seen:
            raise ValueError(f"comes twice: {entry.path}")
        for parent in reversed(entry.path.parents[:-1]):
            if parent not in seen:
                seen.add(parent)
                yield directory(str(parent))
        seen.add(entry.path)
        yield entry


def _member(inode: int, entry: Entry) -> bytes:
    name = bytes(entry.path) + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    user = group = time = check = 0
    fields = (
        *(inode, entry.mode, user, group, links, time, len(entry.data)),
        *(0, 0),  # device that held the file
        *entry.device,
        *(len(name), check),
    )
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + name) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)

"""Where everything of one boot goes in the guest's memory.

From the start of RAM::

    device tree   1 MiB, where QEMU's virt machine puts its own
    kernel        Image: at the next multiple of 2 MiB, plus its text offset; others: where they say
    initramfs     at the next multiple of 2 MiB behind the kernel, or where the user says
    ...
    EL2 monitor   at the very end
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from hil_agent.errors import FileError, UsageError
from hil_agent.guest.address import AddressRange, align_down, align_up
from hil_agent.guest.kernel import Kernel, KernelKind, Segment

DEVICE_TREE_SIZE = 1 << 20
"""Bytes kept free for the device tree: FDT_MAX_SIZE in QEMU's device_tree.c."""

_MONITOR_ALIGNMENT = 64 << 10
"""The largest page that a guest may use: memory is taken away from it in whole pages."""

_LINUX_ALIGNMENT = 2 << 20


@dataclass(frozen=True, slots=True)
class Blob:
    """A file to be placed in memory.

    Attributes:
        path: The file.
        address: Physical address of its first byte.
    """

    path: Path
    address: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The memory of one boot.

    Attributes:
        segments: The kernel's parts, and the initramfs.
        entry: Physical address of the guest's first instruction.
        device_tree: What is kept free for the device tree.
        initramfs: Where it is; None if there is none.
        monitor: What is kept free for the monitor.
    """

    segments: tuple[Segment, ...]
    entry: int
    device_tree: AddressRange
    initramfs: AddressRange | None
    monitor: AddressRange

    @property
    def kernel(self) -> tuple[Segment, ...]:
        """The kernel's parts alone."""
        initrd = self.initramfs
        return tuple(part for part in self.segments if initrd is None or part.address != initrd.start)

    def blobs(self, folder: Path) -> tuple[Blob, ...]:
        """The segments as files; those that are none yet are written into ``folder``.

        Raises:
            OSError: they cannot be written.
        """
        return tuple(
            Blob(_as_file(segment, folder), segment.address) for segment in self.segments if segment.size
        )


def plan_layout(
    ram: AddressRange,
    kernel: Kernel,
    *,
    monitor_size: int,
    initramfs: Path | None = None,
    initrd_address: int | None = None,
) -> Layout:
    """Finds a place for everything.

    Args:
        ram: The guest's memory.
        kernel: What is booted.
        monitor_size: Bytes of the EL2 monitor.
        initramfs: Its file.
        initrd_address: Physical address of the initramfs, if it must be at a certain one.

    Raises:
        UsageError: something does not fit, or two things overlap.
        FileError: the initramfs is not there any more.
    """
    device_tree = AddressRange(ram.start, DEVICE_TREE_SIZE)
    monitor_start = align_down(max(ram.end - monitor_size, 0), _MONITOR_ALIGNMENT)
    monitor = AddressRange(monitor_start, ram.end - monitor_start)
    base = align_up(device_tree.end, _LINUX_ALIGNMENT) if kernel.kind is KernelKind.IMAGE else 0
    segments = [_moved(segment, base) for segment in kernel.segments]
    initrd = None
    if initramfs is not None:
        behind = max(_in_memory(segment).end for segment in segments)
        address = align_up(behind, _LINUX_ALIGNMENT) if initrd_address is None else initrd_address
        initrd = AddressRange(address, _file_size(initramfs))
        segments.append(Segment(initrd.start, initramfs, initrd.size, initrd.size))
    layout = Layout(tuple(segments), base + kernel.entry, device_tree, initrd, monitor)
    _check(ram, layout)
    return layout


def _check(ram: AddressRange, layout: Layout) -> None:
    parts = sorted(_parts(layout), key=lambda named: named[1])
    for name, part in parts:
        if not ram.contains(part):
            raise UsageError(
                f"{name} ({_size(part)} at {part}) is not within the guest's memory ({_size(ram)} at {ram})",
                hint="give the guest more memory, or check the addresses",
            )
    for (name, part), (other_name, other) in pairwise(parts):
        if part.overlaps(other):
            raise UsageError(
                f"{name} ({_size(part)} at {part}) overlaps {other_name} ({_size(other)} at {other})",
                hint="give the guest more memory, or other addresses",
            )


def _parts(layout: Layout) -> Iterator[tuple[str, AddressRange]]:
    yield "the device tree", layout.device_tree
    yield "the EL2 monitor", layout.monitor
    for segment in layout.segments:
        part = _in_memory(segment)
        yield "the initramfs" if part == layout.initramfs else "the kernel", part


def _moved(segment: Segment, by: int) -> Segment:
    return Segment(segment.address + by, segment.content, segment.size, segment.memory_size)


def _in_memory(segment: Segment) -> AddressRange:
    return AddressRange(segment.address, segment.memory_size)


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", path=path) from error


def _as_file(segment: Segment, folder: Path) -> Path:
    if isinstance(segment.content, Path):
        return segment.content
    path = folder / f"segment-{segment.address:x}"
    path.write_bytes(segment.content)
    return path


def _size(part: AddressRange) -> str:
    return f"{part.size / (1 << 20):.1f} MiB" if part.size >> 20 else f"{part.size} bytes"

from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.errors import FileError, UsageError
from hil_agent.guest.address import AddressRange
from hil_agent.guest.kernel import Kernel, KernelKind, Segment
from hil_agent.guest.layout import Blob, Layout, plan_layout

MIB = 1 << 20
RAM = AddressRange(0x40000000, 512 * MIB)
MONITOR = 5000


def image(*, text_offset: int = 0, size: int = 100, memory_size: int = 30 * MIB) -> Kernel:
    segment = Segment(text_offset, bytes(size), size, memory_size)
    return Kernel(KernelKind.IMAGE, (segment,), text_offset)


def flat(address: int, size: int = 16) -> Kernel:
    return Kernel(KernelKind.FLAT, (Segment(address, bytes(size), size, size),), address)


@pytest.fixture
def initramfs(tmp_path: Path) -> Path:
    path = tmp_path / "initramfs"
    path.write_bytes(bytes(5 * MIB))
    return path


def test_an_image_follows_the_device_tree_at_2_mib() -> None:
    layout = plan_layout(RAM, image(), monitor_size=MONITOR)
    assert layout.device_tree == AddressRange(0x40000000, MIB)
    assert layout.entry == layout.segments[0].address == 0x40200000


def test_an_image_is_moved_by_its_text_offset() -> None:
    assert plan_layout(RAM, image(text_offset=0x80000), monitor_size=MONITOR).entry == 0x40280000


def test_the_monitor_is_at_the_end_of_ram_in_whole_64k_pages() -> None:
    assert plan_layout(RAM, image(), monitor_size=MONITOR).monitor == AddressRange(0x5FFF0000, 0x10000)
    assert plan_layout(RAM, image(), monitor_size=0x10001).monitor == AddressRange(0x5FFE0000, 0x20000)


def test_the_initramfs_follows_what_the_kernel_takes_in_memory(initramfs: Path) -> None:
    layout = plan_layout(RAM, image(memory_size=31 * MIB), monitor_size=MONITOR, initramfs=initramfs)
    assert layout.initramfs == AddressRange(0x42200000, 5 * MIB)
    assert layout.segments[-1].content == initramfs


def test_the_initramfs_goes_where_the_user_says(initramfs: Path) -> None:
    layout = plan_layout(RAM, image(), monitor_size=MONITOR, initramfs=initramfs, initrd_address=0x50000000)
    assert layout.initramfs == AddressRange(0x50000000, 5 * MIB)


def test_a_flat_binary_stays_where_it_belongs() -> None:
    layout = plan_layout(RAM, flat(0x40400000), monitor_size=MONITOR)
    assert layout.entry == layout.segments[0].address == 0x40400000


@pytest.mark.parametrize(
    ("kernel", "initrd_address", "words"),
    [
        (image(memory_size=600 * MIB), None, r"the kernel \(600.0 MiB .* is not within .* \(512.0 MiB"),
        (flat(0x1000), None, "the kernel .* is not within"),
        (flat(0x40000000), None, "overlaps"),
        (flat(0x5FFF0000), 0x50000000, r"the kernel \(16 bytes .* overlaps the EL2 monitor"),
        (image(), 0x5FF00000, "the initramfs .* is not within"),
        (image(), 0x41000000, "the kernel .* overlaps the initramfs"),
    ],
)
def test_what_does_not_fit_is_named_with_its_size(
    kernel: Kernel, initrd_address: int | None, words: str, initramfs: Path
) -> None:
    with pytest.raises(UsageError, match=words):
        plan_layout(RAM, kernel, monitor_size=MONITOR, initramfs=initramfs, initrd_address=initrd_address)


def test_less_memory_than_the_device_tree_needs_is_refused() -> None:
    with pytest.raises(UsageError, match="is not within"):
        plan_layout(AddressRange(0x40000000, 4096), image(), monitor_size=MONITOR)


def test_an_initramfs_that_has_gone_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read"):
        plan_layout(RAM, image(), monitor_size=MONITOR, initramfs=tmp_path / "gone")


@given(
    st.integers(0, 1 << 30),
    st.integers(0, 4 * MIB),
    st.integers(1, 1 << 29),
    st.integers(1, MIB),
    st.none() | st.integers(0x3F000000, 0x80000000),
)
def test_whatever_is_planned_is_in_ram_and_apart(
    ram_size: int, text_offset: int, memory_size: int, monitor_size: int, initrd_address: int | None
) -> None:
    ram = AddressRange(0x40000000, ram_size)
    kernel = image(text_offset=text_offset, memory_size=memory_size)
    try:
        layout = plan_layout(
            ram, kernel, monitor_size=monitor_size, initramfs=Path(__file__), initrd_address=initrd_address
        )
    except UsageError:
        return
    parts = ranges(layout)
    assert all(ram.contains(part) for part in parts)
    assert not any(one.overlaps(other) for one, other in combinations(parts, 2))


def ranges(layout: Layout) -> list[AddressRange]:
    segments = [AddressRange(segment.address, segment.memory_size) for segment in layout.segments]
    return [layout.device_tree, layout.monitor, *segments]


def test_what_is_no_file_yet_becomes_one(tmp_path: Path, initramfs: Path) -> None:
    layout = plan_layout(RAM, image(size=100), monitor_size=MONITOR, initramfs=initramfs)
    kernel, initrd = layout.blobs(tmp_path)
    assert (kernel.address, kernel.path.read_bytes()) == (0x40200000, bytes(100))
    assert initrd == Blob(initramfs, 0x42000000)

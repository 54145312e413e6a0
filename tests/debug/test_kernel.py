"""What a guest's kernel calls its addresses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hil_agent.board.load import load_board
from hil_agent.debug.kernel import KernelFile, LiveKernel
from hil_agent.errors import GuestError
from hil_agent.session.plan import BootPlan, GuestFiles

_BASE = 0x40200000
_SOURCE = """
        .globl  _start
        .type   _start, %function
_start: b       _start
        .type   behind, %function
behind: ret
        .space  0x20000
"""


def _no_memory(address: int, length: int) -> bytes:
    pytest.fail(f"{length} bytes at {address:#x} are of no use")


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> LiveKernel:
    """A bare-metal guest, which runs where it is linked."""
    folder = tmp_path_factory.mktemp("kernel")
    source, built = folder / "guest.S", folder / "guest.elf"
    source.write_text(_SOURCE)
    subprocess.run(["aarch64-linux-gnu-as", "-o", folder / "guest.o", source], check=True)
    options = [f"-Ttext={_BASE:#x}", "--build-id", f"--section-start=.note.gnu.build-id={_BASE + 0x40000:#x}"]
    linked = ["-n", "-o", str(built), str(folder / "guest.o")]
    subprocess.run(["aarch64-linux-gnu-ld", *options, *linked], check=True)
    plan = BootPlan(board=load_board("qemu-virt"), guest=GuestFiles(name="guest", kernel=built))
    found = KernelFile.of(plan)
    assert found is not None
    return found.locate(_no_memory)


@pytest.mark.parametrize(
    ("address", "name"),
    [(_BASE, "_start"), (_BASE + 8, "behind+0x4"), (_BASE + 0x20000, None), (_BASE - 4, None)],
    ids=["start", "within", "far behind", "outside"],
)
def test_addresses_have_names(kernel: LiveKernel, address: int, name: str | None) -> None:
    assert kernel.name(address) == name


def test_what_is_no_linux_has_no_log(kernel: LiveKernel) -> None:
    with pytest.raises(GuestError, match="virtual addresses"):
        kernel.log(_no_memory)


def test_a_flat_binary_has_no_symbols(tmp_path: Path) -> None:
    path = tmp_path / "flat"
    path.write_bytes(bytes(4096))
    guest = GuestFiles(name="flat", kernel=path, load_address=_BASE)
    assert KernelFile.of(BootPlan(board=load_board("qemu-virt"), guest=guest)) is None

"""Assembles monitors, and guests that are written in assembly, with Debian's cross binutils.

Also loaded by path from the wheel's build hook, so it imports the standard library only.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

ASSEMBLER = "aarch64-linux-gnu-as"
LINKER = "aarch64-linux-gnu-ld"
PACKAGE = "binutils-aarch64-linux-gnu"

GUEST_ADDRESS = 0x4020_0000
"""Where guests are linked: 2 MiB into the RAM of QEMU's virt machine, which leaves room for a device tree."""

_COMMON = Path(__file__).parent
"""Where monitors include from."""


class AssemblyError(Exception):
    """A source could not be assembled; the text says why."""


def sources(source: Path) -> list[Path]:
    """All that goes into what is assembled from a monitor's ``source``."""
    return [*sorted(source.parent.glob("*.S")), *sorted(_COMMON.glob("*.inc"))]


def assemble(source: Path, output: Path, *, address: int = 0) -> None:
    """Assembles and links ``source`` at ``address`` into the ELF file ``output``; it starts at ``entry``.

    The output appears whole or not at all, so that two builders cannot disturb each other.

    Raises:
        AssemblyError: the tools are missing or refuse the source.
        OSError: ``output`` cannot be written.
    """
    for tool in (ASSEMBLER, LINKER):
        if shutil.which(tool) is None:
            raise AssemblyError(f"{tool} is not installed (Debian package {PACKAGE})")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".assemble-") as folder:
        object_file, elf = Path(folder, "linked.o"), Path(folder, "linked.elf")
        folders = [word for each in (source.parent, _COMMON) for word in ("-I", str(each))]
        _run([ASSEMBLER, "--fatal-warnings", *folders, "-o", str(object_file), str(source)])
        layout = [f"-Ttext={address:#x}", "-e", "entry", "--no-warn-rwx-segments"]
        _run([LINKER, *layout, "-o", str(elf), str(object_file)])
        elf.replace(output)


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise AssemblyError(f"{command[0]} failed: {result.stderr.strip()}")

"""An assembled monitor: its bytes and the addresses of its labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from hil_agent.errors import HostError, InternalError
from hil_agent.resources import cache_folder
from hil_agent.trap.build import PACKAGE, AssemblyError, assemble, sources


@dataclass(frozen=True, slots=True)
class Monitor:
    """The monitor as assembled, not yet at an address.

    Attributes:
        image: the code, which is not written to when it runs.
        labels: offset of every global label from the start of the image, in bytes; those of ``area_*``
            are offsets within a vCPU's area, and ``area_size`` is its size.
    """

    image: bytes
    labels: Mapping[str, int]

    @classmethod
    def load(cls, package: str = "hil_agent.el2") -> Monitor:
        """Reads the monitor that came with the wheel, or assembles it from source, once per version of it.

        Args:
            package: where its ``monitor.S`` is.

        Raises:
            HostError: it has to be assembled and the cross assembler is missing.
        """
        with resources.as_file(resources.files(package)) as folder:
            packaged, source = Path(folder, "monitor.elf"), Path(folder, "monitor.S")
            return cls.from_elf(packaged if packaged.exists() else _assembled(source))

    @classmethod
    def from_elf(cls, path: Path) -> Monitor:
        """Reads image and labels from a monitor linked at address 0."""
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            text, symbols = elf.get_section_by_name(".text"), elf.get_section_by_name(".symtab")
            if text is None or not isinstance(symbols, SymbolTableSection):
                raise InternalError(f"{path} is no assembled monitor")
            labels = {
                symbol.name: int(symbol["st_value"])
                for symbol in symbols.iter_symbols()
                if symbol["st_info"]["bind"] == "STB_GLOBAL"
            }
            return cls(image=bytes(text.data()), labels=labels)

    def areas_size(self, cpus: int) -> int:
        """Bytes of RAM that the areas of so many vCPUs take."""
        return cpus * self.labels["area_size"]


def _assembled(source: Path) -> Path:
    digest = hashlib.sha256(b"".join(part.read_bytes() for part in sources(source))).hexdigest()[:16]
    elf = cache_folder() / "monitor" / f"{digest}.elf"
    if not elf.exists():
        try:
            assemble(source, elf)
        except AssemblyError as error:
            raise HostError(
                f"the monitor cannot be assembled: {error}", hint=f"apt-get install {PACKAGE}"
            ) from error
        except OSError as error:
            raise HostError(f"the assembled monitor cannot be stored: {error}") from error
    return elf

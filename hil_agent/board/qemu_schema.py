"""The fields of boards of kind ``qemu``: a ``virt`` machine of QEMU's on this host."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, ValidationInfo, WithJsonSchema

from hil_agent.board.schema import Board
from hil_agent.board.size import format_size, parse_size
from hil_agent.guest.address import AddressRange
from hil_agent.guest.layout import Blob

if TYPE_CHECKING:
    from hil_agent.board.qemu import QemuMachine

_MIB = 1 << 20
_SMALLEST = 16 * _MIB
_LARGEST = 1 << 40
_GICV2_CPUS = 8


class Network(StrEnum):
    """The machine's network."""

    NONE = "none"
    USER = "user"


def _with_unit(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else value


def _possible(size: int) -> int:
    if size % _MIB or not _SMALLEST <= size <= _LARGEST:
        raise ValueError(f"must be whole MiB, from {format_size(_SMALLEST)} to {format_size(_LARGEST)}")
    return size


def _serves(gic_version: Literal[2, 3], info: ValidationInfo) -> Literal[2, 3]:
    cpus = info.data.get("cpus", 1)
    if gic_version == 2 and cpus > _GICV2_CPUS:  # noqa: PLR2004 - a version
        raise ValueError(f"a GICv2 serves at most {_GICV2_CPUS} vCPUs, and there are to be {cpus}")
    return gic_version


MemorySize = Annotated[
    int,
    BeforeValidator(_with_unit),
    AfterValidator(_possible),
    PlainSerializer(format_size, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": "^[0-9]{1,12}[KMG]$"}, {"type": "integer"}]}),
]
"""Bytes, whole MiB; in a file or an option also with a unit, ``512M``."""


class QemuBoard(Board):
    """A QEMU machine on this host."""

    kind: Literal["qemu"] = Field(description="QEMU's virt machine on this host.")
    cpu: str = Field(
        default="cortex-a57",
        pattern=r"^[a-z0-9][a-z0-9._-]*(,[a-z0-9_.-]+=[a-z0-9_.-]+)*$",
        description="CPU model, as QEMU names it, and its properties: cortex-a57, max, or max,sve=off.",
    )
    memory: MemorySize = Field(
        default=512 * _MIB,
        description="RAM of the machine: a size with its unit, as in 512M or 2G, or bytes.",
    )
    gic_version: Annotated[Literal[2, 3], AfterValidator(_serves)] = Field(
        default=3,
        validate_default=True,
        description="Version of the interrupt controller; 2 is for up to 8 vCPUs.",
    )
    network: Network = Field(
        default=Network.NONE,
        strict=False,
        description="none, or user: QEMU's user-mode network, which reaches out but is not reached.",
    )
    qemu: str = Field(
        default="qemu-system-aarch64",
        pattern=r"^[^-\s].*$",
        description="The QEMU program: a name to be found in PATH, or a path.",
    )
    qemu_arg: tuple[str, ...] = Field(
        default=(), strict=False, description="Further arguments for QEMU, one a list item, after ours."
    )

    def with_overrides(self, **values: object) -> Self:
        """See the base class; further arguments for QEMU are added to those of the file."""
        if given := values.pop("qemu_arg", None):
            values["qemu_arg"] = [*self.qemu_arg, *given] if isinstance(given, tuple) else given
        return super().with_overrides(**values)

    @property
    def ram(self) -> AddressRange:
        """The memory of QEMU's virt machine (hw/arm/virt.c, VIRT_MEM)."""
        return AddressRange(0x4000_0000, self.memory)

    @property
    def rom(self) -> AddressRange:
        """The virt machine's flash (hw/arm/virt.c, VIRT_FLASH): its second half.

        The first half has address 0, where stray writes go. It is a ROM to guests, whose writes and flash
        commands are refused: see `QemuMachine`.
        """
        return AddressRange(0x0400_0000, 0x0400_0000)

    def open(self, blobs: Sequence[Blob], entry: int, folder: Path) -> QemuMachine:
        """A QEMU, to be started by entering it."""
        from hil_agent.board.qemu import QemuMachine  # noqa: PLC0415 - only who boots needs it

        return QemuMachine(self, blobs, entry, folder)

"""The interrupt controller's state, out of its registers in physical memory. Pure, but for the reading.

Reading ISENABLER, ISPENDR and ISACTIVER changes nothing (Arm IHI 0069, 12.9; IHI 0048, 4.3); other registers
are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from hil_agent.errors import TargetError
from hil_agent.guest import flat_tree
from hil_agent.guest.device_tree import Gic, GicVersion
from hil_agent.guest.flat_tree import Node

ReadWord = Callable[[int], int]
"""Given a physical address, the 32-bit word there, read by one access."""

_TYPER: Final = 0x004
_ENABLED, _PENDING, _ACTIVE = 0x100, 0x200, 0x300
_SGI_FRAME: Final = 0x10000
_PRIVATE: Final = 32
_LAST: Final = 1020
SGIS: Final = 16
"""Below it are the interrupts that vCPUs raise at each other."""


_KNOWN: Final = {
    23: "performance monitors",
    25: "GIC maintenance",
    26: "EL2 physical timer",
    27: "EL1 virtual timer",
    28: "EL2 virtual timer",
    29: "EL3 physical timer",
    30: "EL1 physical timer",
}
"""Private interrupts whose number is the same everywhere (Arm BSA, table of PPIs)."""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """One interrupt that is enabled, pending or active.

    Attributes:
        intid: its number at the GIC.
        name: what raises it, if that is known.
        cpu: whose it is, if it is private to a vCPU.
    """

    intid: int
    name: str
    cpu: int | None
    enabled: bool
    pending: bool
    active: bool


def read_interrupts(gic: Gic, cpus: int, read: ReadWord, names: Mapping[int, str]) -> tuple[Interrupt, ...]:
    """Every interrupt that is enabled, pending or active, those of each vCPU first.

    Args:
        gic: the controller.
        cpus: number of vCPUs.
        read: reads a register.
        names: what raises an interrupt, by number.

    Raises:
        TargetError: it cannot be read here.
    """
    if gic.version is GicVersion.V2 and cpus > 1:
        # Its banked registers belong to the vCPU that reads. QEMU's gic_get_current_cpu (hw/intc/arm_gic.c)
        # takes for granted that there is one, and dies of a debugger's read.
        raise TargetError("a GICv2 cannot be read from outside if there are several vCPUs: QEMU dies of it")
    found: list[Interrupt] = []
    if gic.version is GicVersion.V3:
        for cpu in range(cpus):
            found += _read_word(gic.cpu_frame(cpu) + _SGI_FRAME, 0, read, names, cpu)
    else:
        found += _read_word(gic.distributor, 0, read, names, 0)
    lines = min(_PRIVATE * ((read(gic.distributor + _TYPER) & 0x1F) + 1), _LAST)
    for first in range(_PRIVATE, lines, _PRIVATE):
        found += _read_word(gic.distributor, first, read, names, None)
    return tuple(found)


def interrupt_names(dtb: bytes) -> dict[int, str]:
    """What raises which interrupt: known private ones, and nodes of the device tree with ``interrupts``.

    Raises:
        FlatTreeError: it is no device tree.
    """
    names = dict(_KNOWN)
    for node in _nodes(flat_tree.parse(dtb).root):
        cells = node.cells("interrupts")
        for kind, number, _flags in zip(cells[::3], cells[1::3], cells[2::3], strict=False):
            intid = number + (_PRIVATE if kind == 0 else SGIS)
            names.setdefault(intid, node.name)
    return names


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _nodes(child)


def _read_word(
    base: int, first: int, read: ReadWord, names: Mapping[int, str], cpu: int | None
) -> Iterator[Interrupt]:
    """The interrupts of one 32-bit word of each register."""
    offset = base + first // 8
    enabled, pending, active = (read(offset + kind) for kind in (_ENABLED, _PENDING, _ACTIVE))
    for bit in range(32):
        mask, intid = 1 << bit, first + bit
        if (enabled | pending | active) & mask:
            yield Interrupt(
                intid=intid,
                name=names.get(intid, f"SGI {intid}" if intid < SGIS else ""),
                cpu=cpu,
                enabled=bool(enabled & mask),
                pending=bool(pending & mask),
                active=bool(active & mask),
            )

"""The guest's device tree: what machine it describes, and what our vPSCI must change in it. Pure.

Bindings are under Documentation/devicetree/bindings in Linux: arm/psci.yaml, arm/cpus.yaml,
cpu/idle-states.yaml, interrupt-controller/arm,gic.yaml and arm,gic-v3.yaml; reserved-memory in the
Devicetree Specification.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from hil_agent.errors import FileError
from hil_agent.guest import flat_tree
from hil_agent.guest.address import AddressRange
from hil_agent.guest.flat_tree import FlatTreeError, Node, Tree
from hil_agent.psci.call import Conduit
from hil_agent.psci.idle import IdleState

_PSCI: Mapping[str, tuple[str, ...] | int] = {"compatible": ("arm,psci-1.0", "arm,psci-0.2")}
_RANDOM = ("kaslr-seed", "rng-seed")
_NO_IDLE_STATES: Mapping[IdleState, int] = {}
_IDLE_TIMES_US: Mapping[IdleState, tuple[int, int, int]] = {
    IdleState.STANDBY: (20, 40, 200),
    IdleState.POWER_DOWN: (1000, 2000, 20_000),
}
"""Of a state: latency of its entry and of its exit, and the shortest stay that pays."""
_GICV3_FRAMES = 0x20000
"""Bytes of one GICv3 redistributor: RD_base and SGI_base, 64 KiB each."""


class GicVersion(IntEnum):
    """Major version of the interrupt controller's architecture."""

    V2 = 2
    V3 = 3


_GIC_COMPATIBLE = {
    "arm,gic-v3": GicVersion.V3,
    "arm,gic-400": GicVersion.V2,
    "arm,cortex-a15-gic": GicVersion.V2,
    "arm,cortex-a9-gic": GicVersion.V2,
    "arm,cortex-a7-gic": GicVersion.V2,
}


@dataclass(frozen=True, slots=True)
class Gic:
    """The interrupt controller.

    Attributes:
        version: Its architecture.
        distributor: Physical address.
        regions: GICv3: the redistributor regions. GICv2: the CPU interface, alone.
        stride: Bytes from one CPU's redistributor to the next.
    """

    version: GicVersion
    distributor: int
    regions: tuple[AddressRange, ...]
    stride: int = _GICV3_FRAMES

    def cpu_frame(self, cpu: int) -> int:
        """Physical address of the CPU's redistributor; of the CPU interface on a GICv2.

        Raises:
            ValueError: there is no redistributor for that CPU.
        """
        if self.version is GicVersion.V2:
            return self.regions[0].start
        for region in self.regions:
            if cpu < region.size // self.stride:
                return region.start + cpu * self.stride
            cpu -= region.size // self.stride
        raise ValueError("there are more CPUs than GICv3 redistributors")


@dataclass(frozen=True, slots=True)
class MachineDescription:
    """What a device tree says of the machine, as far as we need it.

    Attributes:
        cpus: Affinity of each CPU, as in its MPIDR_EL1 (Aff3 in bits 39:32), in the tree's order.
        memory: RAM, in ascending order.
        gic: None if there is none that we know, or if it is not at a plain physical address.
        conduit: How PSCI is called; None if the tree has no PSCI.
    """

    cpus: tuple[int, ...]
    memory: tuple[AddressRange, ...]
    gic: Gic | None
    conduit: Conduit | None


def describe(dtb: bytes, path: Path | str = "device tree") -> MachineDescription:
    """What machine the tree is of.

    Args:
        dtb: A flattened device tree.
        path: Where it came from, to be named in errors.

    Raises:
        FileError: it is no device tree, or it has no CPUs, no memory, or too few redistributors.
    """
    root = _parse(dtb, path).root
    cpus = tuple(_number(node, "reg") for node in _cpu_nodes(root))
    memory = sorted(
        entry
        for node, bus in _mapped_nodes(root)
        if node.strings("device_type") == ("memory",)
        for entry in _reg(node, bus)
        if entry.size
    )
    if not cpus or not memory:
        raise FileError("describes no CPU or no memory", path=path)
    gic = next((gic for node, bus in _mapped_nodes(root) if (gic := _gic(node, bus))), None)
    if gic is not None:
        try:
            gic.cpu_frame(len(cpus) - 1)
        except ValueError as error:
            raise FileError(str(error), path=path) from error
    psci = _psci_node(root)
    method = psci.strings("method") if psci else ()
    conduit = next((each for each in Conduit if (each.value,) == method), None)
    return MachineDescription(cpus, tuple(memory), gic, conduit)


def patch(
    dtb: bytes,
    *,
    conduit: Conduit,
    psci: Mapping[str, tuple[str, ...] | int] = _PSCI,
    monitor: AddressRange,
    hidden: AddressRange | None = None,
    bootargs: str | None = None,
    initramfs: AddressRange | None = None,
    idle_states: Mapping[IdleState, int] = _NO_IDLE_STATES,
    random_seeds: bool = True,
    path: Path | str = "device tree",
) -> bytes:
    """The tree that a guest under our vPSCI gets.

    Args:
        dtb: The tree of the machine.
        conduit: The instruction that the guest is to call with.
        psci: Further properties of the PSCI node, strings or 32-bit cells.
        monitor: Memory that it must leave alone.
        hidden: Addresses of devices that it must leave alone.
        bootargs: Kernel command line; None leaves the one that is there.
        initramfs: Where it was placed; None if there is none.
        idle_states: The states that every CPU has besides WFI, each with the power state (32 bits) that
            CPU_SUSPEND is to be called with; without any, those of the tree stay.
        random_seeds: False takes away the seeds of KASLR and of the random number generator, so that
            each boot is the same.
        path: Where the tree came from, to be named in errors.

    Returns:
        The tree without padding.

    Raises:
        FileError: ``dtb`` is no device tree, or one for a smaller machine.
    """
    tree = _parse(dtb, path)
    _patch_psci(tree.root, conduit, psci)
    _patch_chosen(tree.root.ensure_child("chosen").properties, bootargs, initramfs, random_seeds)
    if hidden is not None:
        _disable(tree.root, hidden)
    if idle_states:
        _patch_idle_states(tree, idle_states)
    try:
        _reserve(tree.root, monitor)
    except OverflowError as error:
        raise FileError(f"its addresses are too narrow for memory at {monitor}", path=path) from error
    return flat_tree.serialise(tree)


def _parse(dtb: bytes, path: Path | str) -> Tree:
    try:
        return flat_tree.parse(dtb)
    except FlatTreeError as error:
        hint = "give a compiled tree: dtc -O dtb -o FILE.dtb FILE.dts"
        raise FileError(f"is no flattened device tree: {error}", path=path, hint=hint) from error


# ------------------------------------------------------------------------------------- reading


def _cpu_nodes(root: Node) -> Iterator[Node]:
    cpus = root.child("cpus")
    for node in cpus.children if cpus else ():
        if node.strings("device_type") == ("cpu",):
            yield node


def _mapped_nodes(bus: Node) -> Iterator[tuple[Node, Node]]:
    """Nodes whose ``reg`` are physical addresses, each with its bus: an empty ``ranges`` maps one to one."""
    for node in bus.children:
        yield node, bus
        if node.properties.get("ranges") == b"":
            yield from _mapped_nodes(node)


def _reg(node: Node, bus: Node) -> list[AddressRange]:
    """The addresses of a node; a remainder too short for one is left out."""
    address_cells, size_cells = _widths(bus)
    cells, step = node.cells("reg"), address_cells + size_cells
    if not step:
        return []
    return [
        AddressRange(_join(cells[at : at + address_cells]), _join(cells[at + address_cells : at + step]))
        for at in range(0, len(cells) - step + 1, step)
    ]


def _widths(bus: Node) -> tuple[int, int]:
    """Cells of an address and of a size on a bus; the defaults are the specification's (2.3.5)."""
    (address, *_), (size, *_) = bus.cells("#address-cells") or (2,), bus.cells("#size-cells") or (1,)
    return min(address, 4), min(size, 4)


def _join(cells: tuple[int, ...]) -> int:
    value = 0
    for cell in cells:
        value = value << 32 | cell
    return value


def _number(node: Node, name: str) -> int:
    return _join(node.cells(name))


def _gic(node: Node, bus: Node) -> Gic | None:
    version = next(
        (_GIC_COMPATIBLE[name] for name in node.strings("compatible") if name in _GIC_COMPATIBLE), None
    )
    match version, _reg(node, bus):
        case GicVersion.V2, [distributor, interface, *_]:
            return Gic(GicVersion.V2, distributor.start, (interface,))
        case GicVersion.V3, [distributor, *rest] if rest:
            regions = rest[: _number(node, "#redistributor-regions") or 1]
            stride = _number(node, "redistributor-stride") or _GICV3_FRAMES
            return Gic(GicVersion.V3, distributor.start, tuple(regions), stride)
    return None


def _psci_node(root: Node) -> Node | None:
    for node, _ in _mapped_nodes(root):
        if any(name.startswith("arm,psci") for name in node.strings("compatible")):
            return node
    return None


# ------------------------------------------------------------------------------------ patching


def _patch_psci(root: Node, conduit: Conduit, properties: Mapping[str, tuple[str, ...] | int]) -> None:
    psci = _psci_node(root) or root.ensure_child("psci")
    psci.properties = {
        name: _cells(value) if isinstance(value, int) else _strings(*value)
        for name, value in {**properties, "method": (conduit.value,)}.items()
    }
    for cpu in _cpu_nodes(root):
        cpu.properties["enable-method"] = _strings("psci")


def _patch_idle_states(tree: Tree, states: Mapping[IdleState, int]) -> None:
    """The timers of EL1 go on in all of them, so none has ``local-timer-stop``."""
    cpus = tree.root.ensure_child("cpus")
    node = cpus.ensure_child("idle-states")
    node.properties, node.children = {"entry-method": _strings("psci")}, []
    first = tree.free_phandle()
    for phandle, (state, power_state) in enumerate(states.items(), first):
        entry_us, exit_us, residency_us = _IDLE_TIMES_US[state]
        node.ensure_child(f"cpu-{state}").properties |= {
            "compatible": _strings("arm,idle-state"),
            "arm,psci-suspend-param": _cells(power_state),
            "entry-latency-us": _cells(entry_us),
            "exit-latency-us": _cells(exit_us),
            "min-residency-us": _cells(residency_us),
            "phandle": _cells(phandle),
        }
    for cpu in _cpu_nodes(tree.root):
        cpu.properties["cpu-idle-states"] = _cells(*range(first, first + len(states)))


def _patch_chosen(
    chosen: dict[str, bytes], bootargs: str | None, initramfs: AddressRange | None, random_seeds: bool
) -> None:
    if bootargs is not None:
        chosen["bootargs"] = _strings(bootargs)
    for name in ("linux,initrd-start", "linux,initrd-end", *(() if random_seeds else _RANDOM)):
        chosen.pop(name, None)
    if initramfs is not None:
        chosen["linux,initrd-start"] = struct.pack(">Q", initramfs.start)
        chosen["linux,initrd-end"] = struct.pack(">Q", initramfs.end)


def _disable(root: Node, hidden: AddressRange) -> None:
    for node, bus in _mapped_nodes(root):
        if any(hidden.overlaps(part) for part in _reg(node, bus)):
            node.properties["status"] = _strings("disabled")


def _reserve(root: Node, memory: AddressRange) -> None:
    """Linux wants the cells of ``reserved-memory`` to be the root's (drivers/of/of_reserved_mem.c)."""
    reserved = root.ensure_child("reserved-memory")
    address_cells, size_cells = _widths(root)
    reserved.properties |= {
        "#address-cells": _cells(address_cells),
        "#size-cells": _cells(size_cells),
        "ranges": b"",
    }
    node = reserved.ensure_child(f"hil-agent-monitor@{memory.start:x}")
    node.properties |= {
        "reg": memory.start.to_bytes(4 * address_cells, "big") + memory.size.to_bytes(4 * size_cells, "big"),
        "no-map": b"",
    }


def _cells(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def _strings(*values: str) -> bytes:
    return b"".join(value.encode() + b"\0" for value in values)

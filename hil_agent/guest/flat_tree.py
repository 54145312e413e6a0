"""The flattened device tree format: bytes to nodes and back, without loss. Pure.

Devicetree Specification, release 0.4, chapter 5. What is read may come from anybody, so every length
and offset is checked before it is used.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from hil_agent.guest.address import AddressRange, align_up

MAX_SIZE = 2 << 20
"""Bytes. Linux takes no larger device tree: MAX_FDT_SIZE in arch/arm64/include/asm/boot.h."""

MAX_DEPTH = 64
"""Levels of nodes: FDT_MAX_DEPTH in drivers/of/fdt.c."""

_MAGIC = 0xD00DFEED
_VERSION, _LAST_COMPATIBLE = 17, 16
_HEADER = struct.Struct(">10I")
HEADER_SIZE = _HEADER.size
_RESERVATION = struct.Struct(">QQ")
_CELL = struct.Struct(">I")
_BEGIN_NODE, _END_NODE, _PROPERTY, _NOP, _END = 1, 2, 3, 4, 9


class FlatTreeError(ValueError):
    """The bytes are no flattened device tree."""


@dataclass(slots=True)
class Node:
    """A node: its properties as raw bytes, and the nodes below it."""

    name: str
    properties: dict[str, bytes] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)

    def child(self, name: str) -> Node | None:
        """The node directly below of that full name (``cpus``, ``memory@40000000``)."""
        return next((node for node in self.children if node.name == name), None)

    def ensure_child(self, name: str) -> Node:
        """The node directly below of that name; made if it is not there."""
        node = self.child(name)
        if node is None:
            node = Node(name)
            self.children.append(node)
        return node

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()

    def strings(self, name: str) -> tuple[str, ...]:
        """A property as a list of strings; empty if it is absent."""
        value = self.properties.get(name, b"").removesuffix(b"\0")
        return tuple(value.decode(errors="replace").split("\0")) if value else ()

    def cells(self, name: str) -> tuple[int, ...]:
        """A property as 32-bit cells; empty if it is absent, an odd end is left out."""
        value = self.properties.get(name, b"")
        return tuple(cell for (cell,) in _CELL.iter_unpack(value[: len(value) & ~3]))


@dataclass(slots=True)
class Tree:
    """A device tree: its nodes, the memory reservation block, the physical ID of the boot CPU."""

    root: Node
    reservations: list[AddressRange] = field(default_factory=list)
    boot_cpu: int = 0

    def free_phandle(self) -> int:
        """A number by which no node is referred to yet, nor by any above it."""
        used = (phandle for node in self.root.walk() for phandle in node.cells("phandle"))
        return max(used, default=0) + 1


class _Header(NamedTuple):
    magic: int
    size: int
    structure: int
    strings: int
    reservations: int
    version: int
    last_compatible: int
    boot_cpu: int
    strings_size: int
    structure_size: int

    @classmethod
    def unpack(cls, data: bytes) -> _Header:
        header = cls(*_HEADER.unpack_from(data))
        if header.magic != _MAGIC:
            raise FlatTreeError("it does not begin with d00dfeed")
        if header.version < _LAST_COMPATIBLE or header.last_compatible > _VERSION:
            raise FlatTreeError(f"version {header.version} is not supported, only 16 and 17")
        if header.size > MAX_SIZE:
            raise FlatTreeError(f"its header says {header.size} bytes, more than Linux takes")
        return header


def used_size(header: bytes) -> int:
    """Bytes up to the end of what a tree holds, from its header: QEMU's says 1 MiB and uses 10 KiB.

    Raises:
        FlatTreeError: the bytes are no header of a tree.
    """
    try:
        fields = _Header.unpack(header)
    except struct.error as error:
        raise FlatTreeError("it is cut off") from error
    end = max(fields.strings + fields.strings_size, fields.structure + fields.structure_size)
    return min(end, fields.size)


def parse(data: bytes) -> Tree:
    """Reads a flattened tree; what is behind its end is ignored, and unused space at its end may be missing.

    Raises:
        FlatTreeError: with what is wrong.
    """
    try:
        header = _Header.unpack(data)
        data = data[: header.size]
        return Tree(
            root=_parse_structure(data, header.structure, header.strings),
            reservations=list(_parse_reservations(data, header.reservations)),
            boot_cpu=header.boot_cpu,
        )
    except struct.error as error:
        raise FlatTreeError("it is cut off") from error


def _parse_reservations(data: bytes, offset: int) -> Iterator[AddressRange]:
    while any(entry := _RESERVATION.unpack_from(data, offset)):
        yield AddressRange(*entry)
        offset += _RESERVATION.size


def _parse_structure(data: bytes, offset: int, strings: int) -> Node:
    top = Node("")  # holds the root, so that every node has a parent
    path = [top]
    while True:
        (token,) = _CELL.unpack_from(data, offset)
        offset += 4
        if token == _BEGIN_NODE:
            name = _string(data, offset)
            offset = align_up(offset + len(name) + 1, 4)
            node = Node(name)
            path[-1].children.append(node)
            path.append(node)
            if len(path) > MAX_DEPTH:
                raise FlatTreeError(f"its nodes are nested deeper than {MAX_DEPTH}")
        elif token == _PROPERTY:
            length, name_offset = struct.unpack_from(">II", data, offset)
            (value,) = struct.unpack_from(f"{length}s", data, offset + 8)
            path[-1].properties[_string(data, strings + name_offset)] = value
            offset = align_up(offset + 8 + length, 4)
        elif token == _END_NODE and len(path) > 1:
            path.pop()
        elif token == _END and len(path) == 1 and len(top.children) == 1:
            return top.children[0]
        elif token != _NOP:
            raise FlatTreeError(f"there is a token {token:#x} at {offset - 4:#x}, where none such can be")


def _string(data: bytes, offset: int) -> str:
    end = data.find(b"\0", offset)
    text = data[offset:end] if end >= 0 else b"\xff"
    if not text.isascii():
        raise FlatTreeError(f"there is no name at {offset:#x}")
    return text.decode()


def serialise(tree: Tree) -> bytes:
    """The flattened form, version 17, without padding."""
    structure, names = bytearray(), bytearray()
    _write_node(tree.root, structure, names, {})
    structure += _CELL.pack(_END)
    reservations = b"".join(_RESERVATION.pack(entry.start, entry.size) for entry in tree.reservations)
    reservations += _RESERVATION.pack(0, 0)

    at_reservations = _HEADER.size
    at_structure = at_reservations + len(reservations)
    at_strings = at_structure + len(structure)
    header = _Header(
        magic=_MAGIC,
        size=at_strings + len(names),
        structure=at_structure,
        strings=at_strings,
        reservations=at_reservations,
        version=_VERSION,
        last_compatible=_LAST_COMPATIBLE,
        boot_cpu=tree.boot_cpu,
        strings_size=len(names),
        structure_size=len(structure),
    )
    return bytes(_HEADER.pack(*header) + reservations + structure + names)


def _write_node(node: Node, output: bytearray, names: bytearray, offsets: dict[str, int]) -> None:
    """Appends a node to ``output``; ``names`` and ``offsets`` collect the names of properties."""
    output += _CELL.pack(_BEGIN_NODE) + _padded(node.name.encode() + b"\0")
    for name, value in node.properties.items():
        if name not in offsets:
            offsets[name] = len(names)
            names += name.encode() + b"\0"
        output += struct.pack(">III", _PROPERTY, len(value), offsets[name]) + _padded(value)
    for child in node.children:
        _write_node(child, output, names, offsets)
    output += _CELL.pack(_END_NODE)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)

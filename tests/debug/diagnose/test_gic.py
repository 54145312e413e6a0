"""Interrupt controllers, read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hil_agent.debug.diagnose.gic import Interrupt, interrupt_names, read_interrupts
from hil_agent.errors import TargetError
from hil_agent.guest import flat_tree
from hil_agent.guest.address import AddressRange
from hil_agent.guest.device_tree import Gic, GicVersion
from hil_agent.guest.flat_tree import Node, Tree

_V3 = Gic(GicVersion.V3, 0x8000000, (AddressRange(0x80A0000, 0x40000),))
_V2 = Gic(GicVersion.V2, 0x8000000, (AddressRange(0x8010000, 0x1000),))
_64_LINES = {0x8000004: 1}


def _word(values: dict[int, int]) -> Callable[[int], int]:
    return lambda address: values.get(address, 0)


def test_private_interrupts_belong_to_their_vcpu() -> None:
    second = 0x80C0000 + 0x10000
    read = _word(_64_LINES | {second + 0x100: 1 << 27, second + 0x200: 1 << 27})
    assert read_interrupts(_V3, 2, read, {27: "timer"}) == (
        Interrupt(27, "timer", 1, enabled=True, pending=True, active=False),
    )


def test_shared_interrupts_belong_to_nobody() -> None:
    read = _word(_64_LINES | {0x8000104: 1 << 1, 0x8000304: 1 << 2})
    assert read_interrupts(_V3, 1, read, {33: "uart"}) == (
        Interrupt(33, "uart", None, enabled=True, pending=False, active=False),
        Interrupt(34, "", None, enabled=False, pending=False, active=True),
    )


def test_no_more_lines_are_read_than_there_are() -> None:
    asked: list[int] = []

    def read(address: int) -> int:
        asked.append(address)
        return _64_LINES.get(address, 0)

    read_interrupts(_V3, 1, read, {})
    assert 0x8000104 in asked
    assert 0x8000108 not in asked


def test_a_gicv2_of_one_vcpu_has_private_interrupts_in_its_distributor() -> None:
    (found,) = read_interrupts(_V2, 1, _word({0x8000100: 1 << 3}), {})
    assert (found.intid, found.name, found.cpu) == (3, "SGI 3", 0)


def test_a_gicv2_of_several_vcpus_is_not_touched() -> None:
    def read(address: int) -> int:
        pytest.fail("QEMU would die")

    with pytest.raises(TargetError, match="GICv2"):
        read_interrupts(_V2, 2, read, {})


def test_names_come_from_the_device_tree() -> None:
    uart = Node("uart@9000000", {"interrupts": b"".join(cell.to_bytes(4, "big") for cell in (0, 1, 4))})
    names = interrupt_names(flat_tree.serialise(Tree(Node("", children=[Node("bus", children=[uart])]))))
    assert names[33] == "uart@9000000"
    assert names[27] == "EL1 virtual timer"

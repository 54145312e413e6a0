import struct
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.errors import FileError
from hil_agent.guest import flat_tree
from hil_agent.guest.address import AddressRange
from hil_agent.guest.device_tree import Gic, GicVersion, describe, patch
from hil_agent.guest.flat_tree import Node, Tree
from hil_agent.psci.call import Conduit
from hil_agent.psci.idle import IdleState

MachineTree = Callable[[int, int], bytes]

MONITOR = AddressRange(0x5FFF0000, 0x10000)


def cells(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def tree(*children: Node, address_cells: int = 2, size_cells: int = 2) -> bytes:
    widths = {"#address-cells": cells(address_cells), "#size-cells": cells(size_cells)}
    return flat_tree.serialise(Tree(Node("", widths, list(children))))


def cpu(*mpidr: int) -> Node:
    return Node(f"cpu@{mpidr[-1]:x}", {"device_type": b"cpu\0", "reg": cells(*mpidr)})


def cpus(*nodes: Node) -> Node:
    return Node("cpus", {}, list(nodes))


MEMORY = Node("memory@40000000", {"device_type": b"memory\0", "reg": cells(0, 0x40000000, 0, 0x20000000)})


def patched(dtb: bytes, **options: object) -> Node:
    return flat_tree.parse(patch(dtb, conduit=Conduit.HVC, monitor=MONITOR, **options)).root  # type: ignore[arg-type]


def chosen(root: Node) -> Node:
    node = root.child("chosen")
    assert node is not None
    return node


@pytest.mark.parametrize("count", [1, 2, 8])
def test_qemus_cpus_are_seen_in_order(machine_tree: MachineTree, count: int) -> None:
    assert describe(machine_tree(3, count)).cpus == tuple(range(count))


def test_qemus_memory_and_conduit_are_seen(machine_tree: MachineTree) -> None:
    machine = describe(machine_tree(3, 1))
    assert machine.memory == (AddressRange(0x40000000, 512 << 20),)
    assert machine.conduit is Conduit.SMC


def test_a_gicv2_has_one_cpu_interface_for_all(machine_tree: MachineTree) -> None:
    gic = describe(machine_tree(2, 2)).gic
    assert gic is not None
    assert (gic.version, gic.distributor) == (GicVersion.V2, 0x08000000)
    assert gic.cpu_frame(0) == gic.cpu_frame(1) == 0x08010000


def test_a_gicv3_has_a_redistributor_for_each_cpu(machine_tree: MachineTree) -> None:
    gic = describe(machine_tree(3, 2)).gic
    assert gic is not None
    assert (gic.version, gic.distributor) == (GicVersion.V3, 0x08000000)
    assert (gic.cpu_frame(0), gic.cpu_frame(1)) == (0x080A0000, 0x080C0000)


def test_redistributors_go_on_in_the_next_region() -> None:
    gic = Gic(GicVersion.V3, 0, (AddressRange(0x1000000, 0x20000), AddressRange(0x9000000, 0x40000)))
    assert [gic.cpu_frame(each) for each in range(3)] == [0x1000000, 0x9000000, 0x9020000]
    with pytest.raises(ValueError, match="more CPUs than GICv3 redistributors"):
        gic.cpu_frame(3)


def test_a_tree_with_more_cpus_than_redistributors_is_refused() -> None:
    gic = Node("gic@0", {"compatible": b"arm,gic-v3\0", "reg": cells(0, 0, 0, 1, 0, 0x10000, 0, 0x20000)})
    with pytest.raises(FileError, match="more CPUs than GICv3 redistributors"):
        describe(tree(cpus(cpu(0), cpu(1)), MEMORY, gic))


def test_the_third_affinity_is_in_the_upper_half() -> None:
    clustered = cpus(cpu(0, 0), cpu(0, 0x100), cpu(1, 0x3))
    assert describe(tree(clustered, MEMORY)).cpus == (0x0, 0x100, 0x100000003)


def test_what_is_behind_a_bus_that_translates_is_not_taken_for_an_address() -> None:
    gic = Node("gic@0", {"compatible": b"arm,gic-400\0", "reg": cells(0, 0, 0, 1, 0, 2, 0, 1)})
    widths = {"#address-cells": cells(2), "#size-cells": cells(2)}
    soc = Node("soc", widths | {"ranges": cells(0, 0, 0, 0x1000, 0, 0x1000)}, [gic])
    assert describe(tree(cpus(cpu(0)), MEMORY, soc)).gic is None
    soc.properties["ranges"] = b""
    assert describe(tree(cpus(cpu(0)), MEMORY, soc)).gic is not None


@pytest.mark.parametrize("dtb", [tree(MEMORY), tree(cpus(cpu(0))), tree()])
def test_a_tree_without_cpus_or_memory_is_refused(dtb: bytes) -> None:
    with pytest.raises(FileError, match=r"my\.dtb: describes no CPU or no memory"):
        describe(dtb, "my.dtb")


def test_what_is_no_tree_is_refused_with_the_way_to_make_one() -> None:
    with pytest.raises(FileError, match=r"(?s)my\.dtb: is no flattened device tree.*dtc -O dtb"):
        patch(b"/dts-v1/;", conduit=Conduit.HVC, monitor=MONITOR, path="my.dtb")


@pytest.mark.parametrize("gic", [2, 3])
@pytest.mark.parametrize("conduit", Conduit)
def test_the_guest_is_told_of_our_psci(machine_tree: MachineTree, gic: int, conduit: Conduit) -> None:
    dtb = patch(machine_tree(gic, 2), conduit=conduit, monitor=MONITOR)
    psci = flat_tree.parse(dtb).root.child("psci")
    assert psci is not None
    assert psci.strings("compatible") == ("arm,psci-1.0", "arm,psci-0.2")
    assert describe(dtb).conduit is conduit


def test_every_cpu_is_started_through_psci(machine_tree: MachineTree) -> None:
    root = patched(machine_tree(3, 1))
    node = root.child("cpus")
    assert node is not None
    assert [each.strings("enable-method") for each in node.children if "reg" in each.properties] == [
        ("psci",)
    ]


def test_the_monitor_is_taken_out_of_the_guests_memory(machine_tree: MachineTree) -> None:
    reserved = patched(machine_tree(3, 1)).child("reserved-memory")
    assert reserved is not None
    (node,) = reserved.children
    assert node.cells("reg") == (0, MONITOR.start, 0, MONITOR.size)
    assert node.properties["no-map"] == reserved.properties["ranges"] == b""


def test_a_tree_without_psci_chosen_and_reservations_gets_them() -> None:
    root = patched(tree(cpus(cpu(0)), MEMORY, address_cells=1, size_cells=1))
    reserved = root.child("reserved-memory")
    assert reserved is not None
    assert reserved.children[0].cells("reg") == (MONITOR.start, MONITOR.size)
    assert root.child("psci")


def test_a_command_line_replaces_the_one_that_is_there(machine_tree: MachineTree) -> None:
    dtb = machine_tree(3, 1)
    first = patch(dtb, conduit=Conduit.HVC, monitor=MONITOR, bootargs="one")
    assert chosen(patched(first, bootargs="two three")).strings("bootargs") == ("two three",)
    assert chosen(patched(first)).strings("bootargs") == ("one",)


def test_the_initramfs_is_named_or_not_there(machine_tree: MachineTree) -> None:
    dtb = machine_tree(3, 1)
    first = patch(dtb, conduit=Conduit.HVC, monitor=MONITOR, initramfs=AddressRange(0x48000000, 0x123))
    node = chosen(flat_tree.parse(first).root)
    assert (node.cells("linux,initrd-start"), node.cells("linux,initrd-end")) == (
        (0, 0x48000000),
        (0, 0x48000123),
    )
    assert "linux,initrd-start" not in chosen(patched(first)).properties


@pytest.mark.parametrize("wanted", [True, False])
def test_random_seeds_stay_or_go(machine_tree: MachineTree, wanted: bool) -> None:
    properties = chosen(patched(machine_tree(3, 1), random_seeds=wanted)).properties
    assert ("kaslr-seed" in properties, "rng-seed" in properties) == (wanted, wanted)


def test_a_tree_too_narrow_for_the_monitor_is_refused() -> None:
    with pytest.raises(FileError, match="too narrow"):
        patch(
            tree(cpus(cpu(0)), MEMORY, address_cells=1, size_cells=1),
            conduit=Conduit.HVC,
            monitor=AddressRange(1 << 32, 1 << 16),
        )


@given(st.lists(st.binary(max_size=20), min_size=4, max_size=4), st.integers(0, 9), st.integers(0, 9))
def test_odd_properties_are_refused_or_read(values: list[bytes], address_cells: int, size_cells: int) -> None:
    gic = Node("gic", {"compatible": b"arm,gic-v3\0", "reg": values[0], "#redistributor-regions": values[1]})
    memory = Node("memory", {"device_type": b"memory\0", "reg": values[2]})
    odd = Node("cpu", {"device_type": b"cpu\0", "reg": values[3]})
    with suppress(FileError):
        describe(tree(gic, memory, cpus(odd), address_cells=address_cells, size_cells=size_cells))
    with suppress(FileError):
        patched(tree(memory, cpus(odd), address_cells=address_cells, size_cells=size_cells))


# -------------------------------------------------------------------------------- idle states


STATES = {IdleState.STANDBY: 0x1, IdleState.POWER_DOWN: 0x10003}


def idle_states(root: Node) -> Node:
    node = root.child("cpus")
    assert node is not None
    states = node.child("idle-states")
    assert states is not None
    return states


def test_a_guest_is_offered_no_idle_states_unless_it_shall_be(machine_tree: MachineTree) -> None:
    root = patched(machine_tree(3, 2))
    assert [
        node.name for node in root.walk() if "idle" in node.name or "cpu-idle-states" in node.properties
    ] == []


def test_idle_states_are_entered_by_cpu_suspend(machine_tree: MachineTree) -> None:
    states = idle_states(patched(machine_tree(3, 2), idle_states=STATES))
    assert states.strings("entry-method") == ("psci",)
    assert [(node.name, node.cells("arm,psci-suspend-param")) for node in states.children] == [
        ("cpu-standby", (0x1,)),
        ("cpu-power-down", (0x10003,)),
    ]


def test_every_cpu_has_the_idle_states_in_their_order(machine_tree: MachineTree) -> None:
    root = patched(machine_tree(3, 2), idle_states=STATES)
    phandles = tuple(node.cells("phandle")[0] for node in idle_states(root).children)
    node = root.child("cpus")
    assert node is not None
    assert [each.cells("cpu-idle-states") for each in node.children if "reg" in each.properties] == [
        phandles
    ] * 2


def test_phandles_of_idle_states_are_nobody_elses(machine_tree: MachineTree) -> None:
    root = patched(machine_tree(3, 2), idle_states=STATES)
    phandles = [phandle for node in root.walk() for phandle in node.cells("phandle")]
    assert len(phandles) == len(set(phandles))


@pytest.mark.parametrize("latency", ["entry-latency-us", "exit-latency-us", "min-residency-us"])
def test_a_deeper_idle_state_costs_more(machine_tree: MachineTree, latency: str) -> None:
    standby, power_down = idle_states(patched(machine_tree(3, 1), idle_states=STATES)).children
    assert 0 < standby.cells(latency)[0] < power_down.cells(latency)[0]


def test_timers_go_on_in_every_idle_state(machine_tree: MachineTree) -> None:
    root = patched(machine_tree(3, 1), idle_states=STATES)
    assert [node.name for node in root.walk() if "local-timer-stop" in node.properties] == []


def test_idle_states_of_a_tree_give_way(machine_tree: MachineTree) -> None:
    once = patch(machine_tree(3, 1), conduit=Conduit.HVC, monitor=MONITOR, idle_states=STATES)
    states = idle_states(patched(once, idle_states={IdleState.STANDBY: 0x7}))
    assert [node.cells("arm,psci-suspend-param") for node in states.children] == [(0x7,)]

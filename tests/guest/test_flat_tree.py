import shutil
import struct
import subprocess
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.guest import flat_tree
from hil_agent.guest.address import AddressRange
from hil_agent.guest.flat_tree import FlatTreeError, Node, Tree

NAMES = st.text("abc-", min_size=1, max_size=5)
NODES = st.recursive(
    st.builds(Node, NAMES, st.dictionaries(NAMES, st.binary(max_size=9), max_size=3)),
    lambda nodes: st.builds(Node, NAMES, st.just({}), st.lists(nodes, max_size=3)),
    max_leaves=6,
)
RANGES = st.builds(AddressRange, st.integers(1, 2**64 - 1), st.integers(0, 2**64 - 1))
TREES = st.builds(Tree, NODES, st.lists(RANGES, max_size=2), st.integers(0, 2**32 - 1))
SMALL = flat_tree.serialise(Tree(Node("", {"a": b"1234"}, [Node("b", {"c": b"\0"})]), [AddressRange(1, 2)]))


@given(TREES)
def test_what_is_written_is_read_back(tree: Tree) -> None:
    assert flat_tree.parse(flat_tree.serialise(tree)) == tree


@pytest.mark.skipif(shutil.which("dtc") is None, reason="no dtc here")
@pytest.mark.parametrize("gic", [2, 3])
def test_dtc_sees_no_difference(machine_tree: Callable[[int, int], bytes], gic: int) -> None:
    def source(dtb: bytes) -> bytes:
        command = ["dtc", "-q", "-I", "dtb", "-O", "dts"]
        return subprocess.run(command, input=dtb, check=True, capture_output=True).stdout

    padded = machine_tree(gic, 2)
    compact = flat_tree.serialise(flat_tree.parse(padded))
    assert len(compact) < 16 << 10 < len(padded)
    assert source(compact) == source(padded)


def test_only_what_is_used_needs_to_be_read(machine_tree: Callable[[int, int], bytes]) -> None:
    padded = machine_tree(3, 2)
    size = flat_tree.used_size(padded[:40])
    assert size < 16 << 10
    assert flat_tree.parse(padded[:size]) == flat_tree.parse(padded)


@pytest.mark.parametrize("header", [b"", bytes(40), SMALL[:39]])
def test_what_is_no_header_has_no_size(header: bytes) -> None:
    with pytest.raises(FlatTreeError):
        flat_tree.used_size(header)


@given(st.integers(0, len(SMALL) - 1))
def test_a_tree_that_is_cut_off_is_refused(size: int) -> None:
    with pytest.raises(FlatTreeError):
        flat_tree.parse(SMALL[:size])


def test_nodes_nested_too_deeply_are_refused() -> None:
    root = node = Node("")
    for _ in range(flat_tree.MAX_DEPTH):
        node = node.ensure_child("a")
    with pytest.raises(FlatTreeError, match="nested deeper than 64"):
        flat_tree.parse(flat_tree.serialise(Tree(root)))


def test_an_old_version_is_refused() -> None:
    old = bytearray(SMALL)
    struct.pack_into(">2I", old, 20, 3, 1)
    with pytest.raises(FlatTreeError, match="version 3"):
        flat_tree.parse(bytes(old))


@given(st.dictionaries(st.integers(0, len(SMALL) - 1), st.integers(0, 255), max_size=4))
def test_damage_is_refused_or_read(damage: dict[int, int]) -> None:
    data = bytearray(SMALL)
    for at, byte in damage.items():
        data[at] = byte
    with suppress(FlatTreeError):
        flat_tree.parse(bytes(data))

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from hil_agent import el2
from hil_agent.el2 import El2TrapSource
from hil_agent.errors import HostError
from hil_agent.trap.build import AssemblyError, assemble
from hil_agent.trap.monitor import Monitor

SOURCE = Path(el2.__file__).with_name("monitor.S")
INSTRUCTION = 4
NOP = 0xD503201F


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("monitor") / "monitor.elf"
    assemble(SOURCE, path)
    return path


@pytest.fixture(scope="module")
def monitor(elf: Path) -> Monitor:
    return Monitor.from_elf(elf)


def test_labels_are_those_that_the_symbol_table_has(monitor: Monitor, elf: Path) -> None:
    said = subprocess.run(
        ["aarch64-linux-gnu-nm", "--extern-only", "--defined-only", elf],
        capture_output=True,
        text=True,
        check=True,
    )
    symbols = {
        name: int(value, 16) for value, name in re.findall(r"^(\w+) \w (\w+)$", said.stdout, re.MULTILINE)
    }
    linkers_own = {name for name in symbols if name.startswith("_")}
    assert {name: value for name, value in monitor.labels.items() if not name.startswith("_")} == {
        name: value for name, value in symbols.items() if name not in linkers_own
    }


def test_every_kind_of_trap_has_a_number_that_fits_the_condition_flags(monitor: Monitor) -> None:
    assert {monitor.labels[kind] for kind in El2TrapSource.kinds} <= set(range(16))


def test_no_two_kinds_of_trap_share_a_number(monitor: Monitor) -> None:
    assert len({monitor.labels[kind] for kind in El2TrapSource.kinds}) == len(El2TrapSource.kinds)


def test_the_trap_is_a_nop_that_nothing_depends_on(monitor: Monitor) -> None:
    at = monitor.labels["trap"]
    assert int.from_bytes(monitor.image[at : at + INSTRUCTION], "little") == NOP


ROUTINES = (
    "entry trap return_to_guest run_program firmware_call park_gicv2 park_gicv3 unpark_gicv2 unpark_gicv3"
)


@pytest.mark.parametrize("routine", ROUTINES.split())
def test_routines_are_whole_instructions_of_the_image(monitor: Monitor, routine: str) -> None:
    at = monitor.labels[routine]
    assert (at % INSTRUCTION, 0 <= at < len(monitor.image)) == (0, True)


def test_the_image_is_small(monitor: Monitor) -> None:
    assert len(monitor.image) <= 3 * 4096


def test_areas_lie_end_to_end(monitor: Monitor) -> None:
    assert monitor.areas_size(3) == 3 * monitor.labels["area_size"]


def test_areas_keep_their_fields_aligned(monitor: Monitor) -> None:
    assert monitor.labels["area_size"] % 16 == 0


def test_the_stack_is_aligned(monitor: Monitor) -> None:
    assert monitor.labels["area_stack_top"] % 16 == 0


def test_nothing_in_it_has_to_be_relocated(elf: Path) -> None:
    said = subprocess.run(
        ["aarch64-linux-gnu-readelf", "-r", elf], capture_output=True, text=True, check=True
    )
    assert "no relocations" in said.stdout


# ------------------------------------------------------------------------------- assembling


def test_what_comes_is_loaded(monitor: Monitor) -> None:
    assert Monitor.load() == monitor


def test_a_mistake_in_the_source_is_quoted(tmp_path: Path) -> None:
    source = tmp_path / "bad.S"
    source.write_text("frobnicate x0\n")
    with pytest.raises(AssemblyError, match="frobnicate"):
        assemble(source, tmp_path / "bad.elf")


def test_a_mistake_leaves_no_file(tmp_path: Path) -> None:
    source = tmp_path / "bad.S"
    source.write_text("frobnicate x0\n")
    with pytest.raises(AssemblyError):
        assemble(source, tmp_path / "out" / "bad.elf")
    assert list((tmp_path / "out").iterdir()) == []


def test_without_an_assembler_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(HostError) as caught:
        Monitor.load()
    assert "binutils-aarch64-linux-gnu" in str(caught.value)


def test_a_monitor_is_assembled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = Monitor.load()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Monitor.load() == first

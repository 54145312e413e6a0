from __future__ import annotations

import re
import subprocess
from pathlib import Path

from hil_agent.symbols.elf import write
from hil_agent.symbols.gdb import gdb_script
from hil_agent.symbols.table import Symbol

LINKED = 0xFFFF800080000000
SYMBOLS = [
    Symbol("_text", "T", LINKED),
    Symbol("cpu_resume", "T", LINKED + 0x1000),
    Symbol("counter", "D", LINKED + 0x2000),
    Symbol("other_function", "t", LINKED + 0x3000),
]
LOAD, START = 0x40200000, 0xFFFFA0D520A00000


def ask_gdb(script: list[str], *commands: str) -> tuple[list[str], str]:
    """What gdb prints for commands, and its warnings."""
    arguments = [argument for command in (*script, *commands) for argument in ("-ex", command)]
    run = subprocess.run(
        ["gdb-multiarch", "-nx", "-q", "-batch", *arguments],
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    return run.stdout.splitlines(), run.stderr


def symbol_file(folder: Path) -> Path:
    path = folder / 'a "quoted" \\ file'
    path.write_bytes(write(SYMBOLS, start=LINKED, end=LINKED + 0x4000))
    return path


def test_a_breakpoint_is_at_the_physical_and_at_the_virtual_address(tmp_path: Path) -> None:
    script = gdb_script(symbol_file(tmp_path), linked=LINKED, load_address=LOAD, virtual_start=START)
    output, errors = ask_gdb(script, "break cpu_resume", "info breakpoints")
    places = re.findall(r"^1\.\d .*(0x[0-9a-f]{16})", "\n".join(output), re.MULTILINE)
    assert [int(place, 16) for place in places] == [0x40201000, 0xFFFFA0D520A01000]
    assert errors == ""


def test_an_address_of_either_world_has_its_symbol(tmp_path: Path) -> None:
    script = gdb_script(symbol_file(tmp_path), linked=LINKED, load_address=LOAD, virtual_start=START)
    output, errors = ask_gdb(script, f"info symbol {LOAD + 0x1012:#x}", f"info symbol {START + 0x2004:#x}")
    assert [line.split(" in ")[0] for line in output[-2:]] == ["cpu_resume + 18", "counter + 4"]
    assert errors == ""


def test_without_a_virtual_address_only_the_physical_ones_are_known(tmp_path: Path) -> None:
    script = gdb_script(symbol_file(tmp_path), linked=LINKED, load_address=LOAD, virtual_start=None)
    output, _ = ask_gdb(script, "info line cpu_resume", f"info symbol {LINKED + 0x1000:#x}")
    assert "0x40201000" in output[0]
    assert output[1].startswith("No symbol matches")


def test_what_is_loaded_where_it_is_linked_is_loaded_once(tmp_path: Path) -> None:
    script = gdb_script(symbol_file(tmp_path), linked=LOAD, load_address=LOAD, virtual_start=LOAD)
    assert sum("symbol-file" in command for command in script) == 1

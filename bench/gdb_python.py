"""The trapped call under gdb, whose own Python does what the agent does: read, decide, write, continue."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from bench.trap_loop import WARM_UP, TrapLoop
from hil_agent.errors import TargetError

_SCRIPT = Path(__file__).with_name("answer_calls.gdb")
_TIMEOUT_S = 120.0


def gdb(loop: TrapLoop, calls: int, *, keep_inserted: bool) -> list[float]:
    """Seconds of each cycle.

    Args:
        loop: the machine.
        calls: how many to answer.
        keep_inserted: whether breakpoints stay in place while the machine is stopped, which is not gdb's way.

    Raises:
        TargetError: gdb did not get through.
    """
    values = {"trap": loop.trap, "warm_up": WARM_UP, "calls": calls}
    command = ["gdb-multiarch", "-batch", "-nx", "-ex", "set architecture aarch64"]
    command += ["-ex", f"set breakpoint always-inserted {'on' if keep_inserted else 'off'}"]
    for name, value in values.items():
        command += ["-ex", f"set var ${name} = {value}"]
    command += ["-ex", f"target remote {loop.stub}", "-x", str(_SCRIPT)]
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    printed = re.search(r"^cycles: (.+)$", result.stdout, re.MULTILINE)
    if result.returncode or printed is None:
        raise TargetError(f"gdb failed: {result.stderr.strip()}")
    cycles: list[float] = json.loads(printed[1])
    return cycles

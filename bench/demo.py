"""A second ``hil-agent demo``: what it takes beyond the guest's own time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

from bench.boot import on_plain_qemu
from bench.result import Comparison, Result
from hil_agent.api import prepare
from hil_agent.errors import GuestError

_COMMAND = (str(Path(sys.executable).with_name("hil-agent")), "demo", "--hold", "0", "--json")
_PHASES = ("suspend_s", "held_s", "resume_s")


def measure(runs: int) -> list[Result]:
    """The whole command, against the same guest's boot on plain QEMU and its suspend and resume."""
    plan = prepare()  # what a first run would do is done now
    times = [(*_demo(), on_plain_qemu(plan)) for _ in range(runs)]
    whole = median(whole for whole, _, _ in times)
    own = median(phases + boot for _, phases, boot in times)
    name, against = "second demo, without a hold", "the guest's own boot, suspend and resume"
    return [Result.excess(Comparison(name, whole, against, own, runs), at_most_s=2.0)]


def _demo() -> tuple[float, float]:
    """Seconds of the whole command, and of what the guest did in it after its boot.

    Raises:
        GuestError: the demo failed.
    """
    began = perf_counter()
    done = subprocess.run(_COMMAND, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    whole = perf_counter() - began
    if done.returncode:
        raise GuestError(f"{' '.join(_COMMAND)} failed: {done.stderr.strip()}")
    proof = json.loads(done.stdout)
    return whole, sum(proof[phase] for phase in _PHASES)

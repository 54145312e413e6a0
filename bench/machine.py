"""What the figures were taken on: this host, and the versions that matter."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import hil_agent


def describe() -> Mapping[str, str]:
    """The host and its programs, by name."""
    return {
        "CPU": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} to run on",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "Linux": platform.release(),
        "Python": platform.python_version(),
        "QEMU": _version("qemu-system-aarch64"),
        "gdb": _version("gdb-multiarch"),
        "hil_agent": hil_agent.__version__,
    }


def _cpu_model() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _version(program: str) -> str:
    """The number in the first line of what a program says of its version."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+(\.\d+)+", said)
    return found[0] if found else said.partition("\n")[0]

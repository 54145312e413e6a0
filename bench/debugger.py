"""gdb attached to a session, against the same gdb attached straight to a QEMU with the same guest.

What gdb does takes gdb itself some time as well, which is the same on both sides. They take turns. Steps,
breakpoints and memory are measured on a bare-metal guest that counts, backtraces on Linux at its prompt.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final

import pexpect

from bench.result import Comparison, Result
from hil_agent import boot
from hil_agent.debug import Gdb
from hil_agent.guest import catalogue, image
from hil_agent.session.client import Session
from hil_agent.trap.build import ASSEMBLER

_STEPS: Final = 1000
_HITS: Final = 100
_MEMORY: Final = 1 << 20
_LOAD_ADDRESS: Final = 0x4020_0000
_LOOP: Final = _LOAD_ADDRESS + 4
_CPUS: Final = 2
_TIMEOUT_S: Final = 120.0
_CALLS_S: Final = 1.0
_OBJCOPY: Final = "aarch64-linux-gnu-objcopy"

_SETTINGS: Final = ("set pagination off", "set confirm off", "set architecture aarch64", "set height 0")
_MARK: Final = "seconds:"

_AT_MOST: Final = 1.15
_AT_MOST_IDLE: Final = 1.1

_TASKS_BARE_METAL: Final = {
    "1 MiB of memory": f"dump binary memory memory {_LOAD_ADDRESS:#x} {_LOAD_ADDRESS + _MEMORY:#x}",
    f"{_STEPS} stepi": f"set $n = 0\nwhile $n < {_STEPS}\nstepi\nset $n = $n + 1\nend",
    f"{_HITS} breakpoint hits": (
        f"break *{_LOOP:#x}\nset $n = 0\nwhile $n < {_HITS}\ncontinue\nset $n = $n + 1\nend\ndelete"
    ),
}
_TASKS_LINUX: Final = {"backtrace of all vCPUs": "thread apply all -q bt"}
"""What gdb does, by what it is called: a script, as gdb's command line is what people use."""


def measure(turns: int) -> list[Result]:
    """Every task on both sides, and what an idle gdb costs a trapped call."""
    with tempfile.TemporaryDirectory(prefix="hil-agent-bench-") as name:
        folder = Path(name)
        spin, calls = (_assemble(folder, guest) for guest in ("spin", "hvc_loop"))
        linux = image.build(catalogue.find("linux-minimal"), lambda _step, _fraction: None)
        command_line = f"{catalogue.find('linux-minimal').description.command_line} nokaslr"
        loader = ("-device", f"loader,file={spin},addr={_LOAD_ADDRESS:#x},force-raw=on")
        entry = ("-device", f"loader,addr={_LOAD_ADDRESS:#x},cpu-num=0")
        kernel = ("-kernel", str(linux.kernel), "-initrd", str(linux.initramfs), "-append", command_line)
        with (
            boot(kernel=spin, load_address=_LOAD_ADDRESS) as session,
            _qemu(folder, *loader, *entry) as direct,
        ):
            results = _compare(_TASKS_BARE_METAL, session, direct, turns)
        with (
            boot(cpus=_CPUS, append="nokaslr") as session,
            _qemu(folder, "-smp", str(_CPUS), *kernel, ready="linux-minimal ready") as direct,
        ):
            results += _compare(_TASKS_LINUX, session, direct, turns)
        with boot(kernel=calls, load_address=_LOAD_ADDRESS) as session:
            results.append(_idle(session, turns))
    return results


def _compare(tasks: Mapping[str, str], session: Session, direct: Path, turns: int) -> list[Result]:
    sides = {"ours": Path(session.status().gdb or ""), "direct": direct}
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(turns):
        for side, stub in sides.items():
            for name, took in zip(tasks, _gdb(stub, tasks.values()), strict=True):
                times[name, side].append(took)
    return [
        Result.slowdown(
            Comparison(
                f"gdb on a session: {name}",
                median(times[name, "ours"]),
                "the same straight on QEMU",
                median(times[name, "direct"]),
                turns,
            ),
            at_most=_AT_MOST,
        )
        for name in tasks
    ]


def _gdb(stub: Path, scripts: Iterable[str]) -> list[float]:
    """Has a gdb carry out scripts, and returns how many seconds each took, by gdb's own clock."""
    lines = [*_SETTINGS, f"target remote {stub}", "python import time"]
    for script in scripts:
        lines += [
            "python began = time.perf_counter()",
            script,
            f"python print({_MARK!r}, time.perf_counter() - began)",
        ]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "script").write_text("\n".join(lines))
        done = subprocess.run(
            ["gdb-multiarch", "-nx", "-batch", "-x", "script"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
    return [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith(_MARK)]


def _idle(session: Session, turns: int) -> Result:
    """Seconds from one trapped call to the next, with a gdb that only waits, and without."""
    without, attached = [], []
    for _ in range(turns):
        without.append(_between_calls(session))
        with Gdb(Path(session.status().gdb or "")) as gdb:
            gdb.go()
            attached.append(_between_calls(session))
    comparison = Comparison(
        "trapped call, gdb attached", median(attached), "without gdb", median(without), turns
    )
    return Result.slowdown(comparison, at_most=_AT_MOST_IDLE)


def _between_calls(session: Session) -> float:
    before, began = session.status(), perf_counter()
    while (now := session.status()).uptime_s < before.uptime_s + _CALLS_S:
        continue
    return (perf_counter() - began) / (now.calls - before.calls)


def _assemble(folder: Path, guest: str) -> Path:
    """A guest as a flat binary; its code does not depend on its address."""
    source, unlinked, binary = (
        Path(__file__).with_name(f"{guest}.S"),
        folder / f"{guest}.o",
        folder / f"{guest}.bin",
    )
    subprocess.run([ASSEMBLER, "-o", unlinked, source], check=True)
    subprocess.run([_OBJCOPY, "-O", "binary", "-j", ".text", unlinked, binary], check=True)
    return binary


@contextmanager
def _qemu(folder: Path, *arguments: str, ready: str | None = None) -> Iterator[Path]:
    """A QEMU without an agent, and the socket of its stub; with ``ready``, when its guest has said that."""
    stub = folder / "direct.sock"
    command = [
        *(
            "-machine",
            "virt,gic-version=3",
            "-cpu",
            "cortex-a57",
            "-m",
            "512M",
            "-nodefaults",
            "-display",
            "none",
        ),
        *("-serial", "stdio", "-gdb", f"unix:{stub},server=on,wait=off"),
        *arguments,
    ]
    process = pexpect.spawn(
        "qemu-system-aarch64", command, encoding="utf-8", codec_errors="replace", echo=False
    )
    try:
        if ready is not None:
            process.expect_exact(ready, timeout=_TIMEOUT_S)
        else:
            while not stub.exists():
                process.expect(pexpect.TIMEOUT, timeout=0.01)
        yield stub
    finally:
        process.close(force=True)
        stub.unlink(missing_ok=True)

"""Boot to the shell under the agent, against plain QEMU with the same kernel, initramfs, vCPUs and memory."""

from __future__ import annotations

import os
import re
import subprocess
from statistics import median
from time import perf_counter

from bench.result import Comparison, Result
from hil_agent.api import prepare
from hil_agent.board.qemu_schema import QemuBoard
from hil_agent.errors import GuestError, InternalError
from hil_agent.session.launch import boot
from hil_agent.session.plan import BootPlan

_CPUS = (1, 4)
_CHUNK = 64 * 1024
_PLAIN = "plain QEMU at EL1"


def measure(boots: int) -> list[Result]:
    """Both, in turns, with each number of vCPUs."""
    results = []
    for cpus in _CPUS:
        plan = prepare(cpus=cpus)
        times = [(*under_agent(plan), on_plain_qemu(plan)) for _ in range(boots)]
        shell, command, plain = (median(column) for column in zip(*times, strict=True))
        name = f"boot to shell, {cpus} vCPU"
        results += [
            Result.slowdown(Comparison(name, shell, _PLAIN, plain, boots), at_most=1.1),
            Result.slowdown(
                Comparison(f"{name}, with the start of the session's process", command, _PLAIN, plain, boots)
            ),
        ]
    return results


def under_agent(plan: BootPlan) -> tuple[float, float]:
    """Seconds from QEMU's start until the guest is up, and the same from before the session's start."""
    began = perf_counter()
    with boot(plan) as session:
        command = perf_counter() - began
        return session.status().uptime_s, command  # a session counts from right before QEMU's start


def on_plain_qemu(plan: BootPlan) -> float:
    """Seconds until QEMU's guest has said that it is up, with the start of QEMU.

    Raises:
        GuestError: it ended without.
    """
    if plan.ready is None:
        raise InternalError("the guest does not say when it is up")
    ready = re.compile(plan.ready.encode(), re.MULTILINE)
    said = b""
    began = perf_counter()
    with subprocess.Popen(_command(plan), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as qemu:
        if qemu.stdout is None:
            raise InternalError("QEMU was started without a pipe")
        console = qemu.stdout.fileno()
        try:
            while chunk := os.read(console, _CHUNK):
                said += chunk
                if ready.search(said):
                    return perf_counter() - began
        finally:
            qemu.kill()
    raise GuestError(f"plain QEMU ended: {said[-500:].decode(errors='replace')}")


def _command(plan: BootPlan) -> list[str]:
    board, guest = plan.board, plan.guest
    if not isinstance(board, QemuBoard):
        raise InternalError(f"{board.name} is no QEMU board")
    return [
        board.qemu,
        *("-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"),
        *("-machine", f"virt,gic-version={board.gic_version}", "-cpu", board.cpu, "-smp", str(board.cpus)),
        *("-m", f"{board.memory >> 20}M", "-kernel", str(guest.kernel), "-initrd", str(guest.initramfs)),
        *("-append", guest.command_line),
    ]

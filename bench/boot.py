"""Boot to the shell under the agent, against plain QEMU with the same kernel, initramfs, vCPUs and memory."""

from __future__ import annotations

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

CPUS = (1, 4)


def measure(boots: int) -> list[Result]:
    """Both, in turns, with each number of vCPUs."""
    results = []
    for cpus in CPUS:
        plan = prepare(cpus=cpus)
        times = [(under_agent(plan), on_plain_qemu(plan)) for _ in range(boots)]
        ours, plain = (median(column) for column in zip(*times, strict=True))
        vcpus = f"{cpus} vCPU{'s' if cpus > 1 else ''}"
        comparison = Comparison(f"boot to shell, {vcpus}", ours, "plain QEMU at EL1", plain, boots)
        results.append(Result.slowdown(comparison, at_most=1.1))
    return results


def under_agent(plan: BootPlan) -> float:
    """Seconds until a session is up, with the start of its process and of QEMU."""
    began = perf_counter()
    with boot(plan):
        return perf_counter() - began


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
        try:
            while qemu.stdout and (chunk := qemu.stdout.read1()):
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

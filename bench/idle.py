"""A Linux guest at an idle prompt: what processor time the agent and QEMU take meanwhile.

What is asked is how much of one host CPU that is, and for QEMU how much more than without idle states.
"""

from __future__ import annotations

import time
from statistics import median

from bench.result import Comparison, Result
from hil_agent import boot
from hil_agent.errors import InternalError
from hil_agent.session.client import Session

_CPUS = 4
_SETTLE_S = 3.0
_SPAN_S = 10.0
_MACHINES = {"WFI alone": None, "standby": "standby", "standby, power-down": "standby,power-down"}
_SHARE_AT_MOST = 10.0


def measure(turns: int) -> list[Result]:
    """Each machine in turns: without idle states, with one, with both; under the profile that has both."""
    spans: dict[str, list[tuple[float, float, float]]] = {name: [] for name in _MACHINES}
    for _ in range(turns):
        for name, states in _MACHINES.items():
            with boot(cpus=_CPUS, profile="spec", idle_states=states) as session:
                time.sleep(_SETTLE_S)
                spans[name].append(_idle(session))
    middle = {name: tuple(map(median, zip(*each, strict=True))) for name, each in spans.items()}
    (_, alone_s, _), plain = middle["WFI alone"], "QEMU, WFI alone"
    results = []
    for name, (agent_s, qemu_s, wall_s) in middle.items():
        at = f"{_CPUS} vCPU at an idle prompt, {name}"
        agent = Comparison(f"{at}: the agent", agent_s, "of one host CPU", wall_s, turns)
        results.append(Result.share(agent, _SHARE_AT_MOST))
        if qemu_s is not alone_s:
            results.append(Result.slowdown(Comparison(f"{at}: QEMU", qemu_s, plain, alone_s, turns)))
    return results


def _idle(session: Session) -> tuple[float, float, float]:
    """Seconds of processor time that agent and QEMU take over a span, and how long that was."""
    status = session.status()
    if status.pid is None or status.target_pid is None:
        raise InternalError("a session on QEMU has two processes")
    pids = (status.pid, status.target_pid)
    began, before = time.monotonic(), [_processor_s(pid) for pid in pids]
    time.sleep(_SPAN_S)
    agent_s, qemu_s = (_processor_s(pid) - was for pid, was in zip(pids, before, strict=True))
    return agent_s, qemu_s, time.monotonic() - began


def _processor_s(pid: int) -> float:
    """What a process has used, threads that have ended included."""
    return time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)


_CPUCLOCK_SCHED = 2
"""Part of the clock ID of a process (glibc, clock_getcpuclockid; Linux, posix-timers.h)."""

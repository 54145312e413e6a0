"""What evidence leads to which conclusion: rules, the most telling first. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from hil_agent.board.schema import WakeSource
from hil_agent.debug.diagnose.evidence import Evidence, Finding, Vcpu
from hil_agent.session.state import State

Check = Callable[[Evidence], Iterator[str]]
"""Says what is wrong, in a line each; nothing if all is well."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One conclusion that can be drawn: its name, when, and where to look then."""

    name: str
    check: Check
    look: str


def conclude(evidence: Evidence) -> tuple[Finding, ...]:
    """All that the rules find, the likely cause first."""
    return tuple(Finding(rule.name, what, rule.look) for rule in RULES for what in rule.check(evidence))


def _machine_lost(evidence: Evidence) -> Iterator[str]:
    status = evidence.status
    if status.state is State.CRASHED and status.target_pid is None:
        yield f"the machine is gone: {_first_line(status.reason or 'nobody knows why')}"


def _panic(evidence: Evidence) -> Iterator[str]:
    lines = (*evidence.said, *(evidence.status.reason or "").splitlines())
    if line := next((line for line in lines if _PANIC in line), None):
        yield f"the kernel has panicked: {line[line.index(_PANIC) :].strip()}"


def _given_up(evidence: Evidence) -> Iterator[str]:
    status = evidence.status
    reason = status.reason or "nobody knows why"
    if status.state is State.CRASHED and status.target_pid is not None and _PANIC not in reason:
        yield f"the session has given the guest up: {_first_line(reason)}"


def _elsewhere(evidence: Evidence) -> Iterator[str]:
    resumed, call = evidence.last_event("resumed"), evidence.last_call("SYSTEM_SUSPEND")
    if resumed is None or call is None or evidence.status.state is State.SUSPENDED:
        return
    entry = resumed.get("entry_point")
    if entry is not None and call.result is None and call.args and entry != call.args[0]:
        why = f"the fault {call.fault} did that" if call.fault else "the resume context was changed"
        yield f"the guest was resumed at {entry}, though it had asked for {call.args[0]}: {why}"


def _exceptions(evidence: Evidence) -> Iterator[str]:
    for vcpu in _on(evidence):
        if vcpu.excepts_for_ever:
            reason = _CLASSES.get(vcpu.registers.get("ESR_EL1", 0) >> 26 & 0x3F, "an exception")
            mmu = ", as the MMU is off" if vcpu.mmu_is_off else ""
            yield (
                f"vCPU {vcpu.cpu} takes one exception after another ({reason}): its vectors, at "
                f"{vcpu.registers['VBAR_EL1']:#x}, cannot be executed{mmu}"
            )


def _mmu_off(evidence: Evidence) -> Iterator[str]:
    for vcpu in _on(evidence):
        if evidence.status.resumes and vcpu.level == 1 and vcpu.mmu_is_off and not vcpu.excepts_for_ever:
            yield f"vCPU {vcpu.cpu} is at {vcpu.where} with its MMU still off: not far behind its entry"


def _oops(evidence: Evidence) -> Iterator[str]:
    for pattern, meaning in _OOPSES.items():
        if found := next((match for line in evidence.said if (match := re.search(pattern, line))), None):
            yield f"{meaning}: {found[0].strip()}"


def _pending(evidence: Evidence) -> Iterator[str]:
    for cpu in evidence.status.cpus:
        if cpu.power == "on_pending":
            yield f"vCPU {cpu.cpu} was switched on by CPU_ON, and has never arrived at its entry point"


def _refused(evidence: Evidence) -> Iterator[str]:
    call = evidence.last_call("SYSTEM_SUSPEND")
    if call is None or call.result in {None, "SUCCESS"}:
        return
    why = f"by the fault {call.fault}" if call.fault else _REFUSALS.get(str(call.result), "see docs/psci.md")
    yield f"the guest's last SYSTEM_SUSPEND was answered {call.result}: {why}"


def _suspended(evidence: Evidence) -> Iterator[str]:
    status = evidence.status
    if status.state is not State.SUSPENDED:
        return
    if status.context is None:
        yield "the guest is held by the host: only hil-agent resume lets it go on"
        return
    held = f"the guest is suspended, for {status.context.since_s:.0f} s now"
    sources = set(evidence.plan.board.wake) if evidence.plan else set(WakeSource)
    if sources.isdisjoint({WakeSource.IRQ, WakeSource.TIMER}):
        names = ", ".join(sorted(sources))
        yield f"{held}, and only hil-agent resume wakes it: the board's wake sources are: {names}"
    elif not evidence.interrupts:
        yield held
    elif names := ", ".join(_wakers(evidence, status.context.cpu)):
        yield f"{held}; what may wake it, if it raises its interrupt: {names}"
    else:
        yield f"{held}, and no wake source is armed: no device's interrupt is enabled, and no timer counts"


def _wakers(evidence: Evidence, cpu: int) -> Iterator[str]:
    """Whose interrupts can end a vCPU's wait: devices', and its own timers' that count; nobody else is on."""
    counting = {
        timer.intid
        for vcpu in evidence.vcpus
        if vcpu.cpu == cpu
        for timer in vcpu.timers
        if timer.enabled and not timer.masked
    }
    for each in evidence.interrupts:
        if each.enabled and (each.cpu is None or (each.cpu == cpu and each.intid in counting)):
            yield each.name or f"INTID {each.intid}"


def _held(evidence: Evidence) -> Iterator[str]:
    if evidence.status.state is State.STOPPED:
        yield "a debugger holds the machine: it stands until that lets it go on"


def _faulty(evidence: Evidence) -> Iterator[str]:
    for call in evidence.calls[-_RECENT:]:
        if call.fault:
            yield f"call {call.seq}, {call.function}, was answered {call.result} by the fault {call.fault}"


def _spinning(evidence: Evidence) -> Iterator[str]:
    for vcpu in _on(evidence):
        meaning = next((_SPINS[name] for name in vcpu.functions[:_INNERMOST] if name in _SPINS), None)
        if meaning is not None:
            yield f"vCPU {vcpu.cpu} {meaning}: it is in {vcpu.where}"
        elif vcpu.spins:
            yield f"vCPU {vcpu.cpu} spins at {vcpu.where}: the instruction there branches to itself"


def _masked(evidence: Evidence) -> Iterator[str]:
    for vcpu in _on(evidence):
        waiting = [
            each for each in evidence.interrupts if each.enabled and each.pending and each.cpu == vcpu.cpu
        ]
        at_rest = (
            vcpu.waits or vcpu.in_vectors
        )  # WFI ends also of a masked interrupt; vectors begin with all masked
        if vcpu.level == 1 and vcpu.masks_interrupts and waiting and not at_rest:
            names = ", ".join(each.name or f"INTID {each.intid}" for each in waiting)
            yield f"vCPU {vcpu.cpu} has interrupts masked, at {vcpu.where}, while these are pending: {names}"


def _off(evidence: Evidence) -> Iterator[str]:
    if evidence.status.state is State.OFF:
        yield "the guest has switched itself off"


def _idle(evidence: Evidence) -> Iterator[str]:
    vcpus = _on(evidence)
    if vcpus and all(vcpu.waits or not _IDLE.isdisjoint(vcpu.functions[:_INNERMOST]) for vcpu in vcpus):
        yield "every vCPU that is on is idle: the guest waits for something, and its kernel is well"


def _on(evidence: Evidence) -> list[Vcpu]:
    """The vCPUs that run the guest's code."""
    return [vcpu for vcpu in evidence.vcpus if vcpu.power == "on"]


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else text


RULES: Final = (
    Rule("machine-lost", _machine_lost, "qemu.log and session.log tell how it ended"),
    Rule("panic", _panic, "kernel.log, and the backtrace of the vCPU that is in panic()"),
    Rule("given-up", _given_up, "session.log, and vcpus.txt"),
    Rule("resumed-elsewhere", _elsewhere, "journal.jsonl; hil-agent context shows and sets the context"),
    Rule(
        "exception-loop",
        _exceptions,
        "ELR_EL1, ESR_EL1 and FAR_EL1 in vcpus.txt tell of the latest exception only",
    ),
    Rule("oops", _oops, "kernel.log"),
    Rule(
        "never-arrived", _pending, "the entry point in calls.txt: is it code, in RAM, as a physical address?"
    ),
    Rule("suspend-refused", _refused, "calls.txt; hil-agent status tells which vCPUs are on"),
    Rule("suspended", _suspended, "hil-agent resume; interrupts.txt tells what could wake it"),
    Rule("held", _held, "what the debugger shows: a breakpoint, a call that is caught"),
    Rule("mmu-off", _mmu_off, "vcpus.txt; the kernel's cpu_resume runs at physical addresses"),
    Rule("fault", _faulty, "the faults that the session was booted with, in plan.json"),
    Rule("spinning", _spinning, "vcpus.txt: who holds what it waits for?"),
    Rule("off", _off, "kernel.log; hil-agent reset boots it again"),
    Rule("idle", _idle, "what runs in the guest: hil-agent console; interrupts.txt tells what is to come"),
    Rule(
        "interrupts-masked",
        _masked,
        "vcpus.txt, of two diagnoses: a kernel masks interrupts for short",
    ),
)

_PANIC: Final = "Kernel panic - not syncing: "
_RECENT: Final = 10
_INNERMOST: Final = 3

_CLASSES: Final = {
    0x00: "undefined instruction",
    0x0E: "illegal execution state",
    0x20: "instruction abort from EL0",
    0x21: "instruction abort",
    0x22: "misaligned PC",
    0x24: "data abort from EL0",
    0x25: "data abort",
    0x26: "misaligned SP",
    0x2F: "SError",
    0x3C: "BRK instruction",
}
"""ESR_EL1.EC (Arm ARM D19.2)."""

_OOPSES: Final = {
    r"Unable to handle kernel .*": "the kernel has accessed what is not there",
    r"Internal error: .*": "the kernel has died of an exception",
    r"kernel BUG at .*": "the kernel has found a bug in itself",
    r"watchdog: BUG: soft lockup.*": "a vCPU has scheduled nothing for long",
    r"rcu: INFO: rcu_\w+ (?:self-)?detected stalls?.*": "a vCPU has not come to rest for long",
    r"CPU\d+: failed to (?:come online|boot).*": "a vCPU that was switched on has not come",
    r"INFO: task .* blocked for more than .*": "a task waits for something that does not come",
}
"""What Linux says, in mm/fault.c, traps.c, watchdog.c, tree_stall.h, hung_task.c and smp.c."""

_REFUSALS: Final = {
    "DENIED": "other vCPUs were on, or the suspend was abandoned",
    "INVALID_ADDRESS": "its entry point is not in the guest's RAM",
    "NOT_SUPPORTED": "the vPSCI has no such function",
    "INVALID_PARAMETERS": "its arguments are not allowed",
}
"""PSCI 1.3, 5.20: why SYSTEM_SUSPEND returns."""

_SPINS: Final = {
    "panic": "stays in panic()",
    "nmi_panic": "stays in panic()",
    "queued_spin_lock_slowpath": "waits for a spin lock that nobody releases",
    "smp_call_function_many_cond": "waits for other vCPUs to answer",
    "smp_call_function_single": "waits for another vCPU to answer",
    "multi_cpu_stop": "waits for the other vCPUs to stop",
    "machine_halt": "was halted",
    "cpu_park_loop": "was parked, as the kernel cannot use it",
    "ipi_cpu_stop": "was stopped by another vCPU",
    "local_cpu_stop": "was stopped by another vCPU",
}
"""Where Linux waits without sleeping."""

_IDLE: Final = frozenset({"cpu_do_idle", "arch_cpu_idle", "default_idle_call", "psci_cpu_suspend_enter"})

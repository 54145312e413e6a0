"""What a diagnosis writes down in full: a text for each file. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from hil_agent.debug.diagnose.evidence import Evidence, Vcpu
from hil_agent.debug.diagnose.gic import Interrupt
from hil_agent.text import printable

Render = Callable[[Evidence], str]


def _vcpus(evidence: Evidence) -> str:
    return "\n\n".join("\n".join(_vcpu(vcpu)) for vcpu in evidence.vcpus)


def _vcpu(vcpu: Vcpu) -> Iterator[str]:
    yield f"vCPU {vcpu.cpu}: {vcpu.power or 'power not known'}" + (
        f", EL{vcpu.level}, {vcpu.where}" if vcpu.level is not None and vcpu.power != "off" else ""
    )
    yield from backtrace(vcpu)
    yield from timers(vcpu)
    width = max(map(len, vcpu.registers), default=0)
    for name, value in vcpu.registers.items():
        symbol = vcpu.symbols.get(value)
        yield f"    {name:{width}} {value:#018x}" + (f"  {symbol}" if symbol else "")


def backtrace(vcpu: Vcpu) -> Iterator[str]:
    """A vCPU's frames, a line each."""
    for frame in vcpu.backtrace:
        name = vcpu.name(frame.address) if frame.address in vcpu.symbols else frame.function or ""
        source = f"  {frame.file}:{frame.line}" if frame.file else ""
        yield f"  #{frame.level:<2} {frame.address:#018x}  {name}{source}".rstrip()


def timers(vcpu: Vcpu) -> Iterator[str]:
    """A vCPU's timers that count, a line each."""
    for timer in vcpu.timers:
        if timer.enabled:
            state = ("its time has come" if timer.fired else "its time has not come") + (
                ", its interrupt is masked" if timer.masked else ""
            )
            yield f"    {timer.name} timer: fires at count {timer.compare:#x}, {state}"


def interrupts(found: Iterable[Interrupt]) -> Iterator[str]:
    """Interrupts, a line each."""
    for each in found:
        states = {"enabled": each.enabled, "pending": each.pending, "active": each.active}
        whose = "" if each.cpu is None else f"vCPU {each.cpu}"
        shown = ", ".join(state for state, holds in states.items() if holds)
        yield f"{each.intid:4}  {whose:7} {shown:24} {each.name}".rstrip()


FILES: Final[Mapping[str, tuple[str, Render]]] = {
    "vcpus.txt": ("every vCPU: backtrace, timers, registers", _vcpus),
    "interrupts.txt": (
        "the GIC's interrupts that are enabled, pending or active",
        lambda evidence: "\n".join(interrupts(evidence.interrupts)),
    ),
    "calls.txt": (
        "the last calls, and how they were answered",
        lambda evidence: "\n".join(map(str, evidence.calls)),
    ),
    "kernel.log": (
        "the kernel's log, out of the guest's memory",
        lambda evidence: printable("\n".join(evidence.kernel_log)),
    ),
}
"""By name: what is in it, and its text; none is written if that is empty."""

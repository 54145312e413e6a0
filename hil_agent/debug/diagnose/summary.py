"""The summary of a diagnosis, in Markdown that also reads well as it is. Pure.

What the guest has said is indented, a block that nothing in it can end, and without control characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final

from hil_agent.debug.diagnose import files
from hil_agent.debug.diagnose.evidence import Evidence, Finding
from hil_agent.debug.diagnose.gic import SGIS, Interrupt
from hil_agent.text import printable

_CALLS: Final = 12
_LOG_LINES: Final = 25
_FRAMES: Final = 32


def render(evidence: Evidence, findings: Sequence[Finding], written: Mapping[str, str]) -> str:
    """The summary.

    Args:
        evidence: what was found.
        findings: what was concluded, the likely cause first.
        written: the other files, and what is in each.
    """
    status = evidence.status
    source = "from its memory" if evidence.kernel_log else "from its console"
    sections = {
        "Likely cause": _cause(findings),
        "Also": (f"- {finding.what}" for finding in findings[1:]),
        "State": _state(evidence),
        "vCPUs": _block(_vcpus(evidence)),
        "Interrupts, enabled, pending or active": _block(
            files.interrupts(filter(_tells, evidence.interrupts))
        ),
        "The last calls": _block(map(str, evidence.calls[-_CALLS:])),
        f"What the kernel said last, {source}": _block(evidence.said[-_LOG_LINES:]),
        "What could not be had": (f"- {gap}" for gap in evidence.missing),
        "Files": (f"- `{name}`: {what}" for name, what in written.items()),
    }
    texts = ((title, list(lines)) for title, lines in sections.items())
    parts = (f"## {title}\n\n" + "\n".join(lines) for title, lines in texts if lines)
    return printable("\n\n".join(chain([f"# {status.name}: what was found"], parts))) + "\n"


def _cause(findings: Sequence[Finding]) -> Iterator[str]:
    if findings:
        yield f"**{findings[0].what}**"
        yield ""
        yield f"Look at: {findings[0].look}."
    else:
        yield "Nothing that the rules know of. See what the vCPUs do, below."


def _state(evidence: Evidence) -> Iterator[str]:
    status = evidence.status
    yield f"- {status.state}" + (f": {status.reason.strip().splitlines()[0]}" if status.reason else "")
    yield f"- {status.guest} on {status.board}, profile {status.profile}, trap source {status.trap}"
    counts = f"{status.suspends} suspends, {status.resumes} resumes, {status.calls} calls"
    yield f"- up {status.uptime_s:.1f} s, {counts}"
    if context := status.context:
        yield (
            f"- resume context: entry point {context.entry_point}, context ID {context.context_id}, "
            f"vCPU {context.cpu}, held for {context.since_s:.1f} s"
        )
    if event := evidence.last_event("resumed"):
        where = event.get("entry_point") or "where it was"
        yield f"- last resumed at {event['time_s']:.1f} s, by {event.get('cause')}, at {where}"


def _vcpus(evidence: Evidence) -> Iterator[str]:
    seen = {vcpu.cpu: vcpu for vcpu in evidence.vcpus}
    for cpu in evidence.status.cpus:
        vcpu = seen.get(cpu.cpu)
        if vcpu is None or cpu.power == "off":
            yield f"vCPU {cpu.cpu}: {cpu.power}"
            continue
        masks = ", interrupts masked" if vcpu.masks_interrupts else ""
        mmu = ", MMU off" if vcpu.mmu_is_off else ""
        yield f"vCPU {cpu.cpu}: {cpu.power}, EL{vcpu.level}{mmu}{masks}, {vcpu.where}"
        yield from list(files.backtrace(vcpu))[:_FRAMES]
        yield from files.timers(vcpu)


def _tells(interrupt: Interrupt) -> bool:
    """Whether an interrupt is worth a line: that other vCPUs may interrupt this one is not."""
    return interrupt.intid >= SGIS or interrupt.pending or interrupt.active


def _block(lines: Iterable[str]) -> Iterator[str]:
    return (f"    {line.rstrip()}" for line in lines)

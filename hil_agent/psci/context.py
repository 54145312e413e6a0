"""What SYSTEM_SUSPEND leaves behind for the resume."""

from __future__ import annotations

from dataclasses import dataclass

from hil_agent.psci.functions import Width


@dataclass(frozen=True, slots=True)
class ResumeContext:
    """Where and how a suspended guest goes on.

    Attributes:
        entry_point: physical address to resume at, 64 bits (of an SMC32 call, zero-extended).
        context_id: value of x0 there, likewise.
        cpu: index of the vCPU that suspended, the one that resumes.
        width: whether it was the SMC32 or the SMC64 call.
    """

    entry_point: int
    context_id: int
    cpu: int
    width: Width

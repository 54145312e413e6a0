"""The JSON documents that the command line prints and the Python API returns: a contract.

Fields may be added, never renamed or removed; a reader must not mind more than it knows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from hil_agent.session.state import State


class _Document(BaseModel):
    """What they have in common."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Cpu(_Document):
    """One vCPU: its index, MPIDR affinity and power."""

    cpu: int
    mpidr: str
    power: Literal["on", "on_pending", "off", "suspended"]


class Context(_Document):
    """The resume context that SYSTEM_SUSPEND left behind; ``since_s``: seconds it has been held."""

    entry_point: str
    context_id: str
    cpu: int
    width: int
    since_s: float


class Status(_Document):
    """What ``hil-agent status --json`` prints."""

    name: str
    board: str
    guest: str
    state: State
    reason: str | None = None
    profile: str
    trap: str
    cpus: tuple[Cpu, ...] = ()
    context: Context | None = None
    suspends: int = 0
    resumes: int = 0
    calls: int = 0
    untraced: int = 0
    """Those of the calls that the EL2 monitor answered: in no trace, but in the counters."""
    counters: dict[str, tuple[int, ...]] = {}
    """Calls by function, one count for each vCPU; those without a name are ``unknown``."""
    uptime_s: float = 0.0
    gdb: str | None = None
    """Where debuggers attach: a unix socket."""
    gdb_address: str | None = None
    """The same as HOST:PORT, where that was asked for."""
    debuggers: int = 0
    """How many are attached."""
    console_log: Path
    pid: int | None = None
    target_pid: int | None = None


class TraceRecord(_Document):
    """One trapped call, as ``hil-agent trace --json`` prints it."""

    seq: int
    time_s: float
    cpu: int
    conduit: Literal["hvc", "smc"]
    function: str
    function_id: str
    args: tuple[str, ...]
    result: str | None
    value: str | None
    handling_us: float
    fault: str | None

    def __str__(self) -> str:
        """A line for people: arguments that are zero at the end are left out."""
        arguments = list(self.args)
        while arguments and arguments[-1] == "0x0":
            arguments.pop()
        answer = "(no return)" if self.result is None else self.result
        if self.result == "SUCCESS" and self.value not in {None, "0x0"}:
            answer = str(self.value)
        return (
            f"{self.seq:5} {self.time_s:12.6f} cpu{self.cpu} {self.conduit}"
            f" {self.function}({', '.join(arguments)}) = {answer}  [{self.handling_us:.0f} us]"
            + (f"  fault {self.fault}" if self.fault else "")
        )


class SuspendRegisters(_Document):
    """Registers over a suspend: by vCPU and name, in hexadecimal.

    ``suspended`` holds them as they were when the guest suspended; ``changed`` the values before and after
    of those that were others at the entry point.
    """

    suspended: dict[int, dict[str, str]]
    changed: dict[int, dict[str, tuple[str, str]]]

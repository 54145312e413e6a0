"""What all debuggers of a session share: one machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from hil_agent.engine.run_control import RunControl
from hil_agent.psci.state import PowerState
from hil_agent.rsp import Client
from hil_agent.stub.monitor import MonitorCommands
from hil_agent.stub.view import View

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Target:
    """Belongs to the thread that owns the target.

    Attributes:
        client: the target's own stub.
        run_control: when the machine goes on.
        view: its registers and memory.
        monitor: the monitor commands.
        pause: does something with the machine stopped for a moment.
        annexes: the target description that debuggers get, by the names of its documents.
    """

    client: Client
    run_control: RunControl
    view: View
    monitor: MonitorCommands
    pause: Callable[[Callable[[], object]], object]
    annexes: Mapping[str, bytes]

    @property
    def cpus(self) -> int:
        """How many vCPUs there are."""
        return len(self.run_control.executor.vpsci.powers)

    def standing(self, action: Callable[[], Result]) -> Result:
        """Does something while the machine stands still."""
        if self.run_control.holding or not self.client.running:
            return action()
        results: list[Result] = []
        self.pause(lambda: results.append(action()))
        return results[0]

    def about(self, cpu: int) -> str:
        """What a debugger says of a vCPU: its power, and where it will go on if it is suspended."""
        vpsci = self.run_control.executor.vpsci
        power = vpsci.power(cpu)
        if power is PowerState.SUSPENDED and vpsci.context is not None and vpsci.context.cpu == cpu:
            return f"suspended, entry point {vpsci.context.entry_point:#x}"
        return power.value

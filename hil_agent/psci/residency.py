"""How often, and for how long, each low-power state was used: what PSCI_STAT_* tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hil_agent.psci.affinity import LEVELS, instance


@dataclass(frozen=True, slots=True)
class Stays:
    """How often a state was left again, and the time spent in it by then in microseconds."""

    count: int = 0
    time_us: int = 0


class _Node(NamedTuple):
    level: int
    mpidr: int


class Residency:
    """The books of CPU_SUSPEND.

    A state of level 0 is one vCPU's. One of a higher level is the node's: it lasts from when the last
    vCPU of the node that runs asks for it, all others being off or in such a state, until one is back.

    Args:
        mpidrs: affinity fields of each vCPU's MPIDR_EL1, by index.
        now_us: the time in microseconds, from whatever start.
    """

    def __init__(self, mpidrs: Sequence[int], now_us: Callable[[], int]) -> None:
        self._mpidrs = mpidrs
        self._now_us = now_us
        self._asleep: dict[int, int] = {}
        self._seen_asleep: dict[int, bool] = {}
        self._entered: dict[_Node, tuple[int, int]] = {}
        self._stays: dict[tuple[_Node, int], Stays] = {}

    def reset(self) -> None:
        """Start again, as at a cold boot."""
        self._asleep.clear()
        self._seen_asleep.clear()
        self._entered.clear()
        self._stays.clear()

    def is_asleep(self, cpu: int) -> bool:
        """Whether vCPU ``cpu`` is in a state that `sleep` or `see_asleep` was told of."""
        return cpu in self._asleep or cpu in self._seen_asleep

    def is_down(self, cpu: int) -> bool:
        """Whether `see_asleep` was told of a power-down state."""
        return self._seen_asleep.get(cpu, False)

    def see_asleep(self, asleep: Mapping[int, bool]) -> None:
        """Note which vCPUs are now in a state of their own that only `add` will be told of.

        Args:
            asleep: by vCPU, whether it is a power-down state.
        """
        self._seen_asleep = dict(asleep)

    def add(self, cpu: int, power_state: int, stays: Stays) -> None:
        """Note stays of vCPU ``cpu`` in ``power_state``, of level 0, that were not told one by one."""
        self._add(self._node(cpu, 0), power_state, stays)

    def sleep(self, cpu: int, power_state: int, level: int, off: Sequence[bool]) -> None:
        """Note that vCPU ``cpu`` enters ``power_state``, of ``level``; ``off`` says which vCPUs are off."""
        self._asleep[cpu] = level
        node = self._node(cpu, level)
        if all(
            off[other] or self._asleep.get(other, -1) >= level
            for other in range(len(self._mpidrs))
            if self._node(other, level) == node
        ):
            self._entered[node] = power_state, self._now_us()

    def wake(self, cpu: int) -> None:
        """Note that vCPU ``cpu`` runs again, and with it every node that it is in."""
        self._asleep.pop(cpu, None)
        for level in LEVELS:
            node = self._node(cpu, level)
            if node in self._entered:
                power_state, since = self._entered.pop(node)
                self._add(node, power_state, Stays(1, self._now_us() - since))

    def stays(self, cpu: int, power_state: int, level: int) -> Stays:
        """The stays in ``power_state``, of ``level``, of vCPU ``cpu`` or the node that it is in."""
        return self._stays.get((self._node(cpu, level), power_state), Stays())

    def _add(self, node: _Node, power_state: int, stays: Stays) -> None:
        before = self._stays.get((node, power_state), Stays())
        after = Stays(before.count + stays.count, before.time_us + stays.time_us)
        self._stays[node, power_state] = after

    def _node(self, cpu: int, level: int) -> _Node:
        return _Node(level, instance(self._mpidrs[cpu], level))

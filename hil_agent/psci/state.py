"""Power of every vCPU, the resume context and the firmware's settings: the state that calls change."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum, IntEnum, StrEnum
from secrets import token_bytes

from hil_agent.errors import InternalError, StateError
from hil_agent.psci.affinity import LEVELS, instance
from hil_agent.psci.context import ResumeContext
from hil_agent.psci.residency import Residency


class PowerState(Enum):
    """Power of one vCPU."""

    ON = "on"
    ON_PENDING = "on_pending"
    OFF = "off"
    SUSPENDED = "suspended"
    """By CPU_SUSPEND in a power-down state, or by SYSTEM_SUSPEND."""


class SuspendMode(IntEnum):
    """Who decides how deep a group of vCPUs sleeps (PSCI_SET_SUSPEND_MODE)."""

    PLATFORM_COORDINATED = 0
    OS_INITIATED = 1


class ContextOrder(StrEnum):
    """What SYSTEM_SUSPEND does first; when Xen's was reviewed both were proposed."""

    STATE_FIRST = "state-first"
    """The system is marked as suspended, then the context is kept (Xen)."""
    CONTEXT_FIRST = "context-first"
    """The context is kept, then the system is marked; if that fails the context is taken back."""


def monotonic_us() -> int:
    """The host's time since some start, in microseconds."""
    return time.monotonic_ns() // 1000


class SystemState:
    """The vCPUs of one guest, of which vCPU 0 is on after boot, and what a suspend left behind.

    ::

        off -> on_pending -> on -> off
                 |           ^
                 v           v
                off       suspended

    Every change but a reset goes through a method that refuses, with InternalError, what the diagram
    does not show. It belongs to one thread.

    Args:
        mpidrs: affinity fields of each vCPU's MPIDR_EL1, by index; bit 31 and the like are not included.
        memory: the guest's RAM, as ranges of physical addresses.
        context_order: what a suspend does first.
        now_us: the time in microseconds, from whatever start.
        random_bytes: as many random bytes as it is asked for.

    Attributes:
        residency: the low-power states that were used.
        suspend_mode: who coordinates them.
        memory_protected: whether RAM is to be overwritten at the next cold reset (MEM_PROTECT).
        trusted_os_cpu: where a Trusted OS of a profile that has one runs.
        preparations_to_fail: how many of the next times that a vCPU's context is prepared shall fail, as
            when Xen has no memory for it.
    """

    def __init__(
        self,
        mpidrs: Sequence[int],
        memory: Sequence[range],
        *,
        context_order: ContextOrder = ContextOrder.STATE_FIRST,
        now_us: Callable[[], int] = monotonic_us,
        random_bytes: Callable[[int], bytes] = token_bytes,
    ) -> None:
        self.mpidrs = tuple(mpidrs)
        self.memory = tuple(memory)
        self._indexes: dict[int, dict[int, int]] = {}
        self._instances = [_instances(self.mpidrs, level) for level in LEVELS]
        self.context_order = context_order
        self.random_bytes = random_bytes
        self.residency = Residency(self.mpidrs, now_us)
        self.preparations_to_fail = 0
        self.reset()

    def reset(self) -> None:
        """Go back to how it was after boot: vCPU 0 on, all others off, no context."""
        self._power = [PowerState.ON] + [PowerState.OFF] * (len(self.mpidrs) - 1)
        self._suspended = False
        self._suspending = False
        self._caller: int | None = None
        self._context: ResumeContext | None = None
        self.suspend_mode = SuspendMode.PLATFORM_COORDINATED
        self.memory_protected = False
        self.trusted_os_cpu = 0
        self.residency.reset()

    @property
    def suspended(self) -> bool:
        """Whether the system is suspended, by a call or by the host."""
        return self._suspended

    @property
    def context(self) -> ResumeContext | None:
        """The resume context; None where a resume has none to use."""
        return self._context

    @property
    def suspended_cpu(self) -> int | None:
        """Index of the vCPU that suspended the system; None unless one did so by a call."""
        return self._caller

    @property
    def powers(self) -> tuple[PowerState, ...]:
        """Power of every vCPU, by index."""
        return tuple(self._power)

    def power(self, cpu: int) -> PowerState:
        """Power of vCPU ``cpu``.

        Raises:
            InternalError: there is no such vCPU.
        """
        if not 0 <= cpu < len(self._power):
            raise InternalError(f"there is no vCPU {cpu}: the guest has {len(self._power)}")
        return self._power[cpu]

    def power_on(self, cpu: int) -> None:
        """Note that CPU_ON was accepted for vCPU ``cpu``, which has yet to start."""
        self._change(cpu, PowerState.OFF, PowerState.ON_PENDING)
        self.residency.wake(cpu)

    def entered(self, cpu: int) -> None:
        """Note that vCPU ``cpu`` has started at its entry point."""
        self._change(cpu, PowerState.ON_PENDING, PowerState.ON)

    def power_on_failed(self, cpu: int) -> None:
        """Note that vCPU ``cpu`` could not be started after all."""
        self._change(cpu, PowerState.ON_PENDING, PowerState.OFF)

    def power_off(self, cpu: int) -> None:
        """Note that vCPU ``cpu`` goes down."""
        self._change(cpu, PowerState.ON, PowerState.OFF)

    def power_down(self, cpu: int) -> None:
        """Note that vCPU ``cpu`` goes down until an interrupt wakes it."""
        self._change(cpu, PowerState.ON, PowerState.SUSPENDED)

    def sleep(self, cpu: int, power_state: int, level: int) -> None:
        """Note that vCPU ``cpu`` begins to spend its time in ``power_state``, of ``level``."""
        self.residency.sleep(cpu, power_state, level, [power is PowerState.OFF for power in self._power])

    def woke(self, cpu: int) -> None:
        """Note that vCPU ``cpu`` is back from a standby state, or at the entry point of a power-down one."""
        if cpu == self._caller:
            raise InternalError(f"vCPU {cpu} has suspended the system: it resumes, and does not just wake")
        if self.power(cpu) is PowerState.SUSPENDED:
            self._change(cpu, PowerState.SUSPENDED, PowerState.ON)
        self.residency.wake(cpu)

    def switch_off(self) -> None:
        """Note that the system is switched off."""
        self._power = [PowerState.OFF] * len(self.mpidrs)

    def suspend(self, context: ResumeContext) -> None:
        """Note that the system suspends, by a call of vCPU ``context.cpu``, the only one that is not off.

        Until this is over `require_suspended` refuses, as Xen's resume waits for the vCPU to have left the
        call. So whoever resumes has both the state and the context or neither, in either order.
        """
        if not self.others_off(context.cpu):
            raise InternalError(f"vCPU {context.cpu} would suspend a system with other vCPUs not off")
        self._suspending = True
        try:
            if self.context_order is ContextOrder.CONTEXT_FIRST:
                self._context = context
            self._change(context.cpu, PowerState.ON, PowerState.SUSPENDED)
            self._suspended, self._caller = True, context.cpu
            self._context = context
        finally:
            if not self._suspended:  # the change was refused
                self._context = None
            self._suspending = False

    def suspend_by_host(self) -> None:
        """Note that the host holds the guest where it is, as Xen's SCHEDOP_shutdown does: no context.

        Raises:
            StateError: the system is suspended already.
        """
        if self._suspended:
            raise StateError("the guest is suspended already", hint="resume it first")
        self._suspended = True

    def edit_context(self, *, entry_point: int | None = None, context_id: int | None = None) -> None:
        """Change what the next resume will use; what is None stays.

        Args:
            entry_point: physical address, 64 bits; it is not checked.
            context_id: 64 bits.

        Raises:
            StateError: there is no context.
        """
        context = self.require_context()
        self._context = replace(
            context,
            entry_point=context.entry_point if entry_point is None else entry_point,
            context_id=context.context_id if context_id is None else context_id,
        )

    def clear_context(self) -> None:
        """Take the context away: a resume then goes on after the call, with nothing changed.

        Raises:
            StateError: there is no context.
        """
        self.require_context()
        self._context = None

    def resumed(self) -> None:
        """Note that the system goes on; with that the context has been used."""
        if not self._suspended:
            raise InternalError("the guest is not suspended, so cannot have resumed")
        if self._caller is not None:
            self._change(self._caller, PowerState.SUSPENDED, PowerState.ON)
        self._suspended, self._caller, self._context = False, None, None

    def require_suspended(self) -> None:
        """Raise StateError unless the system is suspended, and done with it."""
        if self._suspending:
            raise StateError("the guest is just suspending", hint="try again")
        if not self._suspended:
            raise StateError("the guest is not suspended", hint="have it suspend first, or wait until it has")

    def require_context(self) -> ResumeContext:
        """The resume context; raises StateError if there is none."""
        self.require_suspended()
        if self._context is None:
            raise StateError("the guest is suspended without a context", hint="a resume goes on where it was")
        return self._context

    def prepare_context(self) -> bool:
        """Whether the context of a vCPU that is to start can be prepared, which takes memory in Xen."""
        if self.preparations_to_fail:
            self.preparations_to_fail -= 1
            return False
        return True

    def find(self, mpidr: int, mask: int) -> int | None:
        """Index of the vCPU whose affinity is ``mpidr`` in the bits of ``mask``; None if there is none."""
        indexes = self._indexes.get(mask)
        if indexes is None:
            last_first = reversed(list(enumerate(self.mpidrs)))
            indexes = self._indexes[mask] = {own & mask: cpu for cpu, own in last_first}
        return indexes.get(mpidr & mask)

    def affinity_instance(self, mpidr: int, level: int) -> tuple[int, ...]:
        """Indexes of the vCPUs in the affinity instance of ``level``, 0 to 3, that ``mpidr`` is in."""
        return self._instances[level].get(instance(mpidr, level), ())

    def others_off(self, cpu: int) -> bool:
        """Whether every vCPU but ``cpu`` is off."""
        return all(power is PowerState.OFF for other, power in enumerate(self._power) if other != cpu)

    def _change(self, cpu: int, before: PowerState, after: PowerState) -> None:
        if self.power(cpu) is not before:
            raise InternalError(f"vCPU {cpu} is {self._power[cpu].value} and cannot become {after.value}")
        self._power[cpu] = after


def _instances(mpidrs: Sequence[int], level: int) -> dict[int, tuple[int, ...]]:
    """Indexes of the vCPUs in each affinity instance of a level, worked out once to answer calls quickly."""
    members: dict[int, tuple[int, ...]] = {}
    for cpu, mpidr in enumerate(mpidrs):
        within = instance(mpidr, level)
        members[within] = (*members.get(within, ()), cpu)
    return members

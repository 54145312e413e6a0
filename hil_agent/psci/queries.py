"""What is answered to a request that only asks: the PSCI functions that change nothing."""

from __future__ import annotations

from enum import IntEnum

from hil_agent.psci.checks import HIBERNATE_OFF, affinity_instance
from hil_agent.psci.effects import Outcome
from hil_agent.psci.functions import MASK32, MASK64, Function, ReturnCode, Width, decode
from hil_agent.psci.profile import Action, Request
from hil_agent.psci.residency import Stays
from hil_agent.psci.state import PowerState


class AffinityState(IntEnum):
    """What AFFINITY_INFO answers."""

    ON = 0
    OFF = 1
    ON_PENDING = 2


class HardwareState(IntEnum):
    """What NODE_HW_STATE answers."""

    ON = 0
    OFF = 1
    STANDBY = 2


class MemregionAttribute(IntEnum):
    """What CLEAN_INV_MEMREGION_ATTRIBUTES can be asked for (the draft's, as Linux was to have them)."""

    OPERATION_TYPE = 0
    CPU_RENDEZVOUS = 1
    LATENCY = 2
    RATE_LIMIT = 3
    TIMEOUT = 4


MIGRATION_NOT_REQUIRED = 2
"""MIGRATE_INFO_TYPE: no Trusted OS, or one that need not be migrated."""


def answers(*values: int) -> Action:
    """An action that always answers ``values``, in x0, x1, ..."""
    return lambda request: request.profile.answer(*values)


def psci_version(request: Request) -> Outcome:
    """PSCI_VERSION."""
    return request.profile.answer(request.profile.psci_version.encoded)


def psci_features(request: Request) -> Outcome:
    """PSCI_FEATURES: of a PSCI function, and of SMCCC_VERSION, whether a call would be answered.

    Two functions have flags in place of 0: CPU_SUSPEND (bit 0 OS-initiated mode, bit 1 the format of
    power states) and SYSTEM_OFF2 (the types that there are, one bit each).
    """
    profile = request.profile
    asked = decode(request.args[0])
    if asked is None or not (
        (asked.function.is_psci or asked.function is Function.SMCCC_VERSION)
        and profile.offers(asked.function)
    ):
        return profile.answer(ReturnCode.NOT_SUPPORTED)
    match asked.function:
        case Function.CPU_SUSPEND:
            os_initiated = profile.offers(Function.PSCI_SET_SUSPEND_MODE)
            return profile.answer(profile.power_state_format.feature | os_initiated)
        case Function.SYSTEM_OFF2:
            return profile.answer(HIBERNATE_OFF)
        case _:
            return profile.answer(ReturnCode.SUCCESS)


def affinity_info(request: Request) -> Outcome:
    """AFFINITY_INFO: ON if any vCPU of the instance is; OFF too if there is none in it."""
    powers = {request.system.power(cpu) for cpu in affinity_instance(request)}
    pending = PowerState.ON_PENDING in powers
    if powers & {PowerState.ON, PowerState.SUSPENDED} or (pending and not request.profile.reports_on_pending):
        return request.profile.answer(AffinityState.ON)
    return request.profile.answer(AffinityState.ON_PENDING if pending else AffinityState.OFF)


def node_hw_state(request: Request) -> Outcome:
    """NODE_HW_STATE: ON if any vCPU of the node runs, else STANDBY if any could at once, else OFF.

    Other than for AFFINITY_INFO a vCPU in a power-down state is off.
    """
    system = request.system
    state = HardwareState.OFF
    for cpu in affinity_instance(request):
        if system.power(cpu) is PowerState.ON and not system.residency.is_down(cpu):
            if not system.residency.is_asleep(cpu):
                return request.profile.answer(HardwareState.ON)
            state = HardwareState.STANDBY
    return request.profile.answer(state)


def stat_residency(request: Request) -> Outcome:
    """PSCI_STAT_RESIDENCY: microseconds, 32 or 64 bits of them."""
    return _statistic(request, _stays(request).time_us)


def stat_count(request: Request) -> Outcome:
    """PSCI_STAT_COUNT."""
    return _statistic(request, _stays(request).count)


def _stays(request: Request) -> Stays:
    """Of the vCPU and power state that are asked for; none where they are not valid (TF-A, psci_stat.c)."""
    state_format = request.profile.power_state_format
    power_state = request.args[1] & MASK32
    target = request.find_target()
    if target is None or power_state & state_format.reserved:
        return Stays()
    return request.system.residency.stays(target, power_state, state_format.level(power_state))


def _statistic(request: Request, value: int) -> Outcome:
    return request.profile.answer(value & (MASK32 if request.form.width is Width.SMC32 else MASK64))


def clean_inv_memregion(request: Request) -> Outcome:
    """CLEAN_INV_MEMREGION: what is cached of a region goes back to memory.

    An emulated machine has no caches that could differ from memory, so there is nothing to do.
    """
    return request.profile.answer(ReturnCode.SUCCESS)


def clean_inv_memregion_attributes(request: Request) -> Outcome:
    """CLEAN_INV_MEMREGION_ATTRIBUTES: by address, no rendezvous of the vCPUs, no latency and no limits."""
    known = request.args[0] in list(MemregionAttribute)
    return request.profile.answer(0 if known else ReturnCode.INVALID_PARAMETERS)

"""What is done for a request that no check refused, one action a function."""

from __future__ import annotations

from enum import IntEnum

from hil_agent.psci.checks import affinity_instance
from hil_agent.psci.context import ResumeContext
from hil_agent.psci.effects import Outcome, PowerOff, PowerOn, Standby, Suspend, SystemOff, SystemReset
from hil_agent.psci.functions import Function, ReturnCode, decode
from hil_agent.psci.profile import Action, Implementation, Request
from hil_agent.psci.state import PowerState


class AffinityState(IntEnum):
    """What AFFINITY_INFO answers."""

    ON = 0
    OFF = 1
    ON_PENDING = 2


MIGRATION_NOT_REQUIRED = 2
"""MIGRATE_INFO_TYPE: no Trusted OS, or one that need not be migrated."""


def answers(value: int) -> Action:
    """An action that always answers ``value``."""
    return lambda request: request.profile.answer(value)


def psci_version(request: Request) -> Outcome:
    """PSCI_VERSION."""
    return request.profile.answer(request.profile.psci_version.encoded)


def psci_features(request: Request) -> Outcome:
    """PSCI_FEATURES: of a PSCI function, and of SMCCC_VERSION, whether a call would be answered."""
    asked = decode(request.args[0])
    found = (
        asked is not None
        and (asked.function.is_psci or asked.function is Function.SMCCC_VERSION)
        and asked.function in request.profile.functions
    )
    return request.profile.answer(ReturnCode.SUCCESS if found else ReturnCode.NOT_SUPPORTED)


def smccc_arch_features(request: Request) -> Outcome:
    """SMCCC_ARCH_FEATURES: whether an architecture call is there."""
    asked = decode(request.args[0])
    found = asked is not None and asked.function in request.profile.arch_features
    return request.profile.answer(ReturnCode.SUCCESS if found else ReturnCode.NOT_SUPPORTED)


def cpu_on(request: Request) -> Outcome:
    """CPU_ON: start the target."""
    target = request.target
    request.system.power_on(target)
    entry = request.profile.entry_state(request.entry_point, request.context_id)
    return request.profile.answer(ReturnCode.SUCCESS, PowerOn(target, entry))


def cpu_off(request: Request) -> Outcome:
    """CPU_OFF: the caller goes down."""
    request.system.power_off(request.cpu)
    return Outcome((PowerOff(),))


def cpu_standby(request: Request) -> Outcome:
    """CPU_SUSPEND as a standby state, which a power-down state may be turned into as well."""
    return request.profile.answer(ReturnCode.SUCCESS, Standby())


def affinity_info(request: Request) -> Outcome:
    """AFFINITY_INFO: ON if any vCPU of the instance is; OFF too if there is none in it."""
    powers = set(affinity_instance(request))
    pending = PowerState.ON_PENDING in powers
    if powers & {PowerState.ON, PowerState.SUSPENDED} or (pending and not request.profile.reports_on_pending):
        return request.profile.answer(AffinityState.ON)
    return request.profile.answer(AffinityState.ON_PENDING if pending else AffinityState.OFF)


def system_off(_: Request) -> Outcome:
    """SYSTEM_OFF."""
    return Outcome((SystemOff(),))


def system_reset(_: Request) -> Outcome:
    """SYSTEM_RESET."""
    return Outcome((SystemReset(),))


def system_suspend(request: Request) -> Outcome:
    """SYSTEM_SUSPEND: keep the context and hold the caller."""
    context = ResumeContext(request.entry_point, request.context_id, request.cpu, request.form.width)
    request.system.suspend(context)
    return Outcome((Suspend(context),))


COMMON = {
    Function.PSCI_VERSION: Implementation(psci_version),
    Function.CPU_SUSPEND: Implementation(cpu_standby),
    Function.CPU_OFF: Implementation(cpu_off),
    Function.MIGRATE_INFO_TYPE: Implementation(answers(MIGRATION_NOT_REQUIRED)),
    Function.SYSTEM_OFF: Implementation(system_off),
    Function.SYSTEM_RESET: Implementation(system_reset),
    Function.PSCI_FEATURES: Implementation(psci_features),
}
"""Functions that every profile answers, and most answer alike."""

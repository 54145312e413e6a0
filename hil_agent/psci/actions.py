"""What is done for a request that no check refused: the functions that change power."""

from __future__ import annotations

from hil_agent.psci.context import ResumeContext
from hil_agent.psci.effects import (
    Outcome,
    PowerDown,
    PowerOff,
    PowerOn,
    Standby,
    Suspend,
    SystemOff,
    SystemReset,
)
from hil_agent.psci.functions import MASK32, Function, ReturnCode
from hil_agent.psci.profile import Implementation, Request
from hil_agent.psci.queries import MIGRATION_NOT_REQUIRED, answers, psci_features, psci_version
from hil_agent.psci.state import SuspendMode


def cpu_on(request: Request) -> Outcome:
    """CPU_ON: start the target."""
    target = request.target
    request.system.power_on(target)
    return request.profile.answer(ReturnCode.SUCCESS, first=(PowerOn(target, request.entry_state),))


def cpu_off(request: Request) -> Outcome:
    """CPU_OFF, and CPU_FREEZE: the caller goes down until CPU_ON.

    They differ in the interrupts that may be left targeted at the caller, which do not wake it.
    """
    request.system.power_off(request.cpu)
    return Outcome((PowerOff(request.profile.kept_registers),))


def cpu_standby(request: Request) -> Outcome:
    """CPU_SUSPEND as a standby state, which a power-down state may be turned into as well."""
    return request.profile.answer(ReturnCode.SUCCESS, first=(Standby(),))


def cpu_suspend(request: Request) -> Outcome:
    """CPU_SUSPEND as it is asked for: standby or power-down, with the time spent in it kept."""
    state_format = request.profile.power_state_format
    power_state = request.args[0] & MASK32
    request.system.sleep(request.cpu, power_state, state_format.level(power_state))
    if not power_state & state_format.power_down:
        return request.profile.answer(ReturnCode.SUCCESS, first=(Standby(timed=True),))
    return power_down(request)


def power_down(request: Request) -> Outcome:
    """CPU_DEFAULT_SUSPEND, and CPU_SUSPEND in a power-down state."""
    request.system.power_down(request.cpu)
    return Outcome((PowerDown(request.entry_state),))


def set_suspend_mode(request: Request) -> Outcome:
    """PSCI_SET_SUSPEND_MODE."""
    request.system.suspend_mode = SuspendMode(request.args[0])
    return request.profile.answer(ReturnCode.SUCCESS)


def system_suspend(request: Request) -> Outcome:
    """SYSTEM_SUSPEND: keep the context and hold the caller."""
    context = ResumeContext(request.entry_point, request.context_id, request.cpu, request.form.width)
    request.system.suspend(context)
    return Outcome((Suspend(context),))


def system_off(_: Request) -> Outcome:
    """SYSTEM_OFF."""
    return Outcome((SystemOff(),))


def system_off2(_: Request) -> Outcome:
    """SYSTEM_OFF2."""
    return Outcome((SystemOff(hibernate=True),))


def system_reset(request: Request) -> Outcome:
    """SYSTEM_RESET."""
    return Outcome((SystemReset(scrub_memory=request.system.memory_protected),))


def system_reset2(request: Request) -> Outcome:
    """SYSTEM_RESET2."""
    reset_type, cookie, _ = request.args
    return Outcome((SystemReset(reset_type & MASK32, cookie),))


def mem_protect(request: Request) -> Outcome:
    """MEM_PROTECT: set whether RAM is overwritten at a cold reset, and answer what was set before."""
    before = request.system.memory_protected
    request.system.memory_protected = bool(request.args[0])
    return request.profile.answer(int(before))


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

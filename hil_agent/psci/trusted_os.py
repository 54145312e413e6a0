"""A Trusted OS that runs on one vCPU only, and MIGRATE, which moves it (DEN0022, section 5.8).

There is none behind this: only its being in the way is imitated. Its vCPU cannot be switched off.
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum

from hil_agent.psci.checks import target_present
from hil_agent.psci.effects import Outcome
from hil_agent.psci.functions import Function, ReturnCode
from hil_agent.psci.profile import Implementation, Profile, Request
from hil_agent.psci.queries import answers
from hil_agent.psci.state import PowerState


class TrustedOs(IntEnum):
    """What MIGRATE_INFO_TYPE answers of a Trusted OS that is bound to a vCPU."""

    MIGRATABLE = 0
    NOT_MIGRATABLE = 1


def with_trusted_os(profile: Profile, kind: TrustedOs) -> Profile:
    """``profile`` with a Trusted OS, which is on vCPU 0 after boot."""
    checks = (caller_has_it, target_on) if kind is TrustedOs.MIGRATABLE else (denied,)
    cpu_off = profile.functions[Function.CPU_OFF]
    return replace(
        profile,
        functions={
            **profile.functions,
            Function.CPU_OFF: replace(cpu_off, checks=(*cpu_off.checks, caller_has_it_not)),
            Function.MIGRATE: Implementation(move_to_target, (target_present, *checks)),
            Function.MIGRATE_INFO_TYPE: Implementation(answers(kind)),
            Function.MIGRATE_INFO_UP_CPU: Implementation(migrate_info_up_cpu),
        },
    )


def caller_has_it_not(request: Request) -> ReturnCode | None:
    """DENIED if the Trusted OS is on the caller."""
    return ReturnCode.DENIED if request.cpu == request.system.trusted_os_cpu else None


def caller_has_it(request: Request) -> ReturnCode | None:
    """NOT_PRESENT unless the Trusted OS is on the caller."""
    return None if request.cpu == request.system.trusted_os_cpu else ReturnCode.NOT_PRESENT


def target_on(request: Request) -> ReturnCode | None:
    """INVALID_PARAMETERS unless the target runs."""
    running = request.system.power(request.target) is PowerState.ON
    return None if running else ReturnCode.INVALID_PARAMETERS


def denied(_: Request) -> ReturnCode:
    """DENIED."""
    return ReturnCode.DENIED


def move_to_target(request: Request) -> Outcome:
    """MIGRATE: the Trusted OS is on the target from now on."""
    request.system.trusted_os_cpu = request.target
    return request.profile.answer(ReturnCode.SUCCESS)


def migrate_info_up_cpu(request: Request) -> Outcome:
    """MIGRATE_INFO_UP_CPU: the MPIDR of the vCPU that the Trusted OS is on."""
    return request.profile.answer(request.system.mpidrs[request.system.trusted_os_cpu])

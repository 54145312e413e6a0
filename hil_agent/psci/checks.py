"""The reasons for which a request may be refused, each as one check."""

from __future__ import annotations

from hil_agent.psci.functions import MASK32, ReturnCode
from hil_agent.psci.profile import Request
from hil_agent.psci.state import PowerState

_INSTANCE = (0xFF_00FF_FFFF, 0xFF_00FF_FF00, 0xFF_00FF_0000, 0xFF_0000_0000)
"""By affinity level, the fields that name an instance: those at the level and above."""

_POWER_STATE_RESERVED = 0xFCFE_0000
"""Bits of an original-format power state that must be zero: not StateID, StateType or PowerLevel."""


def target_present(request: Request) -> ReturnCode | None:
    """INVALID_PARAMETERS unless the first argument is the MPIDR of a vCPU."""
    return ReturnCode.INVALID_PARAMETERS if request.find_target() is None else None


def target_off(request: Request) -> ReturnCode | None:
    """ALREADY_ON, or ON_PENDING where the profile reports it, unless the target is off."""
    match request.system.power(request.target):
        case PowerState.OFF:
            return None
        case PowerState.ON_PENDING if request.profile.reports_on_pending:
            return ReturnCode.ON_PENDING
        case _:
            return ReturnCode.ALREADY_ON


def others_off(request: Request) -> ReturnCode | None:
    """DENIED unless the caller is the only vCPU that is not off."""
    return None if request.system.others_off(request.cpu) else ReturnCode.DENIED


def entry_point_even(request: Request) -> ReturnCode | None:
    """INVALID_ADDRESS if bit 0 of the entry point is set, which would ask for T32 (Xen, vpsci.c)."""
    return ReturnCode.INVALID_ADDRESS if request.entry_point & 1 else None


def entry_point_aligned(request: Request) -> ReturnCode | None:
    """INVALID_ADDRESS unless the entry point can be that of an A64 instruction."""
    return ReturnCode.INVALID_ADDRESS if request.entry_point & 3 else None


def entry_point_in_memory(request: Request) -> ReturnCode | None:
    """INVALID_ADDRESS unless the entry point is in the guest's RAM."""
    if any(request.entry_point in memory for memory in request.system.memory):
        return None
    return ReturnCode.INVALID_ADDRESS


def affinity_bits_only(request: Request) -> ReturnCode | None:
    """INVALID_PARAMETERS if the first argument has bits outside the affinity fields."""
    return ReturnCode.INVALID_PARAMETERS if request.args[0] & ~_INSTANCE[0] else None


def affinity_level_known(request: Request) -> ReturnCode | None:
    """INVALID_PARAMETERS unless the second argument, of which 32 bits count, is an affinity level."""
    return ReturnCode.INVALID_PARAMETERS if request.args[1] & MASK32 >= len(_INSTANCE) else None


def affinity_present(request: Request) -> ReturnCode | None:
    """INVALID_PARAMETERS if no vCPU is in the affinity instance that is asked for."""
    return None if affinity_instance(request) else ReturnCode.INVALID_PARAMETERS


def affinity_instance(request: Request) -> tuple[PowerState, ...]:
    """Power of the vCPUs in the affinity instance that AFFINITY_INFO asks for.

    The first argument names it, without the fields below the level, which is the second.
    """
    mask = _INSTANCE[request.args[1] & MASK32]
    wanted = request.args[0] & mask
    system = request.system
    return tuple(
        power for mpidr, power in zip(system.mpidrs, system.powers, strict=True) if mpidr & mask == wanted
    )


def power_state_valid(request: Request) -> ReturnCode | None:
    """INVALID_PARAMETERS if the power state of CPU_SUSPEND has reserved bits set, in the original format."""
    return ReturnCode.INVALID_PARAMETERS if request.args[0] & _POWER_STATE_RESERVED else None

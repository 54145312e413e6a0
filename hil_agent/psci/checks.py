"""The reasons for which a request may be refused, each as one check."""

from __future__ import annotations

from hil_agent.psci.affinity import AFFINITY_BITS, LEVELS
from hil_agent.psci.functions import MASK32, ReturnCode
from hil_agent.psci.profile import Check, Request
from hil_agent.psci.state import PowerState, SuspendMode

WARM_RESET = 0
"""SYSTEM_RESET2: the only type of reset that PSCI itself defines."""

VENDOR_RESETS = 0x8000_0000
"""SYSTEM_RESET2: from here on types of reset are the vendor's."""

HIBERNATE_OFF = 1
"""SYSTEM_OFF2: the only type; 0 stands for it, too."""

DRY_RUN = 1
"""CLEAN_INV_MEMREGION: the only flag."""


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


def context_prepared(request: Request) -> ReturnCode | None:
    """DENIED if the context of the vCPU that is to start cannot be prepared (Xen, vpsci.c)."""
    return None if request.system.prepare_context() else ReturnCode.DENIED


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
    return ReturnCode.INVALID_PARAMETERS if request.args[0] & ~AFFINITY_BITS else None


def affinity_level_known(request: Request) -> ReturnCode | None:
    """INVALID_PARAMETERS unless the second argument, of which 32 bits count, is an affinity level."""
    return None if request.args[1] & MASK32 in LEVELS else ReturnCode.INVALID_PARAMETERS


def affinity_present(request: Request) -> ReturnCode | None:
    """INVALID_PARAMETERS if no vCPU is in the affinity instance that is asked for."""
    return None if affinity_instance(request) else ReturnCode.INVALID_PARAMETERS


def affinity_instance(request: Request) -> tuple[int, ...]:
    """Indexes of the vCPUs in the affinity instance that AFFINITY_INFO or NODE_HW_STATE asks for.

    The first argument names it, without the fields below the level, which is the second.
    """
    return request.system.affinity_instance(request.args[0], request.args[1] & MASK32)


def power_state_valid(request: Request) -> ReturnCode | None:
    """INVALID_PARAMETERS if the power state, 32 bits of the first argument, has reserved bits set."""
    reserved = request.profile.power_state_format.reserved
    return ReturnCode.INVALID_PARAMETERS if request.args[0] & reserved else None


def if_power_down(check: Check) -> Check:
    """``check``, of CPU_SUSPEND, only where a power-down state is asked for."""

    def checked(request: Request) -> ReturnCode | None:
        power_down = request.profile.power_state_format.power_down
        return check(request) if request.args[0] & power_down else None

    return checked


def node_idle(request: Request) -> ReturnCode | None:
    """DENIED, in OS-initiated mode, if the state is about a node in which another vCPU runs.

    Only the last vCPU of a node that goes idle may ask for a state of the node (DENIED as in TF-A,
    psci_validate_state_coordination).
    """
    system = request.system
    if system.suspend_mode is SuspendMode.PLATFORM_COORDINATED:
        return None
    level = request.profile.power_state_format.level(request.args[0] & MASK32)
    for cpu in system.affinity_instance(system.mpidrs[request.cpu], level):
        idle = system.power(cpu) in {PowerState.OFF, PowerState.SUSPENDED} or system.residency.is_asleep(cpu)
        if cpu != request.cpu and not idle:
            return ReturnCode.DENIED
    return None


def suspend_mode_known(request: Request) -> ReturnCode | None:
    """INVALID_PARAMETERS unless the first argument is a suspend mode."""
    return None if request.args[0] in list(SuspendMode) else ReturnCode.INVALID_PARAMETERS


def suspend_mode_may_change(request: Request) -> ReturnCode | None:
    """DENIED to change the mode while it would be unclear what others have asked for (DENIED as in TF-A).

    To OS-initiated mode all vCPUs must run, or the caller alone; back, the caller alone.
    """
    system, mode = request.system, request.args[0]
    if mode == system.suspend_mode or system.others_off(request.cpu):
        return None
    all_run = set(system.powers) == {PowerState.ON} and not any(
        system.residency.is_asleep(cpu) for cpu in range(len(system.mpidrs))
    )
    return None if mode == SuspendMode.OS_INITIATED and all_run else ReturnCode.DENIED


def reset_type_known(request: Request) -> ReturnCode | None:
    """INVALID_PARAMETERS unless the type of SYSTEM_RESET2, 32 bits, is a warm reset or a vendor's."""
    reset_type = request.args[0] & MASK32
    known = reset_type == WARM_RESET or reset_type >= VENDOR_RESETS
    return None if known else ReturnCode.INVALID_PARAMETERS


def off_type_known(request: Request) -> ReturnCode | None:
    """INVALID_PARAMETERS unless SYSTEM_OFF2 is asked to hibernate, with a cookie of 0 (KVM, psci.c)."""
    off_type, cookie, _ = request.args
    known = off_type in {0, HIBERNATE_OFF} and cookie == 0
    return None if known else ReturnCode.INVALID_PARAMETERS


def range_in_memory(code: ReturnCode) -> Check:
    """A check for ``code``: unless base and length, the first two arguments, are of a range of RAM."""

    def check(request: Request) -> ReturnCode | None:
        base, length, _ = request.args
        inside = length and any(
            base in memory and base + length - 1 in memory for memory in request.system.memory
        )
        return None if inside else code

    return check


def memregion_flags_known(request: Request) -> ReturnCode | None:
    """INVALID_PARAMETERS if CLEAN_INV_MEMREGION is given a flag that there is not."""
    return ReturnCode.INVALID_PARAMETERS if request.args[2] & ~DRY_RUN else None

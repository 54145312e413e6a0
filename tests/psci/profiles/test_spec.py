"""The functions that only the specification's profile answers in full."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hil_agent.psci import Call, Conduit, Outcome, PowerState, Profile, ReturnCode, VirtualPsci, get_profile
from hil_agent.psci.effects import PowerDown, PowerOff, Return, Standby, SystemOff, SystemReset
from hil_agent.psci.power_state import EXTENDED

SPEC = get_profile("spec")
CPU_SUSPEND = 0xC400_0001
CPU_OFF = 0x8400_0002
CPU_ON = 0xC400_0003
AFFINITY_INFO = 0xC400_0004
SYSTEM_RESET = 0x8400_0009
FEATURES = 0x8400_000A
CPU_FREEZE = 0x8400_000B
CPU_DEFAULT_SUSPEND = 0xC400_000C
NODE_HW_STATE = 0xC400_000D
SYSTEM_SUSPEND = 0xC400_000E
SET_SUSPEND_MODE = 0x8400_000F
STAT_RESIDENCY32, STAT_RESIDENCY = 0x8400_0010, 0xC400_0010
STAT_COUNT = 0xC400_0011
SYSTEM_RESET2 = 0xC400_0012
MEM_PROTECT = 0x8400_0013
CHECK_RANGE = 0xC400_0014
SYSTEM_OFF2 = 0xC400_0015
CLEAN_INV_MEMREGION = 0xC400_0016
CLEAN_INV_MEMREGION_ATTRIBUTES = 0x8400_0017

RAM = range(0x4000_0000, 0x6000_0000)
ENTRY = 0x4008_0000
POWER_DOWN = 1 << 16
CLUSTER = 1 << 24
OS_INITIATED, PLATFORM_COORDINATED = 1, 0
ON, OFF, STANDBY = 0, 1, 2

SUCCESS = ReturnCode.SUCCESS
INVALID = ReturnCode.INVALID_PARAMETERS
DENIED = ReturnCode.DENIED
BAD_ADDRESS = ReturnCode.INVALID_ADDRESS


class Guest:
    """Four vCPUs in two clusters, all on; time passes only when told."""

    def __init__(self, profile: Profile = SPEC) -> None:
        self.now_us = 0
        self.psci = VirtualPsci(profile, (0, 1, 0x100, 0x101), [RAM], now_us=lambda: self.now_us)
        for cpu in (1, 2, 3):
            self.psci.power_on(cpu)
            self.psci.entered(cpu)

    def call(self, *registers: int, cpu: int = 0) -> Outcome:
        x0, x1, x2, x3 = registers + (0,) * (4 - len(registers))
        return self.psci.call(Call(cpu, Conduit.HVC, (x0, x1, x2, x3)))

    def sleep(self, cpu: int, power_state: int, time_us: int) -> None:
        self.call(CPU_SUSPEND, power_state, ENTRY, cpu=cpu)
        self.now_us += time_us
        self.psci.woke(cpu)


@pytest.fixture
def guest() -> Guest:
    return Guest()


# ------------------------------------------------------------------------------- CPU_SUSPEND


def test_standby_returns_after_a_wait_that_is_timed(guest: Guest) -> None:
    assert guest.call(CPU_SUSPEND).effects == (Standby(timed=True), Return((0,)))


def test_power_down_enters_at_the_entry_point_with_the_context_id(guest: Guest) -> None:
    expected = Outcome((PowerDown(SPEC.entry_state(ENTRY, 7)),))
    assert guest.call(CPU_SUSPEND, POWER_DOWN, ENTRY, 7) == expected


def test_a_vcpu_that_is_powered_down_is_suspended_until_it_has_woken(guest: Guest) -> None:
    guest.call(CPU_SUSPEND, POWER_DOWN, ENTRY)
    before = guest.psci.power(0)
    guest.psci.woke(0)
    assert (before, guest.psci.power(0)) == (PowerState.SUSPENDED, PowerState.ON)


def test_a_vcpu_that_is_powered_down_counts_as_on(guest: Guest) -> None:
    guest.call(CPU_SUSPEND, POWER_DOWN, ENTRY, cpu=1)
    assert (guest.call(AFFINITY_INFO, 1).result, guest.call(CPU_ON, 1, ENTRY).code) == (
        ON,
        ReturnCode.ALREADY_ON,
    )


def test_the_system_cannot_suspend_over_a_vcpu_that_is_powered_down(guest: Guest) -> None:
    for cpu in (2, 3):
        guest.call(CPU_OFF, cpu=cpu)
    guest.call(CPU_SUSPEND, POWER_DOWN, ENTRY, cpu=1)
    assert guest.call(SYSTEM_SUSPEND, ENTRY).code is DENIED


def test_default_suspend_powers_down(guest: Guest) -> None:
    assert guest.call(CPU_DEFAULT_SUSPEND, ENTRY, 7) == Outcome((PowerDown(SPEC.entry_state(ENTRY, 7)),))


@pytest.mark.parametrize("entry", [ENTRY + 1, ENTRY + 2, RAM.stop])
@pytest.mark.parametrize("before", [(CPU_SUSPEND, POWER_DOWN), (CPU_DEFAULT_SUSPEND,)])
def test_power_down_needs_a_good_entry_point(guest: Guest, before: tuple[int, ...], entry: int) -> None:
    assert guest.call(*before, entry).code is BAD_ADDRESS


def test_standby_does_not_look_at_the_entry_point(guest: Guest) -> None:
    assert guest.call(CPU_SUSPEND, 0, 1).code is SUCCESS


@pytest.mark.parametrize("bit", [17, 23, 26, 31])
def test_reserved_bits_of_a_power_state_are_refused(guest: Guest, bit: int) -> None:
    assert guest.call(CPU_SUSPEND, 1 << bit).code is INVALID


def test_the_extended_format_has_its_own_bit_for_power_down() -> None:
    guest = Guest(replace(SPEC, power_state_format=EXTENDED))
    codes = [guest.call(CPU_SUSPEND, state, ENTRY).code for state in (POWER_DOWN, 1 << 31, 1 << 30)]
    assert codes == [SUCCESS, INVALID, None]


@pytest.mark.parametrize(("profile", "flags"), [(SPEC, 1), (replace(SPEC, power_state_format=EXTENDED), 3)])
def test_features_tell_mode_and_format(profile: Profile, flags: int) -> None:
    assert Guest(profile).call(FEATURES, CPU_SUSPEND).result == flags


def test_a_frozen_vcpu_is_off(guest: Guest) -> None:
    assert (guest.call(CPU_FREEZE), guest.psci.power(0)) == (Outcome((PowerOff(),)), PowerState.OFF)


# ------------------------------------------------------------------------- OS-initiated mode


def test_os_initiated_only_the_last_vcpu_of_a_cluster_asks_for_its_state(guest: Guest) -> None:
    guest.call(SET_SUSPEND_MODE, OS_INITIATED)
    first = guest.call(CPU_SUSPEND, CLUSTER | POWER_DOWN, ENTRY).code
    guest.call(CPU_SUSPEND, POWER_DOWN, ENTRY)
    assert (first, guest.call(CPU_SUSPEND, CLUSTER | POWER_DOWN, ENTRY, cpu=1).code) == (DENIED, None)


def test_os_initiated_a_vcpu_in_standby_does_not_hold_its_cluster_up(guest: Guest) -> None:
    guest.call(SET_SUSPEND_MODE, OS_INITIATED)
    guest.call(CPU_SUSPEND, 0)
    assert guest.call(CPU_SUSPEND, CLUSTER, cpu=1).code is SUCCESS


def test_platform_coordinated_anyone_may_ask(guest: Guest) -> None:
    assert guest.call(CPU_SUSPEND, CLUSTER | POWER_DOWN, ENTRY).code is None


@pytest.mark.parametrize("mode", [2, 0xFFFF_FFFF])
def test_an_unknown_suspend_mode_is_refused(guest: Guest, mode: int) -> None:
    assert guest.call(SET_SUSPEND_MODE, mode).code is INVALID


def test_the_mode_does_not_change_while_some_run_and_some_do_not(guest: Guest) -> None:
    guest.call(CPU_OFF, cpu=3)
    assert guest.call(SET_SUSPEND_MODE, OS_INITIATED).code is DENIED


def test_the_mode_changes_back_only_with_one_vcpu_left(guest: Guest) -> None:
    guest.call(SET_SUSPEND_MODE, OS_INITIATED)
    early = guest.call(SET_SUSPEND_MODE, PLATFORM_COORDINATED).code
    for cpu in (1, 2, 3):
        guest.call(CPU_OFF, cpu=cpu)
    assert (early, guest.call(SET_SUSPEND_MODE, PLATFORM_COORDINATED).code) == (DENIED, SUCCESS)


def test_the_mode_that_is_set_may_be_set_again(guest: Guest) -> None:
    guest.call(CPU_OFF, cpu=3)
    assert guest.call(SET_SUSPEND_MODE, PLATFORM_COORDINATED).code is SUCCESS


def test_a_reset_goes_back_to_platform_coordinated_mode(guest: Guest) -> None:
    guest.call(SET_SUSPEND_MODE, OS_INITIATED)
    guest.psci.reset()
    assert guest.psci.suspend_mode == PLATFORM_COORDINATED


# --------------------------------------------------------------------- statistics, node state


@pytest.mark.parametrize("power_state", [0, 5, POWER_DOWN | 3])
def test_statistics_are_true(guest: Guest, power_state: int) -> None:
    guest.sleep(1, power_state, 300)
    guest.sleep(1, power_state, 1200)
    assert [guest.call(number, 1, power_state).result for number in (STAT_COUNT, STAT_RESIDENCY)] == [2, 1500]


def test_statistics_of_a_cluster_are_the_time_that_it_was_down(guest: Guest) -> None:
    guest.call(CPU_SUSPEND, CLUSTER | POWER_DOWN, ENTRY, cpu=2)
    guest.now_us += 50
    guest.sleep(3, CLUSTER | POWER_DOWN, 400)
    assert [
        guest.call(STAT_RESIDENCY, mpidr, CLUSTER | POWER_DOWN).result for mpidr in (0x100, 0x101, 0)
    ] == [
        400,
        400,
        0,
    ]


@pytest.mark.parametrize(("mpidr", "power_state"), [(99, 0), (1 << 31 | 1, 0), (1, 1 << 31)])
def test_statistics_of_what_is_not_there_are_0(guest: Guest, mpidr: int, power_state: int) -> None:
    guest.sleep(1, 0, 300)
    assert guest.call(STAT_COUNT, mpidr, power_state).result == 0


def test_the_32_bit_residency_wraps(guest: Guest) -> None:
    guest.sleep(1, 0, (1 << 32) + 5)
    assert [guest.call(number, 1).result for number in (STAT_RESIDENCY32, STAT_RESIDENCY)] == [
        5,
        (1 << 32) + 5,
    ]


@pytest.mark.parametrize(
    ("before", "state"),
    [((CPU_SUSPEND, 0), STANDBY), ((CPU_SUSPEND, POWER_DOWN, ENTRY), OFF), ((CPU_OFF,), OFF)],
    ids=["standby", "power-down", "off"],
)
def test_the_hardware_state_of_a_vcpu(guest: Guest, before: tuple[int, ...], state: int) -> None:
    running = guest.call(NODE_HW_STATE, 1).result
    guest.call(*before, cpu=1)
    assert (running, guest.call(NODE_HW_STATE, 1).result) == (ON, state)


def test_the_hardware_state_of_a_cluster_is_that_of_its_liveliest_vcpu(guest: Guest) -> None:
    states = []
    for cpu, power_state in ((2, POWER_DOWN), (3, 0)):
        guest.call(CPU_SUSPEND, power_state, ENTRY, cpu=cpu)
        states.append(guest.call(NODE_HW_STATE, 0x100, 1).result)
    assert states == [ON, STANDBY]


@pytest.mark.parametrize(("mpidr", "level"), [(99, 0), (0x200, 1), (0, 4), (1 << 31, 0)])
def test_the_hardware_state_of_what_is_not_there_is_refused(guest: Guest, mpidr: int, level: int) -> None:
    assert guest.call(NODE_HW_STATE, mpidr, level).code is INVALID


# ------------------------------------------------------------------------ reset, off, memory


@pytest.mark.parametrize("reset_type", [0, 0x8000_0000, 0xFFFF_FFFF])
def test_reset2_is_told_its_type_and_cookie(guest: Guest, reset_type: int) -> None:
    assert guest.call(SYSTEM_RESET2, reset_type, 0x1234) == Outcome((SystemReset(reset_type, 0x1234),))


@pytest.mark.parametrize("reset_type", [1, 0x7FFF_FFFF])
def test_reset2_refuses_reserved_types(guest: Guest, reset_type: int) -> None:
    assert guest.call(SYSTEM_RESET2, reset_type).code is INVALID


@pytest.mark.parametrize("off_type", [0, 1])
def test_off2_hibernates(guest: Guest, off_type: int) -> None:
    assert guest.call(SYSTEM_OFF2, off_type) == Outcome((SystemOff(hibernate=True),))


@pytest.mark.parametrize(("off_type", "cookie"), [(2, 0), (0, 1), (1, 1)])
def test_off2_refuses_other_types_and_cookies(guest: Guest, off_type: int, cookie: int) -> None:
    assert guest.call(SYSTEM_OFF2, off_type, cookie).code is INVALID


def test_features_tell_the_types_of_off2(guest: Guest) -> None:
    assert guest.call(FEATURES, SYSTEM_OFF2).result == 1


def test_mem_protect_answers_what_was_set_before(guest: Guest) -> None:
    assert [guest.call(MEM_PROTECT, enable).result for enable in (1, 0, 0)] == [0, 1, 0]


@pytest.mark.parametrize("enable", [0, 1])
def test_a_cold_reset_scrubs_memory_if_it_is_protected(guest: Guest, enable: int) -> None:
    guest.call(MEM_PROTECT, enable)
    assert guest.call(SYSTEM_RESET) == Outcome((SystemReset(scrub_memory=bool(enable)),))


def test_a_warm_reset_does_not_scrub_memory(guest: Guest) -> None:
    guest.call(MEM_PROTECT, 1)
    assert guest.call(SYSTEM_RESET2) == Outcome((SystemReset(0),))


RANGES = [
    (RAM.start, len(RAM), True),
    (RAM.stop - 1, 1, True),
    (RAM.start, len(RAM) + 1, False),
    (RAM.start - 1, 2, False),
    (RAM.start, 0, False),
    (RAM.start, (1 << 64) - 1, False),
]


@pytest.mark.parametrize(("base", "length", "inside"), RANGES)
def test_a_range_can_be_protected_if_it_is_ram(guest: Guest, base: int, length: int, inside: bool) -> None:
    assert guest.call(CHECK_RANGE, base, length).code is (SUCCESS if inside else DENIED)


@pytest.mark.parametrize(("base", "length", "inside"), RANGES)
def test_a_range_can_be_cleaned_if_it_is_ram(guest: Guest, base: int, length: int, inside: bool) -> None:
    assert guest.call(CLEAN_INV_MEMREGION, base, length).code is (SUCCESS if inside else BAD_ADDRESS)


@pytest.mark.parametrize(("flags", "code"), [(1, SUCCESS), (2, INVALID)])
def test_cleaning_has_one_flag(guest: Guest, flags: int, code: ReturnCode) -> None:
    assert guest.call(CLEAN_INV_MEMREGION, RAM.start, 64, flags).code is code


@pytest.mark.parametrize(("attribute", "code"), [(0, SUCCESS), (4, SUCCESS), (5, INVALID)])
def test_cleaning_has_five_attributes(guest: Guest, attribute: int, code: ReturnCode) -> None:
    assert guest.call(CLEAN_INV_MEMREGION_ATTRIBUTES, attribute).code is code

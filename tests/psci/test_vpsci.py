from __future__ import annotations

import pytest

from hil_agent.errors import InternalError, StateError
from hil_agent.psci import (
    Call,
    Conduit,
    EntryState,
    Function,
    Outcome,
    PowerState,
    ResumeContext,
    ReturnCode,
    VirtualPsci,
    Width,
    get_profile,
)
from hil_agent.psci.effects import PowerOff, PowerOn, Return, Standby, Suspend, SystemOff, SystemReset

VERSION = 0x8400_0000
CPU_SUSPEND = 0xC400_0001
CPU_OFF = 0x8400_0002
CPU_ON = 0xC400_0003
AFFINITY_INFO = 0xC400_0004
SYSTEM_OFF = 0x8400_0008
SYSTEM_RESET = 0x8400_0009
SYSTEM_SUSPEND32 = 0x8400_000E
SYSTEM_SUSPEND = 0xC400_000E
ENTRY = 0x4008_0DC0


def make(profile: str = "xen", mpidrs: tuple[int, ...] = (0, 1, 2)) -> VirtualPsci:
    return VirtualPsci(get_profile(profile), mpidrs, (range(0x4000_0000, 0x6000_0000),))


@pytest.fixture
def psci() -> VirtualPsci:
    return make()


def call(psci: VirtualPsci, x0: int, x1: int = 0, x2: int = 0, x3: int = 0, *, cpu: int = 0) -> Outcome:
    return psci.call(Call(cpu, Conduit.HVC, (x0, x1, x2, x3)))


def start(psci: VirtualPsci, cpu: int) -> None:
    call(psci, CPU_ON, psci.mpidrs[cpu], ENTRY)
    psci.entered(cpu)


def test_an_error_is_sign_extended_to_64_bits(psci: VirtualPsci) -> None:
    assert call(psci, 0x8400_0099).result == 0xFFFF_FFFF_FFFF_FFFF


def test_cpu_on_starts_the_target_before_it_returns(psci: VirtualPsci) -> None:
    entry = EntryState(
        pc=ENTRY,
        x0=0x1122_3344_5566_7788,
        pstate=0x3C5,
        system_registers={
            "SCTLR_EL1": 0x00C5_0078,
            "TTBR0_EL1": 0,
            "TTBR1_EL1": 0,
            "TCR_EL1": 0,
            "SP_EL0": 0,
            "SP_EL1": 0,
            "ELR_EL1": 0,
            "SPSR_EL1": 0,
        },
    )
    assert call(psci, CPU_ON, 1, ENTRY, 0x1122_3344_5566_7788).effects == (PowerOn(1, entry), Return((0,)))


def test_only_one_cpu_on_wins(psci: VirtualPsci) -> None:
    codes = [call(psci, CPU_ON, 1, ENTRY).code for _ in range(2)]
    assert codes == [ReturnCode.SUCCESS, ReturnCode.ALREADY_ON]


def test_spec_tells_a_pending_vcpu_apart() -> None:
    psci = make("spec")
    call(psci, CPU_ON, 1, ENTRY)
    assert (call(psci, CPU_ON, 1, ENTRY).code, call(psci, AFFINITY_INFO, 1).result) == (
        ReturnCode.ON_PENDING,
        2,
    )


def test_xen_takes_a_pending_vcpu_for_on(psci: VirtualPsci) -> None:
    call(psci, CPU_ON, 1, ENTRY)
    assert call(psci, AFFINITY_INFO, 1).result == 0


def test_cpu_on_works_again_after_it_has_failed(psci: VirtualPsci) -> None:
    call(psci, CPU_ON, 1, ENTRY)
    psci.power_on_failed(1)
    assert call(psci, CPU_ON, 1, ENTRY).code is ReturnCode.SUCCESS


def test_a_vcpu_goes_off_without_return(psci: VirtualPsci) -> None:
    start(psci, 1)
    assert call(psci, CPU_OFF, cpu=1) == Outcome((PowerOff(psci.profile.kept_registers),))
    assert psci.power(1) is PowerState.OFF


def test_an_affinity_instance_is_on_if_one_of_its_vcpus_is() -> None:
    psci = make(mpidrs=(0, 1, 0x100, 0x101))
    start(psci, 3)
    assert call(psci, AFFINITY_INFO, 0x100, 1).result == 0


def test_an_affinity_instance_is_off_if_all_of_its_vcpus_are() -> None:
    psci = make(mpidrs=(0, 1, 0x100, 0x101))
    assert call(psci, AFFINITY_INFO, 0x1FF, 1).result == 1


def test_standby_waits_before_it_returns(psci: VirtualPsci) -> None:
    assert call(psci, CPU_SUSPEND).effects == (Standby(), Return((0,)))


@pytest.mark.parametrize(
    ("function_id", "effect"), [(SYSTEM_OFF, SystemOff()), (SYSTEM_RESET, SystemReset())]
)
def test_off_and_reset_do_not_return(
    psci: VirtualPsci, function_id: int, effect: SystemOff | SystemReset
) -> None:
    assert call(psci, function_id) == Outcome((effect,))


def test_a_suspend_leaves_its_context(psci: VirtualPsci) -> None:
    context = ResumeContext(ENTRY, 0x1122_3344_5566_7788, cpu=0, width=Width.SMC64)
    outcome = call(psci, SYSTEM_SUSPEND, ENTRY, 0x1122_3344_5566_7788)
    assert (outcome, psci.context, psci.power(0)) == (
        Outcome((Suspend(context),)),
        context,
        PowerState.SUSPENDED,
    )


def test_a_32_bit_suspend_ignores_upper_halves(psci: VirtualPsci) -> None:
    call(psci, SYSTEM_SUSPEND32, 0xDEAD_BEEF_0000_0000 | ENTRY, 0xDEAD_BEEF_0000_3232)
    assert psci.context == ResumeContext(ENTRY, 0x3232, cpu=0, width=Width.SMC32)


def test_a_suspend_is_denied_while_another_vcpu_is_pending(psci: VirtualPsci) -> None:
    call(psci, CPU_ON, 1, ENTRY)
    assert call(psci, SYSTEM_SUSPEND, ENTRY).code is ReturnCode.DENIED


@pytest.mark.parametrize("entry", [ENTRY + 1, ENTRY])
def test_a_refused_suspend_leaves_no_context(psci: VirtualPsci, entry: int) -> None:
    start(psci, 1)
    call(psci, SYSTEM_SUSPEND, entry)
    assert (psci.context, psci.power(0)) == (None, PowerState.ON)


def test_the_vcpu_that_suspended_is_the_one_to_resume(psci: VirtualPsci) -> None:
    start(psci, 2)
    call(psci, CPU_OFF)
    call(psci, SYSTEM_SUSPEND, ENTRY, cpu=2)
    psci.resumed()
    assert psci.powers == (PowerState.OFF, PowerState.OFF, PowerState.ON)


def test_a_resume_starts_at_the_entry_point_with_the_context_id(psci: VirtualPsci) -> None:
    call(psci, SYSTEM_SUSPEND, ENTRY, 0xABCD)
    assert psci.resume() == get_profile("xen").entry_state(ENTRY, 0xABCD)


def test_a_resume_without_context_goes_on_after_the_call(psci: VirtualPsci) -> None:
    call(psci, SYSTEM_SUSPEND, ENTRY)
    psci.clear_context()
    entry = psci.resume()
    psci.resumed()
    assert (entry, psci.power(0)) == (None, PowerState.ON)


def test_a_resume_can_be_tried_again_until_the_vcpu_has_left(psci: VirtualPsci) -> None:
    call(psci, SYSTEM_SUSPEND, ENTRY)
    assert psci.resume() == psci.resume()


def test_a_resume_of_a_running_guest_is_refused_and_changes_nothing(psci: VirtualPsci) -> None:
    start(psci, 1)
    before = psci.powers
    with pytest.raises(StateError):
        psci.resume()
    assert psci.powers == before


def test_a_second_resume_is_refused(psci: VirtualPsci) -> None:
    call(psci, SYSTEM_SUSPEND, ENTRY)
    psci.resumed()
    with pytest.raises(StateError):
        psci.resume()


def test_a_guest_suspends_again_after_a_resume(psci: VirtualPsci) -> None:
    for context_id in range(10):
        call(psci, SYSTEM_SUSPEND, ENTRY, context_id)
        assert psci.resume() == get_profile("xen").entry_state(ENTRY, context_id)
        psci.resumed()


@pytest.mark.parametrize("cpu", [1, 3, -1])
def test_a_vcpu_that_is_not_on_cannot_call(psci: VirtualPsci, cpu: int) -> None:
    with pytest.raises(InternalError):
        call(psci, VERSION, cpu=cpu)


def test_calls_are_counted_by_function_and_vcpu(psci: VirtualPsci) -> None:
    start(psci, 1)
    for cpu in (0, 1, 1):
        call(psci, VERSION, cpu=cpu)
    call(psci, 0x8400_0099)
    assert psci.counts == {Function.CPU_ON: [1, 0, 0], Function.PSCI_VERSION: [1, 2, 0], None: [1, 0, 0]}


def test_counts_outlive_a_reset(psci: VirtualPsci) -> None:
    call(psci, VERSION)
    psci.reset()
    assert psci.counts[Function.PSCI_VERSION] == [1, 0, 0]

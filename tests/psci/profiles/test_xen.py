"""Suspend and resume as Xen does them, step by step, as merged and as reviewed (v16)."""

from __future__ import annotations

import pytest

from hil_agent.errors import StateError, TargetError
from hil_agent.psci import Call, Conduit, Outcome, PowerState, ReturnCode, VirtualPsci, get_profile
from hil_agent.psci.effects import Return, Suspend

CPU_ON = 0xC400_0003
SYSTEM_SUSPEND = 0xC400_000E
ENTRY = 0x4008_0000


def make(profile: str) -> VirtualPsci:
    return VirtualPsci(get_profile(profile), (0, 1), [range(0x4000_0000, 0x6000_0000)])


@pytest.fixture(params=["xen", "xen-v16"])
def psci(request: pytest.FixtureRequest) -> VirtualPsci:
    return make(request.param)


def call(psci: VirtualPsci, x0: int, x1: int = 0, x2: int = 0, x3: int = 0) -> Outcome:
    return psci.call(Call(0, Conduit.HVC, (x0, x1, x2, x3)))


def test_a_resume_enters_with_the_profiles_own_state(psci: VirtualPsci) -> None:
    call(psci, SYSTEM_SUSPEND, ENTRY, 7)
    assert psci.resume() == psci.profile.entry_state(ENTRY, 7)


def test_the_context_stays_until_the_vcpu_has_left(psci: VirtualPsci) -> None:
    call(psci, SYSTEM_SUSPEND, ENTRY, 7)
    psci.resume()
    kept = psci.context
    psci.resumed()
    assert (kept is not None, psci.context) == (True, None)


def test_merged_a_context_that_cannot_be_prepared_denies_the_suspend() -> None:
    psci = make("xen")
    psci.preparations_to_fail = 1
    outcome = call(psci, SYSTEM_SUSPEND, ENTRY)
    assert (outcome.code, psci.suspended, psci.context) == (ReturnCode.DENIED, False, None)


def test_merged_a_resume_cannot_fail() -> None:
    psci = make("xen")
    call(psci, SYSTEM_SUSPEND, ENTRY)
    psci.preparations_to_fail = 1
    assert psci.resume() is not None


def test_v16_suspends_without_preparing_anything() -> None:
    psci = make("xen-v16")
    psci.preparations_to_fail = 1
    assert isinstance(call(psci, SYSTEM_SUSPEND, ENTRY).effects[0], Suspend)


def test_v16_a_resume_that_fails_keeps_the_context_and_can_be_tried_again() -> None:
    psci = make("xen-v16")
    call(psci, SYSTEM_SUSPEND, ENTRY, 7)
    before = psci.context
    psci.preparations_to_fail = 1
    with pytest.raises(TargetError, match="could not be prepared"):
        psci.resume()
    assert (psci.context, psci.suspended, psci.resume()) == (
        before,
        True,
        psci.profile.entry_state(ENTRY, 7),
    )


def test_cpu_on_is_denied_if_the_context_cannot_be_prepared(psci: VirtualPsci) -> None:
    psci.preparations_to_fail = 1
    codes = [call(psci, CPU_ON, 1, ENTRY).code for _ in range(2)]
    assert codes == [ReturnCode.DENIED, ReturnCode.SUCCESS]


def test_the_host_suspends_without_a_call_and_nothing_changes_in_the_guest(psci: VirtualPsci) -> None:
    psci.suspend_by_host()
    during = (psci.suspended, psci.suspended_cpu, psci.context, psci.resume(), psci.power(0))
    psci.resumed()
    assert (during, psci.suspended) == ((True, None, None, None, PowerState.ON), False)


def test_the_host_cannot_suspend_twice(psci: VirtualPsci) -> None:
    psci.suspend_by_host()
    with pytest.raises(StateError, match="already"):
        psci.suspend_by_host()


def test_a_context_is_edited_for_the_next_resume(psci: VirtualPsci) -> None:
    call(psci, SYSTEM_SUSPEND, ENTRY, 7)
    psci.edit_context(entry_point=0x4100_0000)
    psci.edit_context(context_id=8)
    assert psci.resume() == psci.profile.entry_state(0x4100_0000, 8)


@pytest.mark.parametrize("suspend", [False, True], ids=["running", "by host"])
def test_there_is_no_context_to_edit(psci: VirtualPsci, suspend: bool) -> None:
    if suspend:
        psci.suspend_by_host()
    with pytest.raises(StateError):
        psci.edit_context(context_id=8)


@pytest.mark.parametrize("code", [ReturnCode.SUCCESS, ReturnCode.DENIED, ReturnCode.INTERNAL_FAILURE])
def test_an_abandoned_suspend_returns_after_the_call(psci: VirtualPsci, code: ReturnCode) -> None:
    call(psci, SYSTEM_SUSPEND, ENTRY)
    returned = psci.resume_as_is(code)
    psci.resumed()
    assert (returned, psci.power(0)) == (Return((code & 0xFFFF_FFFF_FFFF_FFFF,)), PowerState.ON)


def test_what_the_host_has_suspended_has_no_call_to_return_from(psci: VirtualPsci) -> None:
    psci.suspend_by_host()
    with pytest.raises(StateError, match="no call"):
        psci.resume_as_is()


def test_a_running_guest_has_nothing_to_abandon(psci: VirtualPsci) -> None:
    with pytest.raises(StateError):
        psci.resume_as_is()

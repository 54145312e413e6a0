from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.psci import Call, Conduit, Outcome, VirtualPsci, get_profile
from hil_agent.psci.effects import Return

FEATURES, GET_UUID, RND32, RND64 = 0x8400_0051, 0x8400_0052, 0x8400_0053, 0xC400_0053
NOT_SUPPORTED, INVALID_PARAMETER = (1 << 64) - 1, (1 << 64) - 2

ONES = (1 << 192) - 1
NUMBERS = bytes(range(1, 25))


def call(profile: str, x0: int, x1: int = 0, entropy: bytes = b"\xff" * 24) -> Outcome:
    psci = VirtualPsci(get_profile(profile), (0,), (), random_bytes=lambda count: entropy[:count])
    return psci.call(Call(0, Conduit.HVC, (x0, x1, 0, 0)))


def entropy_of(outcome: Outcome, width: int) -> int:
    (effect,) = outcome.effects
    assert isinstance(effect, Return)
    assert all(value < 1 << width for value in effect.values)
    _, x1, x2, x3 = effect.values
    return x1 << 2 * width | x2 << width | x3


@given(st.sampled_from([(RND32, 32), (RND64, 64)]), st.data())
def test_as_many_bits_come_as_are_asked_for(form: tuple[int, int], data: st.DataObject) -> None:
    function_id, width = form
    bits = data.draw(st.integers(1, 3 * width))
    assert entropy_of(call("spec", function_id, bits), width) == (1 << bits) - 1


def test_they_are_the_hosts() -> None:
    assert entropy_of(call("spec", RND64, 192, NUMBERS), 64) == int.from_bytes(NUMBERS, "little")


@pytest.mark.parametrize(("function_id", "bits"), [(RND32, 97), (RND64, 193), (RND64, 0xFFFF_FFFF)])
@pytest.mark.parametrize("profile", ["spec", "kvm"])
def test_more_than_fits_is_refused(profile: str, function_id: int, bits: int) -> None:
    assert call(profile, function_id, bits).result == INVALID_PARAMETER


@pytest.mark.parametrize(("profile", "result"), [("spec", INVALID_PARAMETER), ("kvm", 0)])
def test_nothing_at_all_may_be_asked_of_kvm_only(profile: str, result: int) -> None:
    assert call(profile, RND64, 0).result == result


def test_kvm_says_who_it_is() -> None:
    words = (0x00E0_210D, 0xEB11_8443, 0x4452_7080, 0x4C5A_4E55)
    assert call("kvm", GET_UUID).effects == (Return(words),)


@pytest.mark.parametrize("asked", [0x8400_0050, FEATURES, GET_UUID, RND32, RND64])
@pytest.mark.parametrize(("profile", "result"), [("spec", 0), ("kvm", 0), ("xen", NOT_SUPPORTED)])
def test_features(profile: str, result: int, asked: int) -> None:
    assert call(profile, FEATURES, asked).result == result


@pytest.mark.parametrize("asked", [0x8400_0000, 0x8400_0054, 0xC400_0050])
def test_features_know_nothing_else(asked: int) -> None:
    assert call("spec", FEATURES, asked).result == NOT_SUPPORTED

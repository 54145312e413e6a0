import pytest

from hil_agent.conformance.observation import (
    BUILTIN,
    Enters,
    Event,
    Observation,
    Returns,
    Takes,
    Value,
    expect,
    undefined,
)
from hil_agent.psci import ReturnCode


def test_a_profile_without_an_expectation_of_its_own_falls_back() -> None:
    expected = expect(1, xen=2, qemu=3)
    of = {name: expected.of(name) for name in ("spec", "kvm", "xen", "xen-v16", "qemu", BUILTIN)}
    assert of == {
        "spec": (Returns(1),),
        "kvm": (Returns(1),),
        "xen": (Returns(2),),
        "xen-v16": (Returns(2),),
        "qemu": (Returns(3),),
        BUILTIN: (Returns(3),),
    }


def test_none_says_that_anything_is_right() -> None:
    assert expect(1, kvm=None).of("kvm") == ()


def test_a_choice_is_any_of_several() -> None:
    assert expect((Enters(0), ReturnCode.DENIED)).of("spec") == (Enters(0), Returns(2**64 - 3))


@pytest.mark.parametrize(
    ("observation", "words"),
    [
        (Returns(0x10001), "0x10001"),
        (Returns(2**64 - 9), "INVALID_ADDRESS"),
        (Returns(2**64 - 100), "0xffffffffffffff9c"),
        (Returns(0, ("x5", "v3")), "0x0, and changed x5 v3"),
        (undefined(4), "an Undefined Instruction exception, ELR +4"),
        (Takes(0x96000010, 0), "an exception, 0x96000010, ELR +0"),
        (Enters(7), "entered, x0=0x7"),
        (Enters(7, 0x1000), "entered at 0x1000, x0=0x7"),
        (Value(16), "0x10"),
        (Event("kept"), "kept"),
    ],
)
def test_observations_read_well(observation: Observation, words: str) -> None:
    assert str(observation) == words

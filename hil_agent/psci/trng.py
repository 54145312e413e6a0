"""True random numbers for the guest (DEN0098), from the host's source."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from uuid import UUID

from hil_agent.psci.arch import uuid
from hil_agent.psci.effects import Outcome
from hil_agent.psci.functions import MASK32, Function, ReturnCode, decode
from hil_agent.psci.profile import Check, Implementation, Request
from hil_agent.psci.queries import answers
from hil_agent.psci.version import Version

_REGISTERS = 3


class TrngCode(IntEnum):
    """What TRNG functions answer: PSCI's numbers, as far as they go."""

    SUCCESS = 0
    NOT_SUPPORTED = -1
    INVALID_PARAMETER = -2
    NO_ENTROPY = -3


def bits_at_least(least: int) -> Check:
    """INVALID_PARAMETER unless the bits that are asked for, 32 bits wide, are that many and fit x1 to x3."""

    def check(request: Request) -> ReturnCode | None:
        fits = least <= request.args[0] & MASK32 <= _REGISTERS * request.form.width
        return None if fits else ReturnCode(TrngCode.INVALID_PARAMETER)

    return check


def trng_features(request: Request) -> Outcome:
    """TRNG_FEATURES: whether a TRNG function is there."""
    asked = decode(request.args[0])
    found = asked is not None and asked.function in _NAMES and request.profile.offers(asked.function)
    return request.profile.answer(TrngCode.SUCCESS if found else TrngCode.NOT_SUPPORTED)


def trng_rnd(request: Request) -> Outcome:
    """TRNG_RND: as many random bits as asked for, from bit 0 of x3 on upwards, then x2, then x1."""
    bits = request.args[0] & MASK32
    entropy = int.from_bytes(request.system.random_bytes((bits + 7) // 8), "little") & (1 << bits) - 1
    width = int(request.form.width)
    x3, x2, x1 = (entropy >> width * number & (1 << width) - 1 for number in range(_REGISTERS))
    return request.profile.answer(TrngCode.SUCCESS, x1, x2, x3)


def trng(identity: UUID, *, fewest_bits: int) -> Mapping[Function, Implementation]:
    """The TRNG functions, version 1.0.

    Args:
        identity: what TRNG_GET_UUID answers.
        fewest_bits: the fewest that TRNG_RND can be asked for; DEN0098 says 1, Linux KVM allows 0.
    """
    return {
        Function.TRNG_VERSION: Implementation(answers(Version(1, 0).encoded)),
        Function.TRNG_FEATURES: Implementation(trng_features),
        Function.TRNG_GET_UUID: Implementation(uuid(identity)),
        Function.TRNG_RND: Implementation(trng_rnd, (bits_at_least(fewest_bits),)),
    }


_NAMES = frozenset(function for function in Function if function.name.startswith("TRNG_"))

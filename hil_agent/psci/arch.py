"""The SMC Calling Convention's own functions (DEN0028): versions, workarounds, who answers."""

from __future__ import annotations

import struct
from enum import IntEnum
from uuid import UUID

from hil_agent.psci.effects import Outcome, Return
from hil_agent.psci.functions import decode
from hil_agent.psci.profile import Action, Request
from hil_agent.psci.queries import answers


class ArchCode(IntEnum):
    """What SMCCC's functions answer: other numbers than PSCI's `ReturnCode` has for the same."""

    SUCCESS = 0
    NOT_SUPPORTED = -1
    NOT_REQUIRED = -2
    INVALID_PARAMETER = -3


SAFE_BUT_NOT_NEEDED = 1
"""SMCCC_ARCH_FEATURES of a workaround: it may be called, on a CPU that does without."""


def smccc_arch_features(request: Request) -> Outcome:
    """SMCCC_ARCH_FEATURES: whether, and how, an architecture call is there."""
    asked = decode(request.args[0])
    features = request.profile.arch_features
    return request.profile.answer(
        ArchCode.NOT_SUPPORTED if asked is None else features.get(asked.function, ArchCode.NOT_SUPPORTED)
    )


def soc_id(version: int, revision: int) -> Action:
    """SMCCC_ARCH_SOC_ID of an SoC.

    Args:
        version: JEP-106 bank in bits [30:24], JEP-106 code in [23:16], SoC ID in [15:0].
        revision: 31 bits.
    """

    def action(request: Request) -> Outcome:
        match request.args[0]:
            case 0:
                return request.profile.answer(version)
            case 1:
                return request.profile.answer(revision)
            case _:
                return request.profile.answer(ArchCode.INVALID_PARAMETER)

    return action


def workaround(request: Request) -> Outcome:
    """SMCCC_ARCH_WORKAROUND_1 to 3: what they are about was done on the way here; nothing is returned."""
    return Outcome((Return(()),), request.form.function.smc32)


def uuid(value: UUID) -> Action:
    """An action that answers a UUID in x0 to x3, four bytes each, the first byte lowest."""
    return answers(*struct.unpack("<4I", value.bytes))

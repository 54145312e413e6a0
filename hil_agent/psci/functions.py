"""The numbers of PSCI and SMCCC: function IDs, widths and return codes."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import NamedTuple

MASK32 = 0xFFFF_FFFF
MASK64 = 0xFFFF_FFFF_FFFF_FFFF

_SMC32 = 0x8400_0000
_SMC64 = 0xC400_0000


class ReturnCode(IntEnum):
    """What a call answers when its value is a status (Linux, include/uapi/linux/psci.h).

    The last three came with PSCI 1.3.
    """

    SUCCESS = 0
    NOT_SUPPORTED = -1
    INVALID_PARAMETERS = -2
    DENIED = -3
    ALREADY_ON = -4
    ON_PENDING = -5
    INTERNAL_FAILURE = -6
    NOT_PRESENT = -7
    DISABLED = -8
    INVALID_ADDRESS = -9
    TIMEOUT = -10
    RATE_LIMITED = -11
    BUSY = -12


class Width(IntEnum):
    """The calling convention that a function ID names, by the width of its arguments in bits."""

    SMC32 = 32
    SMC64 = 64


def _smc32(number: int) -> tuple[int, None]:
    return _SMC32 + number, None


def _smc64(number: int) -> tuple[None, int]:
    return None, _SMC64 + number


def _both(number: int) -> tuple[int, int]:
    return _SMC32 + number, _SMC64 + number


class Function(Enum):
    """Every function that has a name here; its value is its SMC32 and its SMC64 function ID.

    PSCI functions are in the order of their numbers. Whether one is answered is the profile's business.
    """

    PSCI_VERSION = _smc32(0x00)
    CPU_SUSPEND = _both(0x01)
    CPU_OFF = _smc32(0x02)
    CPU_ON = _both(0x03)
    AFFINITY_INFO = _both(0x04)
    MIGRATE = _both(0x05)
    MIGRATE_INFO_TYPE = _smc32(0x06)
    MIGRATE_INFO_UP_CPU = _both(0x07)
    SYSTEM_OFF = _smc32(0x08)
    SYSTEM_RESET = _smc32(0x09)
    PSCI_FEATURES = _smc32(0x0A)
    CPU_FREEZE = _smc32(0x0B)
    CPU_DEFAULT_SUSPEND = _both(0x0C)
    NODE_HW_STATE = _both(0x0D)
    SYSTEM_SUSPEND = _both(0x0E)
    PSCI_SET_SUSPEND_MODE = _smc32(0x0F)
    PSCI_STAT_RESIDENCY = _both(0x10)
    PSCI_STAT_COUNT = _both(0x11)
    SYSTEM_RESET2 = _both(0x12)
    MEM_PROTECT = _smc32(0x13)
    MEM_PROTECT_CHECK_RANGE = _both(0x14)
    SYSTEM_OFF2 = _both(0x15)
    CLEAN_INV_MEMREGION = _smc64(0x16)
    CLEAN_INV_MEMREGION_ATTRIBUTES = _smc32(0x17)

    SMCCC_VERSION = (0x8000_0000, None)
    SMCCC_ARCH_FEATURES = (0x8000_0001, None)
    SMCCC_ARCH_SOC_ID = (0x8000_0002, None)
    SMCCC_ARCH_WORKAROUND_1 = (0x8000_8000, None)
    SMCCC_ARCH_WORKAROUND_2 = (0x8000_7FFF, None)
    SMCCC_ARCH_WORKAROUND_3 = (0x8000_3FFF, None)

    def __init__(self, smc32: int | None, smc64: int | None) -> None:
        self.smc32 = smc32
        self.smc64 = smc64

    @property
    def is_psci(self) -> bool:
        """Whether this is a PSCI function, and not one of SMCCC."""
        return self.smc64 is not None or (self.smc32 or 0) >= _SMC32


class Form(NamedTuple):
    """One function in one width: what a function ID stands for."""

    function: Function
    width: Width


FORMS: dict[int, Form] = {
    function_id: Form(function, width)
    for function in Function
    for function_id, width in ((function.smc32, Width.SMC32), (function.smc64, Width.SMC64))
    if function_id is not None
}
"""Every known function ID, 32 bits wide."""


def decode(function_id: int) -> Form | None:
    """What the 32-bit ``function_id`` stands for; None if it has no name here."""
    return FORMS.get(function_id)

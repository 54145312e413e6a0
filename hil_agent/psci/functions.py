"""The numbers of PSCI, SMCCC and TRNG: function IDs, widths and return codes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import NamedTuple

from hil_agent.psci.version import V0_2, V1_0, V1_1, V1_3, Version

MASK32 = 0xFFFF_FFFF
MASK64 = 0xFFFF_FFFF_FFFF_FFFF

_SMC32 = 0x8400_0000
_SMC64 = 0xC400_0000


class ReturnCode(IntEnum):
    """What a call answers when its value is a status (Linux, include/uapi/linux/psci.h).

    The last three were in the draft of PSCI 1.3, with CLEAN_INV_MEMREGION.
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


_Numbers = tuple[int | None, int | None, Version | None]


def _smc32(number: int, since: Version | None = None) -> _Numbers:
    return _SMC32 + number, None, since


def _smc64(number: int, since: Version | None = None) -> _Numbers:
    return None, _SMC64 + number, since


def _both(number: int, since: Version | None = None) -> _Numbers:
    return _SMC32 + number, _SMC64 + number, since


class Function(Enum):
    """Every function that has a name here, in the order of their numbers within each service.

    Whether one is answered is the profile's business.

    Attributes:
        smc32: its SMC32 function ID, if it has one.
        smc64: its SMC64 function ID, if it has one.
        since: the version of PSCI that brought it; None if it is not of PSCI.
    """

    PSCI_VERSION = _smc32(0x00, V0_2)
    CPU_SUSPEND = _both(0x01, V0_2)
    CPU_OFF = _smc32(0x02, V0_2)
    CPU_ON = _both(0x03, V0_2)
    AFFINITY_INFO = _both(0x04, V0_2)
    MIGRATE = _both(0x05, V0_2)
    MIGRATE_INFO_TYPE = _smc32(0x06, V0_2)
    MIGRATE_INFO_UP_CPU = _both(0x07, V0_2)
    SYSTEM_OFF = _smc32(0x08, V0_2)
    SYSTEM_RESET = _smc32(0x09, V0_2)
    PSCI_FEATURES = _smc32(0x0A, V1_0)
    CPU_FREEZE = _smc32(0x0B, V1_0)
    CPU_DEFAULT_SUSPEND = _both(0x0C, V1_0)
    NODE_HW_STATE = _both(0x0D, V1_0)
    SYSTEM_SUSPEND = _both(0x0E, V1_0)
    PSCI_SET_SUSPEND_MODE = _smc32(0x0F, V1_0)
    PSCI_STAT_RESIDENCY = _both(0x10, V1_0)
    PSCI_STAT_COUNT = _both(0x11, V1_0)
    SYSTEM_RESET2 = _both(0x12, V1_1)
    MEM_PROTECT = _smc32(0x13, V1_1)
    MEM_PROTECT_CHECK_RANGE = _both(0x14, V1_1)
    SYSTEM_OFF2 = _both(0x15, V1_3)
    CLEAN_INV_MEMREGION = _smc64(0x16, V1_3)
    CLEAN_INV_MEMREGION_ATTRIBUTES = _smc32(0x17, V1_3)

    SMCCC_VERSION = (0x8000_0000, None, None)
    SMCCC_ARCH_FEATURES = (0x8000_0001, None, None)
    SMCCC_ARCH_SOC_ID = (0x8000_0002, None, None)
    SMCCC_ARCH_WORKAROUND_1 = (0x8000_8000, None, None)
    SMCCC_ARCH_WORKAROUND_2 = (0x8000_7FFF, None, None)
    SMCCC_ARCH_WORKAROUND_3 = (0x8000_3FFF, None, None)

    TRNG_VERSION = _smc32(0x50)
    TRNG_FEATURES = _smc32(0x51)
    TRNG_GET_UUID = _smc32(0x52)
    TRNG_RND = _both(0x53)

    STD_CALL_COUNT = _smc32(0xFF00)
    STD_UID = _smc32(0xFF01)
    STD_REVISION = _smc32(0xFF03)
    STD_HYP_CALL_COUNT = (0x8500_FF00, None, None)
    STD_HYP_UID = (0x8500_FF01, None, None)
    STD_HYP_REVISION = (0x8500_FF03, None, None)
    PV_TIME_FEATURES = (None, 0xC500_0020, None)
    VENDOR_HYP_FEATURES = (0x8600_0000, None, None)
    VENDOR_HYP_UID = (0x8600_FF01, None, None)

    def __init__(self, smc32: int | None, smc64: int | None, since: Version | None) -> None:
        self.smc32 = smc32
        self.smc64 = smc64
        self.since = since

    @property
    def is_psci(self) -> bool:
        """Whether this is a PSCI function."""
        return self.since is not None


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

PSCI_0_1_IDS: Mapping[int, Function] = {
    0x95C1_BA5E: Function.CPU_SUSPEND,
    0x95C1_BA5F: Function.CPU_OFF,
    0x95C1_BA60: Function.CPU_ON,
    0x95C1_BA61: Function.MIGRATE,
}
"""PSCI 0.1 has no numbers of its own, its IDs are in the device tree; KVM and QEMU use these."""


def decode(function_id: int) -> Form | None:
    """What the 32-bit ``function_id`` stands for; None if it has no name here."""
    return FORMS.get(function_id)

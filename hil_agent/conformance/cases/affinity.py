"""AFFINITY_INFO: every level; vCPUs that are on, off and absent; bits that are none of an affinity's."""

from __future__ import annotations

from typing import NamedTuple

from hil_agent.conformance.case import Argument, Call, Mpidr, ask
from hil_agent.conformance.function_ids import Id
from hil_agent.conformance.observation import Answer
from hil_agent.psci import ReturnCode

_ON, _OFF = 0, 1
_INVALID = ReturnCode.INVALID_PARAMETERS
_GARBAGE = 0xDEAD_BEEF << 32
_ABSENT, _ABSENT_GROUP = 0x63, 0x6300

_SOURCE = (
    "DEN0022, AFFINITY_INFO; Xen vpsci.c do_psci_0_2_affinity_info (absent: OFF; other bits are masked); "
    "Linux kvm/psci.c kvm_psci_vcpu_affinity_info; QEMU target/arm/psci.c (level 0 only, 64-bit compares); measured"
)


class _Row(NamedTuple):
    """One question and its answers, 32 and 64 bits wide."""

    name: str
    target: Argument
    level: int
    spec: Answer
    by_profile: dict[str, Answer] = {}  # noqa: RUF012 - never changed
    by_profile_64: dict[str, Answer] | None = None
    spec_64: Answer = None
    on: tuple[int, ...] = ()

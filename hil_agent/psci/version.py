"""Versions of PSCI and SMCCC."""

from __future__ import annotations

from typing import NamedTuple

from hil_agent.errors import UsageError


class Version(NamedTuple):
    """A version as PSCI_VERSION and SMCCC_VERSION encode it."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    @property
    def encoded(self) -> int:
        """Major version in bits [31:16], minor in [15:0]."""
        return self.major << 16 | self.minor


V0_1, V0_2 = Version(0, 1), Version(0, 2)
V1_0, V1_1, V1_2, V1_3 = Version(1, 0), Version(1, 1), Version(1, 2), Version(1, 3)

PSCI_VERSIONS = (V0_1, V0_2, V1_0, V1_1, V1_2, V1_3)
"""Every version of PSCI that has been published (DEN0022)."""


def parse_psci_version(text: str) -> Version:
    """The version of PSCI that ``text`` writes, such as ``1.1``.

    Raises:
        UsageError: there is no such version.
    """
    for version in PSCI_VERSIONS:
        if text == str(version):
            return version
    raise UsageError(
        f"there is no PSCI version {text!r}", hint=f"versions: {', '.join(map(str, PSCI_VERSIONS))}"
    )

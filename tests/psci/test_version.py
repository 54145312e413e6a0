from __future__ import annotations

import pytest

from hil_agent.errors import UsageError
from hil_agent.psci.version import PSCI_VERSIONS, Version, parse_psci_version


def test_a_version_is_encoded_in_two_halves() -> None:
    assert Version(1, 3).encoded == 0x10003


@pytest.mark.parametrize("version", PSCI_VERSIONS, ids=str)
def test_a_version_is_read_back_as_it_is_written(version: Version) -> None:
    assert parse_psci_version(str(version)) == version


@pytest.mark.parametrize("text", ["", "1", "1.4", "2.0", "01.1", "1.1 "])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no PSCI version"):
        parse_psci_version(text)

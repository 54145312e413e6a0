from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil_agent.board.size import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"), [("64K", 64 * 1024), ("512M", 512 << 20), ("2G", 2 << 30), ("2GiB", 2 << 30)]
)
def test_a_size_is_a_number_and_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "512", "M", "-1M", "1.5G", "512 M", "512m", "1T", "٣M", "9" * 5000 + "M"]
)
def test_anything_else_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="512M"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=1 << 32))
def test_what_is_formatted_is_parsed_back(kibibytes: int) -> None:
    size = kibibytes << 10
    assert parse_size(format_size(size)) == size


def test_the_largest_unit_that_is_exact_is_taken() -> None:
    assert [format_size(size) for size in (1 << 30, 1536 << 20, 3 << 10)] == ["1G", "1536M", "3K"]

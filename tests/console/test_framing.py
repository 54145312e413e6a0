from __future__ import annotations

import itertools
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil_agent.console.framing import (
    CHUNK_CODES,
    DIGESTS,
    LINE_CODES,
    ChunkCode,
    Digest,
    LineCode,
    MessageFilter,
    cksum,
    intact_lines,
    missing_runs,
)

STAMPS = st.builds(lambda s, us: b"[%5d.%06d] " % (s, us), st.integers(0, 99999), st.integers(0, 999999))
MESSAGES = st.builds(
    lambda stamp, text: stamp + text.encode() + b"\r\n",
    STAMPS,
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=40),
)
BARE_MESSAGES = st.builds(
    lambda words: " ".join(words).encode() + b"\r\n",
    st.lists(st.from_regex(r"\A[a-z0-9:/=+]{1,9}\Z"), min_size=2),
)


SHELLS = [["sh", "-c"], ["busybox", "sh", "-c"]]


def run_shell(shell: list[str], program: str, command: str, data: bytes) -> bytes:
    """What a program of this host, or one of busybox, makes of the data."""
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed")
    if subprocess.run([*shell, f"command -v {program}"], capture_output=True, check=False).returncode:
        pytest.skip(f"{program} is not installed")
    return subprocess.run([*shell, command], input=data, capture_output=True, check=True).stdout


def interleave(text: bytes, insertions: list[tuple[int, bytes]]) -> bytes:
    """Puts messages into the text, each at its position modulo the length."""
    result = b""
    last = 0
    for position, message in sorted((where % (len(text) + 1), message) for where, message in insertions):
        result += text[last:position] + message
        last = position
    return result + text[last:]


def cut(text: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(bounds)]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("code", LINE_CODES, ids=lambda code: code.program)
@pytest.mark.parametrize("size", [1, 16, 17, 45, 57, 1000])
def test_undamaged_lines_give_the_data_back(shell: list[str], code: LineCode, size: int) -> None:
    data = bytes(byte % 256 for byte in range(size))
    lines = intact_lines(run_shell(shell, code.program, f"({code.encode}) | grep -n ''", data), code, size)
    assert b"".join(lines[index] for index in range(code.line_count(size))) == data


BASE64 = LINE_CODES[0]
DATA = bytes(byte * 37 % 256 for byte in range(800))
BLOCK = b"".join(b"%d:%s\r\n" % (number, line) for number, line in enumerate(CHUNK_CODES[0].encode(DATA), 1))


@given(st.lists(st.tuples(st.integers(0, 5000), BARE_MESSAGES), max_size=8))
@settings(max_examples=80)
def test_no_damaged_line_passes_for_a_whole_one(insertions: list[tuple[int, bytes]]) -> None:
    lines = intact_lines(interleave(BLOCK, insertions), BASE64, len(DATA))
    assert all(line == DATA[index * 57 : (index + 1) * 57] for index, line in lines.items())


@given(st.integers(0, 5000), BARE_MESSAGES)
@settings(max_examples=80)
def test_one_message_damages_one_line_at_most(position: int, message: bytes) -> None:
    lines = intact_lines(interleave(BLOCK, [(position, message)]), BASE64, len(DATA))
    assert len(lines) >= BASE64.line_count(len(DATA)) - 1


@given(st.binary(max_size=300), st.integers(0, 100000))
def test_hostile_text_is_no_error(text: bytes, size: int) -> None:
    lines = intact_lines(text, BASE64, size)
    assert all(0 <= index < BASE64.line_count(size) for index in lines)


@given(st.sets(st.integers(0, 199)), st.integers(0, 200))
def test_the_runs_hold_all_missing_lines(have: set[int], count: int) -> None:
    asked = {index for first, number in missing_runs(have, count) for index in range(first, first + number)}
    assert set(range(count)) - have <= asked <= set(range(count))


def test_far_gaps_are_asked_for_apart() -> None:
    assert list(missing_runs(set(range(100)) - {3, 5, 90}, 100)) == [(3, 3), (90, 1)]


@given(
    st.lists(st.tuples(st.integers(0, 5000), MESSAGES), max_size=8),
    st.lists(st.integers(0, 5000), max_size=6),
)
@settings(max_examples=80)
def test_stamped_messages_vanish_from_a_stream(
    insertions: list[tuple[int, bytes]], places: list[int]
) -> None:
    messages = MessageFilter()
    assert b"".join(messages.feed(piece) for piece in cut(interleave(BLOCK, insertions), places)) == BLOCK


@pytest.mark.parametrize("text", [b"~ # \x1b[6n", b"[1;31mred", b"[x]", b"a[0]"])
def test_other_brackets_pass_the_filter(text: bytes) -> None:
    assert MessageFilter().feed(text + b"\n") == text + b"\n"


def test_an_unfinished_message_is_not_held_without_bound() -> None:
    messages = MessageFilter()
    passed = sum(len(messages.feed(b"[    1.000000] " + b"x" * 1000)) for _ in range(100))
    assert passed > 90_000


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("code", CHUNK_CODES, ids=lambda code: code.program)
@pytest.mark.parametrize("size", [0, 1, 200, 201, 2000])
def test_a_shell_decodes_chunks(shell: list[str], code: ChunkCode, size: int) -> None:
    data = bytes(byte % 256 for byte in range(size))
    assert (
        run_shell(shell, code.program, code.decode, b"".join(line + b"\n" for line in code.encode(data)))
        == data
    )


@given(st.binary(max_size=3000))
def test_chunk_lines_fit_a_terminal(data: bytes) -> None:
    assert all(len(line) < 1000 for code in CHUNK_CODES for line in code.encode(data))


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("digest", DIGESTS, ids=lambda digest: digest.program)
@pytest.mark.parametrize("data", [b"", b"a", b"\0" * 300, bytes(range(256)) * 300])
def test_digests_are_those_of_the_programs(shell: list[str], digest: Digest, data: bytes) -> None:
    assert digest.of(data) == run_shell(shell, digest.program, digest.program, data).split()[0].decode()


def test_cksum_of_nothing() -> None:
    assert cksum(b"") == 4294967295

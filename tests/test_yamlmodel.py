from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from hil_agent.errors import FileError
from hil_agent.yamlmodel import MAX_FILE_SIZE, YamlDocument, load_yaml_model


class Cpu(BaseModel):
    model_config = ConfigDict(extra="forbid")
    model: str
    count: int = 1


class Board(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    cpus: list[Cpu]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "board.yaml"


def failure(file: Path, text: str | bytes) -> FileError:
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(FileError) as caught:
        load_yaml_model(file, Board)
    return caught.value


def test_a_good_file_becomes_a_model(file: Path) -> None:
    file.write_text("name: virt\ncpus:\n  - model: cortex-a57\n    count: 4\n")
    assert load_yaml_model(file, Board) == Board(name="virt", cpus=[Cpu(model="cortex-a57", count=4)])


def test_a_wrong_value_is_named_by_file_line_and_field(file: Path) -> None:
    error = failure(file, "name: virt\ncpus:\n  - model: a57\n  - model: a53\n    count: many\n")
    assert (error.path, error.line, error.field) == (file, 5, "cpus.1.count")
    assert "many" in error.message


def test_an_unknown_field_is_named_where_it_stands(file: Path) -> None:
    error = failure(file, "name: virt\nmemry: 1\ncpus: []\n")
    assert (error.line, error.field) == (2, "memry")
    assert "no such field" in error.message


def test_a_missing_field_is_named_where_its_parent_stands(file: Path) -> None:
    error = failure(file, "name: virt\ncpus:\n  - count: 1\n")
    assert (error.line, error.field) == (3, "cpus.0.model")


def test_a_misspelt_field_is_named_before_the_one_that_is_missing_for_it(file: Path) -> None:
    error = failure(file, "cpus: []\nnam: virt\n")
    assert (error.line, error.field) == (2, "nam")


def test_further_errors_follow_in_the_hint(file: Path) -> None:
    error = failure(file, "cpus: []\nname: [1]\nodd: 1\n")
    assert error.line == 2
    assert error.hint is not None
    assert "line 3: odd" in error.hint


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("name: a\nname: b\n", 2, "twice"),
        ("name: &a x\ncpus: *a\n", 2, "alias"),
        ("? [b]\n: c\n", 1, "name must be text"),
        ("name: [a\n", 2, "expected"),
        ("name: !!python/object:os.system x\n", 1, "constructor"),
    ],
)
def test_bad_yaml_is_named_by_line(file: Path, text: str, line: int, words: str) -> None:
    error = failure(file, text)
    assert error.line == line
    assert words in error.message


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"- a\n",
        b"word",
        b"\x00\xff\xfe\x01",
        b"[" * 5000,
        b"date: 2026-99-99\n",
        b"a" * (MAX_FILE_SIZE + 1),
    ],
    ids=["empty", "list", "scalar", "binary", "deep", "no-date", "large"],
)
def test_what_is_no_mapping_is_refused(file: Path, content: bytes) -> None:
    failure(file, content)


def test_a_directory_and_an_absent_file_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.yaml"):
        with pytest.raises(FileError, match="cannot be read"):
            load_yaml_model(path, Board)


def test_a_check_of_ones_own_names_the_line_too(file: Path) -> None:
    file.write_text("name: virt\ncpus: []\n")
    error = YamlDocument.read(file).error("at least one CPU", "cpus")
    assert (error.line, error.field) == (2, "cpus")


@given(st.binary(max_size=200))
def test_no_content_gives_anything_but_a_file_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(content)
    with suppress(FileError):
        load_yaml_model(file, Board)

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hil_agent.cli.guest import guest
from hil_agent.cli.output import run


@pytest.fixture(autouse=True)
def own_guests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's own guests, with a broken one; the cache is empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "hil-agent" / "guest_images"
    (folder / "broken").mkdir(parents=True)
    (folder / "broken" / "guest.yaml").write_text("description: x\nkernl: linux\n")
    return folder


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """All that a command prints; it must succeed."""
    assert run(guest, arguments) == 0
    return capsys.readouterr().out


def test_the_list_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert "linux-minimal  no     Debian's arm64 kernel" in printed(capsys, "list")


def test_a_broken_guest_is_listed_with_its_error(capsys: pytest.CaptureFixture[str]) -> None:
    guests = {row["name"]: row for row in json.loads(printed(capsys, "list", "--json"))}
    assert guests["linux-minimal"]["error"] is None
    assert "guest.yaml:2: kernl: there is no such field" in guests["broken"]["error"]


def test_a_guest_that_is_not_made_yet_is_shown_with_the_way_to_make_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "hil-agent guest build linux-minimal" in printed(capsys, "show", "linux-minimal")
    assert json.loads(printed(capsys, "show", "linux-minimal", "--json"))["image"] is None


@pytest.mark.parametrize("command", ["show", "build"])
@pytest.mark.parametrize(("name", "status"), [("nowhere", 4), ("broken", 2)])
def test_a_guest_that_cannot_be_had_gives_its_status(
    command: str, name: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(guest, [command, name]) == status
    assert capsys.readouterr().out == ""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from hil_agent import resources
from hil_agent.errors import HostError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_the_users_own_boards_come_before_those_that_came_along(home: Path) -> None:
    own, shipped = resources.board_folders()
    assert own == home / ".config/hil-agent/boards"
    assert (shipped / "qemu-virt.yaml").is_file()


def test_the_config_folder_can_be_moved(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "etc"))
    assert resources.board_folders()[0] == home / "etc/hil-agent/boards"


def test_a_relative_base_directory_is_ignored(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert resources.cache_folder() == home / ".cache/hil-agent"


def test_a_wheel_has_its_boards_inside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(resources, "_WHEEL_DATA", tmp_path)
    assert resources.board_folders()[1] == tmp_path / "boards"
    assert not resources.is_checkout()


def test_the_cache_folder_is_created_for_its_user_alone(home: Path) -> None:
    assert mode(resources.cache_folder()) == 0o700


def test_a_cache_folder_that_cannot_be_created_is_named(home: Path) -> None:
    (home / ".cache").write_text("in the way")
    with pytest.raises(HostError, match=r"\.cache"):
        resources.cache_folder()


def test_sessions_live_in_the_logins_runtime_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    assert resources.runtime_folder() == home / "hil-agent"


def test_without_a_login_sessions_live_in_the_state_folder(home: Path) -> None:
    folder = resources.runtime_folder()
    assert folder == home / ".local/state/hil-agent/run"
    assert mode(folder) == 0o700


def test_a_runtime_folder_that_is_gone_is_not_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "gone"))
    assert resources.runtime_folder() == home / ".local/state/hil-agent/run"


def test_a_session_folder_open_to_others_is_closed(home: Path) -> None:
    resources.runtime_folder().chmod(0o755)
    assert mode(resources.runtime_folder()) == 0o700


def test_a_session_folder_that_leads_elsewhere_is_refused(home: Path) -> None:
    folder = resources.runtime_folder()
    folder.rename(home / "elsewhere")
    folder.symlink_to(home / "elsewhere")
    with pytest.raises(HostError, match="not a folder of this user"):
        resources.runtime_folder()

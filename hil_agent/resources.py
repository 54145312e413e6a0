"""Where things are on this host: boards and guest images, the cache, the folders of live sessions.

What comes with hil_agent lies in the top-level folders of a checkout, and in ``hil_agent/data`` of an
installed wheel. A user's own files, found first, follow the XDG base directory specification.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hil_agent.errors import HostError

_PACKAGE = Path(__file__).parent
_WHEEL_DATA = _PACKAGE / "data"


def is_checkout() -> bool:
    """Whether this runs from a checkout; if not, a wheel has everything built in."""
    return not _WHEEL_DATA.is_dir()


def board_folders() -> tuple[Path, ...]:
    """Folders with board files, the user's own first: its files hide ours of the same name."""
    return _own("boards"), _shipped("boards")


def guest_image_folders() -> tuple[Path, ...]:
    """Folders with one folder per guest recipe, the user's own first."""
    return _own("guest_images"), _shipped("guest_images")


def cache_folder() -> Path:
    """The folder for what can be made again at any time; created if need be.

    Raises:
        HostError: it cannot be created.
    """
    return _create_private(_xdg("XDG_CACHE_HOME", ".cache") / "hil-agent")


def runtime_folder() -> Path:
    """The folder that holds one folder per live session; created if need be, open to its user alone.

    ``XDG_RUNTIME_DIR`` where the login gives one; else a place that outlives the login.

    Raises:
        HostError: it cannot be created, or belongs to another user.
    """
    login = os.environ.get("XDG_RUNTIME_DIR", "")
    if Path(login).is_absolute() and Path(login).is_dir():
        folder = Path(login) / "hil-agent"
    else:
        folder = _xdg("XDG_STATE_HOME", ".local/state") / "hil-agent" / "run"
    _create_private(folder)
    _keep_private(folder)
    return folder


def _own(name: str) -> Path:
    return _xdg("XDG_CONFIG_HOME", ".config") / "hil-agent" / name


def _shipped(name: str) -> Path:
    return (_PACKAGE.parent if is_checkout() else _WHEEL_DATA) / name


def _xdg(variable: str, default: str) -> Path:
    """A base directory; the specification has relative values ignored."""
    value = Path(os.environ.get(variable, ""))
    return value if value.is_absolute() else Path.home() / default


def _create_private(folder: Path) -> Path:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise HostError(
            f"cannot create {folder}: {error.strerror}",
            hint="make it writable, or point the XDG_* variables to a folder that is",
        ) from error
    return folder


def _keep_private(folder: Path) -> None:
    """Sockets in this folder control guests: nobody else may come near them."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise HostError(f"{folder} is not a folder of this user", hint=f"remove it: rm -r {folder}")
    if stat.S_IMODE(status.st_mode) != stat.S_IRWXU:
        folder.chmod(stat.S_IRWXU)

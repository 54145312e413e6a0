"""Installs Debian packages on this host with apt-get, as root or through sudo."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence

from hil_agent.errors import HostError
from hil_agent.host import install_command

Progress = Callable[[str, float], None]
"""Told what apt is doing, and how far it has come, in percent."""

_OPTIONS = (
    "-qq",
    "--yes",
    "--no-install-recommends",
    "-oAPT::Status-Fd=3",  # progress, in lines that programs can read
    "-oDpkg::Use-Pty=0",
    "-oDPkg::Lock::Timeout=300",  # seconds that another apt may take
)
# The status needs a descriptor of its own: apt closes it for the packages' scripts, which want their standard
# output. It is opened behind sudo, which passes on the standard three only.
_APT_GET = ("sh", "-c", 'exec env DEBIAN_FRONTEND=noninteractive apt-get "$@" 3>&1', "apt-get", *_OPTIONS)
_STATUS = re.compile(r"(?:dl|pm)status:[^:]*:(\d+(?:\.\d+)?):(.*)")
_LINES_KEPT = 20


def install(packages: Sequence[str], progress: Progress) -> None:
    """Installs packages; the lists of packages are fetched again only if it fails without.

    Raises:
        HostError: no right to do so, or apt-get failed: the hint is the command, or what apt-get said.
    """
    prefix = [*_root_prefix(packages), *_APT_GET]
    if _run([*prefix, "install", *packages], progress) is None:
        return
    # An update also fails for one broken source among many: whether it helped is for the install to say.
    update = _run([*prefix, "update"], progress)
    failure = _run([*prefix, "install", *packages], progress)
    if failure is not None:
        said = "\n  ".join(filter(None, [update, failure]))
        raise HostError(f"apt-get could not install {' '.join(packages)}", hint=said)


def parse_status(line: str) -> tuple[str, float] | None:
    """What apt is doing and its percentage, of a line of APT::Status-Fd; None for any other line."""
    match = _STATUS.match(line)
    return (match[2].strip(), float(match[1])) if match else None


def _root_prefix(packages: Sequence[str]) -> Sequence[str]:
    """What a command must begin with to be run as root."""
    if os.geteuid() == 0:
        return ()
    if sudo := shutil.which("sudo"):
        asks_nothing = subprocess.run(
            [sudo, "-n", "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if asks_nothing.returncode == 0:
            return sudo, "-n"
        if sys.stdin.isatty():
            return (sudo,)
    raise HostError(
        f"only root can install {' '.join(packages)}",
        hint=f"run as root, or with sudo: {install_command(packages)}",
    )


def _run(command: Sequence[str], progress: Progress) -> str | None:
    """Runs apt-get; the end of what it said if it failed, None if not."""
    said: deque[str] = deque(maxlen=_LINES_KEPT)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            if status := parse_status(line):
                progress(*status)
            else:
                said.append(line.rstrip())
    return None if process.returncode == 0 else "\n  ".join(said)

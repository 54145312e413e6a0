"""What this host must have: programs, folders, space.

The programs that hil_agent starts are data here: what each is for, and the Debian packages that bring
it. :func:`require` serves those who start one; :func:`check_host` looks at everything, for
``hil-agent doctor``.
"""

from __future__ import annotations

import platform
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from hil_agent.errors import HostError
from hil_agent.resources import cache_folder, is_checkout, runtime_folder

MINIMUM_QEMU = (7, 0)
"""Debian 12 has 7.2; nothing older was tried."""

_MIB = 1 << 20
_CACHE_SPACE = 512 * _MIB
_RUNTIME_SPACE = 32 * _MIB
_VERSION_TIMEOUT_S = 10.0
_VERSION = re.compile(r"version (\d+)\.(\d+)(\.\d+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Program:
    """A program that hil_agent starts.

    Attributes:
        packages: the Debian packages that bring it; none where only another host would have it.
        minimum: the oldest version that will do, if it matters.
        checkout_only: whether an installed wheel can do without it.
    """

    name: str
    purpose: str
    packages: tuple[str, ...] = ()
    minimum: tuple[int, int] | None = None
    checkout_only: bool = False


PROGRAMS = (
    # ipxe-qemu: without its option ROM QEMU refuses a virtio network card on PCI.
    Program("qemu-system-aarch64", "runs guests", ("qemu-system-arm", "ipxe-qemu"), MINIMUM_QEMU),
    Program("gdb-multiarch", "debugs guests", ("gdb-multiarch",)),
    Program("aarch64-linux-gnu-as", "assembles", ("binutils-aarch64-linux-gnu",), checkout_only=True),
    Program("aarch64-linux-gnu-ld", "links", ("binutils-aarch64-linux-gnu",), checkout_only=True),
    Program("gdbserver", "tests our GDB protocol client", ("gdbserver",), checkout_only=True),
    Program("lldb", "tests our GDB stub", ("lldb",), checkout_only=True),
    Program("busybox", "tests consoles and archives", ("busybox-static",), checkout_only=True),
    Program("dtc", "tests device trees", ("device-tree-compiler",), checkout_only=True),
    Program("setpriv", "ends QEMU with its session", ("util-linux",)),
    Program("apt-get", "fetches Debian packages for guest images"),
    Program("dpkg-deb", "unpacks them"),
)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the host has or lacks.

    Attributes:
        found: what there is, a path or a version; empty if nothing.
        problem: what is wrong; empty if nothing.
        remedy: what to do about it; empty if the packages say it all.
        packages: the Debian packages that mend it.
    """

    name: str
    purpose: str
    found: str
    problem: str = ""
    remedy: str = ""
    packages: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problem


def require(name: str) -> Path:
    """The path of a program that is about to be started.

    Args:
        name: to be found in PATH, or a path.

    Raises:
        HostError: it is not there; the hint has the command that installs it.
    """
    if path := shutil.which(name):
        return Path(path)
    known = next((program for program in PROGRAMS if program.name == name), None)
    hint = f"install it: {install_command(known.packages)}" if known and known.packages else None
    raise HostError(f"this host has no program {name}", hint=hint)


def check_host() -> list[Check]:
    """Looks at all that hil_agent needs here."""
    programs = [program for program in PROGRAMS if is_checkout() or not program.checkout_only]
    return [
        Check("python", "runs hil_agent", platform.python_version()),
        *map(check_program, programs),
        _check_folder("cache folder", "holds guest images", cache_folder, _CACHE_SPACE),
        _check_folder("session folder", "holds live sessions", runtime_folder, _RUNTIME_SPACE),
    ]


def check_program(program: Program) -> Check:
    """Looks for a program, and at its version where that matters."""
    found, problem = _find(program)
    if not problem:
        return Check(program.name, program.purpose, found)
    remedy = "" if program.packages else "only a Debian host has it: give --kernel and --initrd elsewhere"
    return Check(program.name, program.purpose, found, problem, remedy, program.packages)


def _find(program: Program) -> tuple[str, str]:
    """What there is of a program, and what is wrong with that."""
    path = shutil.which(program.name)
    if path is None:
        return "", "not found"
    if program.minimum is None:
        return path, ""
    try:
        version = read_version(path)
    except HostError as error:
        return path, error.message
    found = f"{path} {version[0]}.{version[1]}"
    if version < program.minimum:
        return found, f"too old: {program.minimum[0]}.{program.minimum[1]} is the oldest that will do"
    return found, ""


def read_version(path: str) -> tuple[int, int]:
    """Major and minor version that a program tells with ``--version``.

    Raises:
        HostError: it cannot be run, or says none.
    """
    try:
        said = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"{path} cannot be run: {error}") from error
    match = _VERSION.search(said.stdout)
    if match is None:
        raise HostError(f"{path} does not say which version it is")
    return int(match[1]), int(match[2])


def install_command(packages: Iterable[str]) -> str:
    """The command that installs Debian packages, for a person to run."""
    return shlex.join(["sudo", "apt-get", "install", "--no-install-recommends", *packages])


def _check_folder(name: str, purpose: str, locate: Callable[[], Path], space: int) -> Check:
    try:
        folder = locate()
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except HostError as error:
        return Check(name, purpose, "", error.message, error.hint or "")
    except OSError as error:
        return Check(name, purpose, str(folder), f"not writable: {error.strerror}", f"make {folder} writable")
    if free < space:
        return Check(
            name,
            purpose,
            str(folder),
            f"{free // _MIB} MiB free",
            f"have {space // _MIB} MiB free on its disk",
        )
    return Check(name, purpose, str(folder))

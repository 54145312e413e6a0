"""Debian's arm64 packages on any Debian host: fetched by the host's own apt, without root.

apt runs with lists and archives of its own below a folder of ours, so nothing of the host's package
state is read or changed; the host's sources, proxies and keyrings are used as they are. What apt
checks when it fetches, a package's hash against the signed lists, is checked here again when a package
is used, as it may have been in the cache for long.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from hil_agent.errors import HostError

Progress = Callable[[str, float | None], None]
"""Told what is being done, and how far it is from 0 to 1 where that is known."""

# The host's configuration is read first; this undoes what is meant for its own package state:
# hooks after an update (they may need root, or clean the host's archives), further indexes.
_CONFIGURATION = """\
#clear APT::Architectures;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb;
#clear Acquire::IndexTargets::deb-src;
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "root";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Acquire::IndexTargets::deb::Packages {
  MetaKey "$(COMPONENT)/binary-$(ARCHITECTURE)/Packages";
  flatMetaKey "Packages";
  ShortDescription "Packages";
  Description "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Packages";
  flatDescription "$(RELEASE) Packages";
  Optional "false";
};
"""

_FETCHED = re.compile(
    r"'[^']*' (?P<file>(?P<name>[^_ /]+)_(?P<version>[^_ /]+)_[^_ /]+\.deb) \d+ SHA256:(?P<sha256>\w+)"
)
_STATUS = re.compile(r"dlstatus:\d+:(?P<percent>[\d.]+):")


@dataclass(frozen=True, slots=True)
class Package:
    """A binary package that was fetched and verified."""

    name: str
    version: str
    sha256: str
    path: Path


class Apt:
    """The host's apt, looking at arm64 packages. One at a time may use a folder."""

    def __init__(self, folder: Path) -> None:
        self._archives = folder.absolute() / "archives"
        state = folder.absolute() / "state"
        for path in (self._archives / "partial", state / "lists" / "partial"):
            path.mkdir(parents=True, exist_ok=True)
        configuration, status = state / "apt.conf", state / "status"
        configuration.write_text(_CONFIGURATION)
        status.touch()
        self._trouble = ""
        options = {"Dir::State": state, "Dir::State::status": status, "Dir::Cache": folder.absolute()}
        self._options = [
            "-c",
            str(configuration),
            *(word for name, value in options.items() for word in ("-o", f"{name}={value}")),
        ]

    def update(self, progress: Progress) -> None:
        """Reads the package lists anew, and drops archives that the lists no longer name.

        A source that fails is none of our business as long as the packages are found elsewhere: the
        host may have sources of third parties that know no arm64. So failures are reported only when
        a package is not found.
        """
        _, self._trouble = self._get(["update"], "reading Debian's package lists", progress)
        self._get(["autoclean"], "reading Debian's package lists", progress)

    def concrete(self, name: str) -> str:
        """The kernel image that the metapackage ``name`` depends on; ``name`` itself if it is none.

        Raises:
            HostError: apt knows no such arm64 package.
        """
        answer = _run(["apt-cache", *self._options, "show", "--no-all-versions", name])
        if answer.returncode or not answer.stdout:
            raise HostError(
                f"apt finds no arm64 package {name}{_reason(self._trouble or answer.stderr)}",
                hint="check the network, and that the host's apt sources hold a Debian release",
            )
        depends = re.search(r"^Depends:.*?\b(linux-image-[^\s,(|]+)", answer.stdout, re.MULTILINE)
        return depends[1] if depends else name

    def download(self, names: Sequence[str], progress: Progress) -> list[Package]:
        """Fetches packages, in the order of ``names``; those that are already here are not fetched again.

        Raises:
            HostError: apt could not find or fetch one, or its hash was wrong.
        """
        described = _run(["apt-get", *self._options, "download", "--print-uris", *names])
        status, errors = self._get(["download", *names], f"fetching {', '.join(names)}", progress)
        if described.returncode or status:
            raise HostError(
                f"apt could not fetch {', '.join(names)}{_reason(described.stderr or errors)}",
                hint="check the network, the host's apt sources and the space on its disk",
            )
        packages = {
            match["name"]: Package(
                match["name"], unquote(match["version"]), match["sha256"], self._archives / match["file"]
            )
            for match in _FETCHED.finditer(described.stdout)
        }
        if virtual := set(names) - set(packages):
            raise HostError(f"apt has no arm64 package of exactly that name: {', '.join(virtual)}")
        for package in packages.values():
            _verify(package)
        return [packages[name] for name in names]

    def _get(self, arguments: Sequence[str], doing: str, progress: Progress) -> tuple[int, str]:
        """Runs ``apt-get`` and passes on how far it is; returns its exit status and its errors."""
        progress(doing, None)
        reader, writer = os.pipe()
        with os.fdopen(reader, errors="replace") as status, tempfile.TemporaryFile() as errors:
            command = ["apt-get", *self._options, "-q", "-o", f"APT::Status-Fd={writer}", *arguments]
            try:
                process = subprocess.Popen(
                    command,
                    cwd=self._archives,
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    pass_fds=[writer],
                )
            except FileNotFoundError as error:
                raise _no_apt("apt-get") from error
            finally:
                os.close(writer)
            with process:
                for line in status:
                    if match := _STATUS.match(line):
                        progress(doing, float(match["percent"]) / 100)
            errors.seek(0)
            return process.returncode, errors.read().decode(errors="replace")


@contextmanager
def contents(package: Package) -> Iterator[tarfile.TarFile]:
    """The files of a package, to read by name. Nothing of it is unpacked into the file system.

    Raises:
        HostError: ``dpkg-deb`` is missing, or it cannot read the package.
    """
    with tempfile.TemporaryFile(dir=package.path.parent) as unpacked:
        try:
            subprocess.run(
                ["dpkg-deb", "--fsys-tarfile", str(package.path)],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=unpacked,
                stderr=subprocess.PIPE,
                env=_environment(),
                text=True,
                errors="replace",
            )
        except FileNotFoundError as error:
            raise _no_apt("dpkg-deb") from error
        except subprocess.CalledProcessError as error:
            raise HostError(f"{package.path} cannot be unpacked{_reason(error.stderr)}") from error
        unpacked.seek(0)
        with tarfile.open(package.path.name, "r:", unpacked) as tar:
            yield tar


def read_member(package: tarfile.TarFile, pattern: str) -> bytes:
    """The one regular file whose path matches ``pattern``, with or without a leading ``usr/``.

    Debian moves files from ``/bin`` and ``/lib`` to below ``/usr`` from one release to the next.

    Raises:
        HostError: there is no such file, or more than one.
    """
    path = re.compile(rf"(?:\./)?(?:usr/)?{pattern}")
    members = [member for member in package if member.isreg() and path.fullmatch(member.name)]
    stream = package.extractfile(members[0]) if len(members) == 1 else None
    if stream is None:
        raise HostError(f"{len(members)} files of a package match {pattern}, where one must")
    return stream.read()


def _verify(package: Package) -> None:
    """Apt takes a file that is already there for the package if its size is right."""
    with package.path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != package.sha256:
        package.path.unlink()
        raise HostError(f"{package.path} was damaged, and is removed", hint="try again: it is fetched anew")


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=_environment(),
            text=True,
            errors="replace",
        )
    except FileNotFoundError as error:
        raise _no_apt(command[0]) from error


def _environment() -> dict[str, str]:
    return os.environ | {"LC_ALL": "C.UTF-8"}


def _no_apt(program: str) -> HostError:
    return HostError(
        f"there is no {program} here: guest images are made from Debian packages",
        hint="build on a Debian host, or boot a kernel and an initramfs of your own (--kernel, --initrd)",
    )


def _reason(errors: str) -> str:
    """What apt or dpkg gave as its first reasons, on one line, to put behind a message."""
    lines = errors.splitlines()
    reasons = [line[3:] for letter in "EW" for line in lines if line.startswith(f"{letter}: ")] or lines
    return f": {'; '.join(reasons[:3])[:400]}" if reasons else ""

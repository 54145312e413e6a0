"""The guests that hil_agent knows how to make: one folder each, with a ``guest.yaml``.

Of a Linux, the folder's ``root`` holds the files that go into the initramfs as they are, ``init`` among
them. Of a bare-metal guest, the folder holds its assembly source.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hil_agent import resources
from hil_agent.errors import FileError, NotFoundError
from hil_agent.yamlmodel import YamlDocument

_FORMAT = b"1"
"""Part of every fingerprint: raise it when the same recipe is to give another image."""

_DESCRIPTION = "guest.yaml"


def _regular_expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return text


def _inside(path: str) -> str:
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError("must be a plain path, relative to the root of the guest")
    return path


PackageName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+.-]+$")]
"""As Debian Policy, section 5.6.1, has it."""


class PackageFiles(BaseModel):
    """Files taken out of one Debian package."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: PackageName = Field(description="Name of the Debian package")
    files: tuple[Annotated[str, AfterValidator(_inside)], ...] = Field(
        description="Files of the package, relative to /; in the guest they are at the same place"
    )


ReadyExpression = Annotated[
    str,
    AfterValidator(_regular_expression),
    Field(description="Regular expression of the line on the console that says: the guest is up"),
]


class LinuxDescription(BaseModel):
    """What the ``guest.yaml`` of a Linux says: a kernel and what is in its initramfs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = Field(description="What this guest is and is good for, on one line")
    kernel: PackageName = Field(description="Debian package of the kernel, or the metapackage that names it")
    packages: tuple[PackageFiles, ...] = Field(default=(), description="Further Debian packages")
    modules: tuple[str, ...] = Field(
        default=(), description="Kernel modules to put in; those that they depend on come along"
    )
    ready: ReadyExpression
    prompt: str = Field(min_length=1, description="The shell's prompt, as it stands on the console")
    command_line: str = Field(description="Kernel command line")
    symbols: Path | None = Field(
        default=None,
        description="The kernel's vmlinux, for debuggers, relative to the recipe's folder; without one, "
        "symbols are recovered from the kernel",
    )


class AssembledDescription(BaseModel):
    """What the ``guest.yaml`` of a bare-metal guest says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = Field(description="What this guest is and is good for, on one line")
    assembly: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="Its source, for the GNU assembler; it starts at the label `entry`",
    )
    ready: ReadyExpression
    command_line: str = Field(default="", description="Passed in the device tree")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one guest is made.

    Attributes:
        name: Name of its folder.
        folder: Where the recipe is.
        description: What its ``guest.yaml`` says.
        files: What of the folder goes into the image, by path: a Linux's ``root``, or assembly source.
    """

    name: str
    folder: Path
    description: LinuxDescription | AssembledDescription
    files: dict[str, bytes]

    @classmethod
    def read(cls, folder: Path) -> Recipe:
        """Reads a recipe.

        Raises:
            FileError: a part is missing, unreadable, or not as it must be.
        """
        document = YamlDocument.read(folder / _DESCRIPTION)
        if "assembly" in document.data:
            assembled = document.validate(AssembledDescription)
            return cls(folder.name, folder, assembled, _read(folder, [folder / assembled.assembly]))
        description = document.validate(LinuxDescription)
        root = folder / "root"
        files = _read(root, (path for path in sorted(root.rglob("*")) if path.is_file()))
        if "init" not in files:
            raise FileError("is missing; the kernel starts it as the first process", path=root / "init")
        return cls(folder.name, folder, description, files)

    @property
    def symbols(self) -> Path | None:
        """The kernel's vmlinux, if the recipe names one."""
        named = self.description.symbols if isinstance(self.description, LinuxDescription) else None
        return None if named is None else self.folder.absolute() / named

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change when the recipe does."""
        digest = hashlib.sha256(_FORMAT)
        parts = [self.description.model_dump_json(exclude={"symbols"}).encode()]  # these do not go into it
        for path, data in self.files.items():
            parts += [path.encode(), data]
        for part in parts:
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.hexdigest()[:16]


def _read(top: Path, paths: Iterable[Path]) -> dict[str, bytes]:
    try:
        return {path.relative_to(top).as_posix(): path.read_bytes() for path in paths}
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", path=error.filename or top) from error


def folders() -> dict[str, Path]:
    """The folders of all recipes, by name; a user's own hide ours of the same name."""
    found = {
        path.parent.name: path.parent
        for folder in reversed(resources.guest_image_folders())
        for path in folder.glob(f"*/{_DESCRIPTION}")
    }
    return dict(sorted(found.items()))


def find(name: str) -> Recipe:
    """The recipe called ``name``.

    Raises:
        NotFoundError: there is none of that name.
        FileError: it is broken.
    """
    known = folders()
    if name not in known:
        raise NotFoundError(f"no guest is called {name!r}", hint=f"known: {', '.join(known)}")
    return Recipe.read(known[name])

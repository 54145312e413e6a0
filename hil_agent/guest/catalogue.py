"""The guests that hil_agent knows how to make: one folder each, with ``guest.yaml`` and ``root``.

``root`` holds the files that go into the initramfs as they are, ``init`` among them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hil_agent import resources
from hil_agent.errors import FileError, NotFoundError
from hil_agent.yamlmodel import load_yaml_model

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


class Description(BaseModel):
    """What a ``guest.yaml`` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = Field(description="What this guest is and is good for, on one line")
    kernel: PackageName = Field(description="Debian package of the kernel, or the metapackage that names it")
    packages: tuple[PackageFiles, ...] = Field(default=(), description="Further Debian packages")
    modules: tuple[str, ...] = Field(
        default=(), description="Kernel modules to put in; those that they depend on come along"
    )
    ready: Annotated[str, AfterValidator(_regular_expression)] = Field(
        description="Regular expression of the line on the console that says: the guest is up"
    )
    prompt: str = Field(min_length=1, description="The shell's prompt, as it stands on the console")
    command_line: str = Field(description="Kernel command line")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one guest is made.

    Attributes:
        name: Name of its folder.
        folder: Where the recipe is.
        description: What its ``guest.yaml`` says.
        root: The files that go into the initramfs as they are, by their path in it.
    """

    name: str
    folder: Path
    description: Description
    root: dict[str, bytes]

    @classmethod
    def read(cls, folder: Path) -> Recipe:
        """Reads a recipe.

        Raises:
            FileError: a part is missing, unreadable, or not as it must be.
        """
        description = load_yaml_model(folder / _DESCRIPTION, Description)
        top = folder / "root"
        try:
            root = {
                path.relative_to(top).as_posix(): path.read_bytes()
                for path in sorted(top.rglob("*"))
                if path.is_file()
            }
        except OSError as error:
            raise FileError(f"cannot be read: {error.strerror}", path=error.filename or top) from error
        if "init" not in root:
            raise FileError("is missing; the kernel starts it as the first process", path=top / "init")
        return cls(folder.name, folder, description, root)

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change when the recipe does."""
        digest = hashlib.sha256(_FORMAT)
        parts = [self.description.model_dump_json().encode()]
        for path, data in self.root.items():
            parts += [path.encode(), data]
        for part in parts:
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.hexdigest()[:16]


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

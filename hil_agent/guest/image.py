"""Guest images: made once from a recipe, then found in the user's cache.

A finished image is a folder that appears in one step and is never changed::

    guests/NAME/FINGERPRINT/  kernel  initramfs  manifest.json

The fingerprint is the recipe's, so a changed recipe is another image. Package versions are not part
of it: a refresh takes the newest and replaces the folder. A bare-metal guest is assembled, or comes
assembled in the wheel; its initramfs is empty.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from hil_agent import resources
from hil_agent.errors import FileError, HostError
from hil_agent.guest import cpio, modules
from hil_agent.guest.catalogue import AssembledDescription, LinuxDescription, Recipe
from hil_agent.guest.debian import Apt, Package, Progress, contents, read_member
from hil_agent.host import require
from hil_agent.trap.build import ASSEMBLER, GUEST_ADDRESS, LINKER, AssemblyError, assemble

_DIRECTORIES = ("dev", "proc", "sys", "tmp", "root", "bin", "sbin", "usr/bin", "usr/sbin")
_UNFINISHED = ".unfinished-"


class Input(BaseModel):
    """A Debian package that went into an image."""

    model_config = ConfigDict(frozen=True)

    package: str
    version: str
    sha256: str


class Output(BaseModel):
    """A file of an image; its size in bytes."""

    model_config = ConfigDict(frozen=True)

    file: str
    size: int
    sha256: str


class Manifest(BaseModel):
    """What an image was made of, and when."""

    model_config = ConfigDict(frozen=True)

    guest: str
    fingerprint: str
    built: datetime
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True)
class GuestImage:
    """A finished image in the cache."""

    recipe: Recipe
    folder: Path
    manifest: Manifest

    @property
    def kernel(self) -> Path:
        """The kernel, as Debian packs it; of a bare-metal guest its ELF file."""
        return self.folder / "kernel"

    @property
    def initramfs(self) -> Path:
        """The initramfs: a newc cpio archive, not compressed, as that unpacks fastest."""
        return self.folder / "initramfs"


def cached(recipe: Recipe) -> GuestImage | None:
    """The image of this recipe if it is in the cache, whole. Reads only the manifest and file sizes."""
    folder = _folder(recipe)
    try:
        manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
        whole = all((folder / output.file).stat().st_size == output.size for output in manifest.outputs)
    except (OSError, ValidationError):
        return None
    return GuestImage(recipe, folder, manifest) if whole else None


def build(recipe: Recipe, progress: Progress, *, refresh: bool = False) -> GuestImage:
    """The image of this recipe, from the cache or else made now.

    One build at a time runs per user; a second one waits, and finds what the first has made.

    Args:
        recipe: What to make.
        progress: Told what is being done.
        refresh: Make it anew from the newest packages, even if it is in the cache.

    Raises:
        HostError: no apt, no network, no assembler, no space, no permission, or a package is not as expected.
        FileError: a source cannot be assembled.
    """
    if not refresh and (image := cached(recipe)):
        return image
    cache = resources.cache_folder()
    try:
        with _lock(cache / "guests.lock", progress):
            image = None if refresh else cached(recipe)
            return image or _make(recipe, progress)
    except OSError as error:
        raise HostError(
            f"cannot make the guest image {recipe.name}: {error.filename or cache}: {error.strerror}",
            hint=f"it needs about 600 MB below {cache} while it is made",
        ) from error


def _folder(recipe: Recipe) -> Path:
    return resources.cache_folder() / "guests" / recipe.name / recipe.fingerprint()


@contextmanager
def _lock(path: Path, progress: Progress) -> Iterator[None]:
    """Held until the block ends, or the process does."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another build to end", None)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(recipe: Recipe, progress: Progress) -> GuestImage:
    packages: list[Package] = []
    match recipe.description:
        case LinuxDescription() as linux:
            apt = Apt(resources.cache_folder() / "debian")
            apt.update(progress)
            names = [apt.concrete(linux.kernel), *(each.name for each in linux.packages)]
            packages = apt.download(names, progress)
            progress(f"packing {recipe.name}", None)
            outputs = _pack(linux, recipe.files, packages)
        case AssembledDescription() as bare_metal:
            progress(f"assembling {recipe.name}", None)
            kernel = _assembled(recipe.folder / bare_metal.assembly)
            outputs = {"kernel": kernel, "initramfs": cpio.archive(())}

    final = _folder(recipe)
    final.parent.mkdir(parents=True, exist_ok=True)
    for left in final.parent.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=final.parent) as scratch:
        manifest = Manifest(
            guest=recipe.name,
            fingerprint=recipe.fingerprint(),
            built=datetime.now(UTC).replace(microsecond=0),
            inputs=tuple(
                Input(package=each.name, version=each.version, sha256=each.sha256) for each in packages
            ),
            outputs=tuple(
                Output(file=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
                for name, data in outputs.items()
            ),
        )
        new, old = Path(scratch, "new"), Path(scratch, "old")
        new.mkdir()
        for name, data in outputs.items():
            (new / name).write_bytes(data)
        (new / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n")
        if final.exists():
            final.rename(old)
        new.rename(final)
    return GuestImage(recipe, final, manifest)


def _assembled(source: Path) -> bytes:
    """The ELF file made of ``source``, which a wheel may have ready, under the hash of it."""
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    packaged = files("hil_agent") / "data" / "assembled" / f"{digest}.elf"
    if packaged.is_file():
        return packaged.read_bytes()
    for tool in (ASSEMBLER, LINKER):
        require(tool)
    with tempfile.TemporaryDirectory() as folder:
        elf = Path(folder, "guest.elf")
        try:
            assemble(source, elf, address=GUEST_ADDRESS)
        except AssemblyError as error:
            raise FileError(str(error), path=source) from error
        return elf.read_bytes()


def _pack(linux: LinuxDescription, root: dict[str, bytes], packages: list[Package]) -> dict[str, bytes]:
    """The files of an image, from its packages, the kernel's first, and the recipe's own."""
    kernel_package, *others = packages
    with contents(kernel_package) as members:
        kernel = read_member(members, r"boot/vmlinuz-[^/]+")
        loadable = modules.collect(members, linux.modules)
    entries = [cpio.directory(path) for path in _DIRECTORIES]
    entries.append(cpio.character_device("dev/console", 5, 1))
    for package, wanted in zip(others, linux.packages, strict=True):
        with contents(package) as members:
            entries += [
                cpio.file(path, read_member(members, re.escape(path)), 0o755) for path in wanted.files
            ]
    entries += _module_entries(loadable)
    entries += [cpio.file(path, data, _permissions(data)) for path, data in root.items()]
    by_path = {entry.path: entry for entry in entries}  # the recipe's own files come last, and so win
    return {"kernel": kernel, "initramfs": cpio.archive(by_path.values())}


def _module_entries(loadable: list[modules.Module]) -> list[cpio.Entry]:
    if not loadable:
        return []
    top = f"lib/modules/{loadable[0].release}"
    return [
        *(cpio.file(f"{top}/{module.path}", module.data) for module in loadable),
        cpio.file(f"{top}/modules.dep", modules.dependency_index(loadable).encode()),
        cpio.file(f"{top}/modules.alias", modules.alias_index(loadable).encode()),
    ]


def _permissions(data: bytes) -> int:
    """Scripts are executable; told by their content, as a wheel does not keep permissions."""
    return 0o755 if data.startswith(b"#!") else 0o644

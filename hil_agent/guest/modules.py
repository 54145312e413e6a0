"""Kernel modules out of a Debian kernel package: those asked for and all that they need.

Debian runs ``depmod`` when a kernel is installed, so a package that is only unpacked has no
``modules.dep``. The same facts stand in each module's ``.modinfo`` section; from them come the two
index files that ``modprobe`` reads.
"""

from __future__ import annotations

import io
import lzma
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from hil_agent.errors import HostError, InternalError

_MEMBER = re.compile(
    r"(?:\./)?(?:usr/)?lib/modules/(?P<release>[^/]+)/(?P<path>kernel/.+/(?P<name>[^/]+)\.ko)(?P<xz>\.xz)?"
)


@dataclass(frozen=True, slots=True)
class Module:
    """One loadable module.

    Attributes:
        name: As ``lsmod`` shows it, with underscores.
        release: The kernel it belongs to, as ``uname -r`` says.
        path: Below ``/lib/modules/RELEASE``, uncompressed.
        depends: Names of the modules that it needs itself.
        aliases: Patterns of the devices that it drives, as in ``/sys/**/modalias``.
        data: The ELF file.
    """

    name: str
    release: str
    path: str
    depends: tuple[str, ...]
    aliases: tuple[str, ...]
    data: bytes


def collect(package: tarfile.TarFile, names: Iterable[str]) -> list[Module]:
    """The modules named, and all that they depend on, each after what it needs.

    Raises:
        HostError: the package has no such module. (What is built into the kernel is no module.)
    """
    members: dict[str, tuple[tarfile.TarInfo, re.Match[str]]] = {}
    for member in package:
        if member.isreg() and (match := _MEMBER.fullmatch(member.name)):
            members[_canonical(match["name"])] = member, match
    found: dict[str, Module] = {}

    def visit(name: str) -> None:
        if name in found:
            return
        if name not in members:
            raise HostError(f"the kernel's package has no module {name}")
        module = _read(package, *members[name])
        for needed in module.depends:
            visit(needed)
        found[name] = module

    for name in names:
        visit(_canonical(name))
    return list(found.values())


def dependency_index(modules: Sequence[Module]) -> str:
    """``modules.dep``: each module's file, and the files of all that must be loaded before it."""
    by_name = {module.name: module for module in modules}

    def needs(module: Module) -> list[str]:
        direct = [by_name[name] for name in module.depends]
        return list(dict.fromkeys(path for one in direct for path in (one.path, *needs(one))))

    return "".join(f"{' '.join([f'{module.path}:', *needs(module)])}\n" for module in modules)


def alias_index(modules: Sequence[Module]) -> str:
    """``modules.alias``: which module drives which device."""
    return "".join(f"alias {alias} {module.name}\n" for module in modules for alias in module.aliases)


def _canonical(name: str) -> str:
    return name.replace("-", "_")


def _read(package: tarfile.TarFile, member: tarfile.TarInfo, match: re.Match[str]) -> Module:
    stream = package.extractfile(member)
    if stream is None:
        raise InternalError(f"{member.name} is no regular file, and was collected as a module")
    data = lzma.decompress(stream.read()) if match["xz"] else stream.read()
    info = _modinfo(data)
    depends = tuple(_canonical(name) for line in info.get("depends", ()) for name in line.split(",") if name)
    aliases = tuple(info.get("alias", ()))
    return Module(_canonical(match["name"]), match["release"], match["path"], depends, aliases, data)


def _modinfo(data: bytes) -> Mapping[str, list[str]]:
    """The ``key=value`` strings of a module, as ``modinfo`` prints them."""
    info: dict[str, list[str]] = {}
    try:
        section = ELFFile(io.BytesIO(data)).get_section_by_name(".modinfo")
    except ELFError as error:
        raise HostError(f"a kernel module of the package is no ELF file: {error}") from error
    for line in section.data().split(b"\0") if section else ():
        key, _, value = line.decode(errors="replace").partition("=")
        info.setdefault(key, []).append(value)
    return info

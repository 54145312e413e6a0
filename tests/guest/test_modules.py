import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hil_agent.errors import HostError
from hil_agent.guest import modules

TOP = "./lib/modules/6.1.0/kernel"


@pytest.fixture
def package(tmp_path: Path, kernel_module: Callable[..., bytes]) -> tarfile.TarFile:
    """The files of a kernel package: a needs b_c and d, b_c needs d."""
    files = {
        f"{TOP}/net/a.ko": kernel_module(depends="b-c,d", alias="pci:v00001AF4*"),
        f"{TOP}/net/b-c.ko": kernel_module(depends="d"),
        f"./usr{TOP[1:]}/lib/d.ko.xz": lzma.compress(kernel_module()),
        f"{TOP}/net/broken.ko": b"not ELF",
        "./boot/vmlinuz": b"",
    }
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    archive.seek(0)
    return tarfile.open(fileobj=archive)


def test_what_a_module_needs_comes_before_it(package: tarfile.TarFile) -> None:
    assert [module.name for module in modules.collect(package, ["a"])] == ["d", "b_c", "a"]


def test_a_module_is_found_by_either_spelling(package: tarfile.TarFile) -> None:
    assert modules.collect(package, ["b-c"]) == modules.collect(package, ["b_c"])


def test_a_module_comes_once(package: tarfile.TarFile) -> None:
    assert len(modules.collect(package, ["d", "a", "d"])) == 3


def test_a_compressed_module_is_unpacked(package: tarfile.TarFile) -> None:
    (module,) = modules.collect(package, ["d"])
    assert module.data.startswith(b"\x7fELF")
    assert module.path == "kernel/lib/d.ko"


def test_a_module_that_is_not_there_is_named(package: tarfile.TarFile) -> None:
    with pytest.raises(HostError, match="no module nothing"):
        modules.collect(package, ["nothing"])


def test_a_module_that_is_no_elf_file_is_said_so(package: tarfile.TarFile) -> None:
    with pytest.raises(HostError, match="no ELF file"):
        modules.collect(package, ["broken"])


def test_the_index_of_dependencies_is_as_depmod_writes_it(package: tarfile.TarFile) -> None:
    assert modules.dependency_index(modules.collect(package, ["a"])).splitlines() == [
        "kernel/lib/d.ko:",
        "kernel/net/b-c.ko: kernel/lib/d.ko",
        "kernel/net/a.ko: kernel/net/b-c.ko kernel/lib/d.ko",
    ]


def test_the_index_of_devices_is_as_depmod_writes_it(package: tarfile.TarFile) -> None:
    assert modules.alias_index(modules.collect(package, ["a"])) == "alias pci:v00001AF4* a\n"

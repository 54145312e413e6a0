from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hil_agent.errors import FileError
from hil_agent.guest import catalogue, image
from hil_agent.symbols import kernel as kernel_module
from hil_agent.symbols.kaslr import Anchor
from hil_agent.symbols.kernel import symbols_for
from tests.symbols.conftest import BASE, ENTRY, kallsyms_image

NAMES = [(f"tfunction_{number}", 0x30000 + 16 * number) for number in range(300)]
LINKED = 0xFFFF800010000000

SOURCE = """
        .global entry
_text:  b entry
entry:  nop
        ret
        .data
kimage_voffset: .quad 0
        .section .rodata, "a"
linux_banner: .asciz "Linux version 6.1.0-{version} (builder) #1 SMP\\n"
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def debian_kernel(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """Debian's kernel, whose image is in the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("XDG_CACHE_HOME")
        return image.build(catalogue.find("linux-minimal"), lambda *_: None).kernel


@pytest.fixture
def image_file(tmp_path: Path) -> Path:
    path = tmp_path / "Image"
    path.write_bytes(kallsyms_image(NAMES))
    return path


def vmlinux(
    folder: Path, name: str, *, version: str = "1", build_id: str = "none", strip: bool = False
) -> Path:
    """An ELF file like that of a kernel."""
    source, path = folder / f"{name}.s", folder / name
    source.write_text(SOURCE.format(version=version))
    subprocess.run(["aarch64-linux-gnu-as", "-o", f"{path}.o", source], check=True)
    options = [f"--build-id={build_id}", f"-Ttext={LINKED:#x}", "-eentry", *(["-s"] if strip else [])]
    subprocess.run(["aarch64-linux-gnu-ld", *options, "-o", path, f"{path}.o"], check=True)
    return path


def as_image(elf: Path) -> Path:
    """An Image that was made of it."""
    path = elf.with_suffix(".Image")
    header = bytes(16) + (0x100000).to_bytes(8, "little") + bytes(32) + b"ARM\x64" + bytes(4)
    path.write_bytes(header + elf.read_bytes())
    return path


def test_an_image_has_its_own_symbols(image_file: Path) -> None:
    symbols = symbols_for(image_file)
    assert symbols is not None
    assert symbols.linked == BASE
    assert symbols.anchor is not None
    assert symbols.table.address("function_7") == BASE + 0x30070
    assert symbols.table.describe(BASE + ENTRY + 4) == "primary_entry+0x4"


def test_they_are_recovered_once(image_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = symbols_for(image_file)
    monkeypatch.setattr(kernel_module, "recover", lambda _: pytest.fail("they were recovered again"))
    assert symbols_for(image_file) == first


def test_two_may_recover_them_at_once(image_file: Path) -> None:
    with ThreadPoolExecutor() as pool:
        found = set(pool.map(symbols_for, [image_file] * 8))
    (symbols,) = found
    assert symbols is not None
    assert symbols.elf.is_file()
    assert [path.name for path in symbols.elf.parent.parent.iterdir()] == [symbols.elf.parent.name]


def test_a_broken_cache_is_mended(image_file: Path) -> None:
    first = symbols_for(image_file)
    assert first is not None
    (first.elf.parent / "manifest.json").write_text("{")
    assert symbols_for(image_file) == first


def test_a_kernel_without_symbols_has_none(tmp_path: Path) -> None:
    (tmp_path / "Image").write_bytes(kallsyms_image(NAMES)[:0x8000])
    (tmp_path / "flat").write_bytes(bytes(16))
    assert symbols_for(tmp_path / "Image") is None
    assert symbols_for(tmp_path / "flat", load_address=0x40200000) is None
    assert symbols_for(vmlinux(tmp_path, "elf", strip=True)) is None


def test_an_elf_kernel_is_its_own_vmlinux(tmp_path: Path) -> None:
    path = vmlinux(tmp_path, "vmlinux")
    symbols = symbols_for(path)
    assert symbols is not None
    assert symbols.elf == path
    assert symbols.table.describe(symbols.table.address("entry") or 0) == "entry"


@pytest.mark.parametrize("build_id", ["none", "0xabcdef0123456789"])
def test_a_vmlinux_of_the_kernel_is_taken(tmp_path: Path, build_id: str) -> None:
    path = vmlinux(tmp_path, "vmlinux", build_id=build_id)
    symbols = symbols_for(as_image(path), path)
    assert symbols is not None
    assert symbols.elf == path
    assert symbols.anchor == Anchor((symbols.table.address("kimage_voffset") or 0) - symbols.linked, None)


def test_a_vmlinux_of_another_version_is_refused(tmp_path: Path) -> None:
    kernel = as_image(vmlinux(tmp_path, "vmlinux", version="1"))
    with pytest.raises(FileError, match="is not the vmlinux of"):
        symbols_for(kernel, vmlinux(tmp_path, "other", version="2"))


def test_a_vmlinux_of_another_build_is_refused(tmp_path: Path) -> None:
    kernel = as_image(vmlinux(tmp_path, "vmlinux", build_id="0xabcdef0123456789"))
    with pytest.raises(FileError, match="is not the vmlinux of"):
        symbols_for(kernel, vmlinux(tmp_path, "other", build_id="0xabcdef0123456780"))


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"no ELF file at all", b"\x7fELF" + bytes(60)])
def test_what_is_no_vmlinux_is_refused(tmp_path: Path, image_file: Path, content: bytes) -> None:
    (tmp_path / "vmlinux").write_bytes(content)
    with pytest.raises(FileError, match="vmlinux: is "):
        symbols_for(image_file, tmp_path / "vmlinux")


def test_a_stripped_vmlinux_is_refused(tmp_path: Path) -> None:
    path = vmlinux(tmp_path, "vmlinux", strip=True)
    with pytest.raises(FileError, match="has no symbols"):
        symbols_for(as_image(path), path)


def test_debians_kernel_has_its_own_symbols(debian_kernel: Path) -> None:
    symbols = symbols_for(debian_kernel)
    assert symbols is not None
    names = ("cpu_resume", "cpu_do_idle", "el1h_64_irq", "__arm_smccc_hvc", "psci_system_suspend_enter")
    addresses = [symbols.table.address(name) for name in names]
    assert [symbols.table.describe((address or 0) + 4) for address in addresses] == [
        f"{name}+0x4" for name in names
    ]

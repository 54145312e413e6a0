import hashlib
import struct
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

RELEASE = "6.1.0-99-arm64"


def arm64_image(
    *, text_offset: int = 0, image_size: int = 0x10000, flags: int = 0xA, size: int = 0x1000
) -> bytes:
    header = struct.pack("<8x3Q24x4s4x", text_offset, image_size, flags, b"ARM\x64")
    return header + bytes(size - len(header))


def kernel_module(*, depends: str = "", alias: str = "") -> bytes:
    """A module with nothing in it, by the assembler that the project needs anyway."""
    modinfo = [f"depends={depends}", "license=GPL", *([f"alias={alias}"] if alias else [])]
    source = '.section .modinfo,"a"\n' + "".join(f'.asciz "{line}"\n' for line in modinfo)
    with tempfile.NamedTemporaryFile() as output:
        subprocess.run(["aarch64-linux-gnu-as", "-o", output.name, "-"], input=source, text=True, check=True)
        return output.read()


@cache
def machine_tree(gic: int, cpus: int) -> bytes:
    """The device tree of QEMU's virt machine, as QEMU dumps it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "virt.dtb")
        machine = f"virt,virtualization=on,gic-version={gic},dumpdtb={path}"
        command = [
            "qemu-system-aarch64",
            "-machine",
            machine,
            "-cpu",
            "cortex-a57",
            "-smp",
            str(cpus),
            "-m",
            "512",
        ]
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
        return path.read_bytes()


class Repository:
    """A Debian archive in a folder, with as little in it as a kernel guest needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.add("linux-image-arm64", depends=f"linux-image-{RELEASE} (= 1.0)")
        self.add(f"linux-image-{RELEASE}", files=self._kernel_files())
        self.add("busybox-static", version="1:1.35+b1", files={"bin/busybox": b"not really busybox"})

    def add(
        self, name: str, *, version: str = "1.0", depends: str = "", files: dict[str, bytes] | None = None
    ) -> None:
        """Adds a package, in place of others of its name."""
        for old in self.folder.glob(f"{name}_*.deb"):
            old.unlink()
        tree = self.folder.parent / "package" / f"{name}-{version}"
        control = [f"Package: {name}", f"Version: {version}", "Architecture: arm64", "Maintainer: nobody"]
        control += ["Description: for tests", *([f"Depends: {depends}"] if depends else [])]
        for path, data in {**(files or {}), "DEBIAN/control": "\n".join([*control, ""]).encode()}.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(data)
        deb = self.folder / f"{name}_{version.rpartition(':')[2]}_arm64.deb"
        subprocess.run(
            ["dpkg-deb", "-Znone", "--build", str(tree), str(deb)], check=True, capture_output=True
        )
        self.index()

    def index(self, *, lie_about: str = "") -> None:
        """Writes the list of packages; with a wrong hash for the package ``lie_about``."""
        entries = []
        for deb in sorted(self.folder.glob("*.deb")):
            control = subprocess.run(["dpkg-deb", "-f", str(deb)], check=True, capture_output=True, text=True)
            digest = hashlib.sha256(deb.read_bytes()).hexdigest()
            if lie_about and deb.name.startswith(lie_about):
                digest = "0" * 64
            entries.append(
                f"{control.stdout}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"
            )
        (self.folder / "Packages").write_text("\n".join(entries))

    def _kernel_files(self) -> dict[str, bytes]:
        drivers = f"lib/modules/{RELEASE}/kernel/drivers/net"
        return {
            f"boot/vmlinuz-{RELEASE}": arm64_image(),
            f"{drivers}/virtio_net.ko": kernel_module(depends="net_failover", alias="virtio:d1v*"),
            f"{drivers}/net_failover.ko": kernel_module(),
        }


@pytest.fixture(name="arm64_image")
def _arm64_image() -> Callable[..., bytes]:
    return arm64_image


@pytest.fixture(name="kernel_module")
def _kernel_module() -> Callable[..., bytes]:
    return kernel_module


@pytest.fixture(name="machine_tree")
def _machine_tree() -> Callable[[int, int], bytes]:
    return machine_tree


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """An archive that the host's apt uses in place of its own sources; the user's folders are empty."""
    archive = Repository(tmp_path / "archive")
    sources = tmp_path / "sources.list"
    sources.write_text(
        f"deb [trusted=yes] copy:{archive.folder} ./\n"
        f"deb [arch=amd64] copy:{tmp_path}/third-party ./\n"
        f"deb copy:{tmp_path}/broken ./\n"
    )
    configuration = tmp_path / "apt.conf"
    configuration.write_text(f'Dir::Etc::sourcelist "{sources}";\nDir::Etc::sourceparts "/dev/null";\n')
    monkeypatch.setenv("APT_CONFIG", str(configuration))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return archive


@pytest.fixture
def write_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a recipe into the user's own folder of them; returns the recipe's folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def write(name: str = "tiny", *, init: str = "#!/bin/sh\n", modules: str = "virtio-net") -> Path:
        folder = tmp_path / "config" / "hil-agent" / "guest_images" / name
        (folder / "root").mkdir(parents=True, exist_ok=True)
        (folder / "root" / "init").write_text(init)
        (folder / "guest.yaml").write_text(
            "description: for tests\n"
            "kernel: linux-image-arm64\n"
            "packages: [{name: busybox-static, files: [bin/busybox]}]\n"
            f"modules: [{modules}]\n"
            "ready: ^ready\n"
            'prompt: "# "\n'
            "command_line: console=ttyAMA0\n"
        )
        return folder

    return write

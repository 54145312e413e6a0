"""Puts the monitors and bare-metal guests, assembled, the boards and the guest recipes into the wheel.

So an installed hil_agent needs no assembler and no checkout.
"""

from __future__ import annotations

import hashlib
import runpy
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class MonitorBuildHook(BuildHookInterface[Any]):
    """Assembles for a wheel; an editable install assembles when it runs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a wheel is built; ``version`` is ``standard`` or ``editable``."""
        if version == "editable":
            return
        package = Path(self.root, "hil_agent")
        # By path: the package's dependencies are not installed in a build environment.
        build = runpy.run_path(str(package / "trap" / "build.py"))
        self._folder = tempfile.TemporaryDirectory()
        guests = Path(self.root, "guest_images").glob("*/*.S")
        try:
            assembled = {
                **{
                    self._assemble(build, monitor, 0): f"hil_agent/{monitor.parent.name}/monitor.elf"
                    for monitor in package.glob("*/monitor.S")
                },
                **{
                    self._assemble(build, source, build["GUEST_ADDRESS"]): "hil_agent/data/assembled/"
                    + f"{hashlib.sha256(source.read_bytes()).hexdigest()}.elf"
                    for source in guests
                },
            }
        except build["AssemblyError"] as error:
            self.app.abort(str(error))
        build_data["force_include"] |= {
            **assembled,
            **{str(Path(self.root, name)): f"hil_agent/data/{name}" for name in ("boards", "guest_images")},
        }

    def _assemble(self, build: dict[str, Any], source: Path, address: int) -> str:
        elf = Path(self._folder.name, source.parent.name, f"{source.stem}.elf")
        build["assemble"](source, elf, address=address)
        return str(elf)

    def finalize(self, version: str, _build_data: dict[str, Any], _artifact_path: str) -> None:
        """Called after the wheel was written."""
        if version != "editable":
            self._folder.cleanup()

"""Puts the assembled EL2 monitor, the boards and the guest recipes into the wheel.

So an installed hil_agent needs no assembler and no checkout.
"""

from __future__ import annotations

import runpy
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class MonitorBuildHook(BuildHookInterface[Any]):
    """Assembles ``hil_agent/el2/monitor.S`` for a wheel; an editable install assembles when it runs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a wheel is built; ``version`` is ``standard`` or ``editable``."""
        if version == "editable":
            return
        el2 = Path(self.root, "hil_agent", "el2")
        # By path: the package's dependencies are not installed in a build environment.
        build = runpy.run_path(str(el2 / "build.py"))
        self._folder = tempfile.TemporaryDirectory()
        elf = Path(self._folder.name, "monitor.elf")
        try:
            build["assemble"](el2 / "monitor.S", elf)
        except build["AssemblyError"] as error:
            self.app.abort(f"the EL2 monitor cannot be assembled: {error}")
        build_data["force_include"] |= {
            str(elf): "hil_agent/el2/monitor.elf",
            **{str(Path(self.root, name)): f"hil_agent/data/{name}" for name in ("boards", "guest_images")},
        }

    def finalize(self, version: str, _build_data: dict[str, Any], _artifact_path: str) -> None:
        """Called after the wheel was written."""
        if version != "editable":
            self._folder.cleanup()

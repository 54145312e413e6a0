"""What a debugger reads about the target with ``qXfer``. Pure.

Source: GDB's manual, appendix "GDB Remote Serial Protocol": Thread List Format, Memory Map Format.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_QUARTER = 1 << 62
"""Length of a region: gdb computes with a longer one as if it were negative (read_memory_robust)."""

_TOP = (1 << 64) - (2 << 20)
"""Where the map ends: lldb looks for a place that is free, and fails an assertion if there is none."""


def _memory_map() -> bytes:
    regions = (
        f'<memory type="ram" start="{start:#x}" length="{min(_QUARTER, _TOP - start):#x}"/>'
        for start in range(0, _TOP, _QUARTER)
    )
    return (
        '<?xml version="1.0"?>'
        '<!DOCTYPE memory-map PUBLIC "+//IDN gnu.org//DTD GDB Memory Map V1.0//EN"'
        ' "http://sourceware.org/gdb/gdb-memory-map.dtd">'
        f"<memory-map>{''.join(regions)}</memory-map>"
    ).encode()


MEMORY_MAP = _memory_map()
"""Almost all: a debugger's addresses are virtual, and what is behind them is the guest's affair.

The top 2 MiB are not in it; an arm64 kernel maps nothing there.
"""


def thread_list(threads: Sequence[tuple[str, str]]) -> bytes:
    """The vCPUs, each by its thread ID and what there is to say of it."""
    items = (
        f'<thread id="{escape(thread)}" core="{core}" name="vCPU {core}">{escape(about)}</thread>'
        for core, (thread, about) in enumerate(threads)
    )
    return f'<?xml version="1.0"?><threads>{"".join(items)}</threads>'.encode()


def piece(document: bytes, offset: int, length: int) -> bytes:
    """A reply to ``qXfer``: what of a document begins at ``offset``, and whether there is more behind it."""
    end = offset + length
    return (b"m" if end < len(document) else b"l") + document[offset:end]

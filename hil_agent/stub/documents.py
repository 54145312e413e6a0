"""What a debugger reads about the target with ``qXfer``. Pure.

Source: GDB's manual, appendix "GDB Remote Serial Protocol": Thread List Format, Memory Map Format.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

MEMORY_MAP = (
    b'<?xml version="1.0"?>'
    b'<!DOCTYPE memory-map PUBLIC "+//IDN gnu.org//DTD GDB Memory Map V1.0//EN"'
    b' "http://sourceware.org/gdb/gdb-memory-map.dtd">'
    b'<memory-map><memory type="ram" start="0x0" length="0xffffffffffffffff"/></memory-map>'
)
"""All of it: a debugger's addresses are virtual, and what is behind them is the guest's affair."""


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

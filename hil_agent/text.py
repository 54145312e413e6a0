"""Text that others have said, made fit to be shown."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text with control characters and escape sequences written out (``\x1b``), not acted on."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in text
    )

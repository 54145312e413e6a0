"""What a kernel says when it dies: recognised in the console's bytes. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Lines of a report, the first included, and bytes of it: what is worth showing to a person.
REPORT_LINES = 24
REPORT_BYTES = 8192

# Of a line that has not ended yet, this much is kept.
_LINE_BYTES = 2048

# printk starts wherever the cursor is, also in the middle of a line of userland; there its time stamp tells.
_START = rb"(?:^|\] ?)"


@dataclass(frozen=True, slots=True)
class DeathString:
    """A line that ends the life of a guest.

    Attributes:
        first: matches how the first line of the report begins, after printk's prefix.
        last: matches how its last line begins; None where one line says all.
    """

    first: bytes
    last: bytes | None = None


#: Linux kernel/panic.c.
PANICS = (DeathString(rb"Kernel panic - not syncing: ", rb"---\[ end Kernel panic "),)

#: Linux arch/arm64/kernel/setup.c, the first line that it prints: whoever was running commands was cut short.
REBOOTS = (DeathString(rb"Booting Linux on physical CPU "),)


class DeathWatch:
    """Finds the first death string in a stream that arrives in pieces."""

    def __init__(self, deaths: tuple[DeathString, ...] = PANICS) -> None:
        self._deaths = [
            (re.compile(_START + death.first), re.compile(_START + death.last) if death.last else None)
            for death in deaths
        ]
        self._line = b""
        self._last: re.Pattern[bytes] | None = None
        self._report: list[bytes] = []

    @property
    def dying(self) -> bool:
        """Whether a report has begun and its last line is still awaited."""
        return bool(self._report)

    def feed(self, data: bytes) -> str | None:
        """Takes the next bytes of the stream; returns a report once it is complete."""
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            if self._take(line.rstrip(b"\r")):
                return self.flush()
        self._line = self._line[:_LINE_BYTES]
        return None

    def flush(self) -> str:
        """The report as far as it has come, for when nothing follows; the watch then starts anew."""
        text = b"\n".join(self._report)[:REPORT_BYTES].decode("utf-8", "replace")
        self._report, self._last = [], None
        return text

    def _take(self, line: bytes) -> bool:
        """Adds a line to the report, if there is one or it begins one; True when it is complete."""
        if self._report:
            self._report.append(line)
            return len(self._report) >= REPORT_LINES or bool(self._last and self._last.search(line))
        for first, last in self._deaths:
            if first.search(line):
                self._report, self._last = [line], last
                return last is None
        return False

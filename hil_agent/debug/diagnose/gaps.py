"""What could not be had, and why: one thing that fails keeps nobody from the others."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from hil_agent.errors import HilAgentError

_log = logging.getLogger(__name__)


class Gaps:
    """Collects them.

    Attributes:
        found: a line each.
    """

    def __init__(self) -> None:
        self.found: list[str] = []

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        """Notes that ``what`` could not be had, where the block fails."""
        try:
            yield
        except HilAgentError as error:
            self.found.append(f"{what}: {error.message}" + (f" ({error.hint})" if error.hint else ""))
        except OSError as error:
            self.found.append(f"{what}: {error.strerror or error}")
        except Exception as error:  # what a broken guest's memory holds may surprise us
            _log.exception("%s could not be had", what)
            self.found.append(f"{what}: a bug in hil_agent: {type(error).__name__}: {error}")

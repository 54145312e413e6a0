"""Requests to a shell on the console, and their answers, over a line on which either can be lost.

An answer is ``=NONCE.NUMBER:TEXT;`` on one line. A message of the kernel can tear it, and on a real serial
line a request can get lost: then the request is made again, with a new number, and only the answer to the
newest one counts. So every request must be one that may be made twice.
"""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from hil_agent.console.channel import QUIET_S, Channel
from hil_agent.errors import TargetTimeout

# A slow console and a usual one, in bytes per second: 9600 and 115200 baud.
_SLOW = 960
_USUAL = 11520

# A request that is neither answered nor followed by anything else is repeated after 2 s, 4 s, and so on.
_FIRST_PATIENCE_S = 2.0
_LONGEST_PATIENCE_S = 60.0

# One that is followed by something else may have had its answer torn. But that may be unrelated, and what is
# sent to a busy shell piles up in its terminal: so the pauses double every eighth time.
_LONGEST_SETTLING_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered.

    Attributes:
        text: the answer.
        number: the number of the request.
        before: all that the console said since the request, up to the answer.
    """

    text: str
    number: int
    before: bytes


class Dialogue:
    """One exchange of requests and answers, marked by a nonce of its own.

    Attributes:
        nonce: 8 hexadecimal digits.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.nonce = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    def ask(self, request: Callable[[int], bytes], *, deadline: float, answer_bytes: int = 0) -> Answer:
        """Makes a request until it is answered.

        Args:
            request: makes the text to type from the number of the request.
            deadline: when to give up, in seconds of ``time.monotonic``.
            answer_bytes: size of what is expected ahead of the answer.

        Raises:
            TargetTimeout: there was no answer in time.
            TargetError: see ``Channel.expect`` and ``Channel.send``.
        """
        for attempt in itertools.count():
            number = next(self._numbers)
            text = request(number)
            sent = time.monotonic()
            self.channel.send(text, deadline)
            size = len(text) + answer_bytes
            patience = min(_FIRST_PATIENCE_S * 2 ** min(attempt, 8), _LONGEST_PATIENCE_S) + size / _SLOW
            settling = min(QUIET_S * 2 ** min(attempt // 8, 8), _LONGEST_SETTLING_S) + size / _USUAL
            found = self.channel.expect(
                re.compile(b"=%s\\.%d:([^;\r\n]*);" % (self.nonce.encode(), number)),
                until=min(deadline, sent + patience),
                settled=sent + settling,
            )
            if found:
                before, match = found
                return Answer(match[1].decode("utf-8", "replace"), number, before)
            if time.monotonic() >= deadline:
                break
        raise TargetTimeout("no shell answers on the guest's console")

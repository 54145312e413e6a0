"""The shell's far end: a few functions that live in the guest's shell while a command runs.

A line typed at the prompt starts a subshell that evaluates, without echo, each further line that begins with
a nonce; so it first learns some functions and then serves requests by calling them. Nothing of it stays: not
in the user's shell, because it is a subshell, and not in the guest's files, because it cleans up at its end.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from hil_agent.console.channel import QUIET_S
from hil_agent.console.dialogue import Answer, Dialogue
from hil_agent.console.framing import CHUNK_CODES, DIGESTS, LINE_CODES, intact_lines, missing_runs
from hil_agent.errors import GuestError, ProtocolError

#: A line that has this in it makes any helper leave, also one whose host is gone.
NAME = "hil-agent"

_BLOCK_LINES = 4096
_CHUNK_BYTES = 64 * 1024
_LEAST_CHUNK_BYTES = 256
_ATTEMPTS = 12

# How long the first and the last word of a helper are waited for. Without it, what follows is tried just so.
_WORD_S = 5.0

#: Most that is fetched from a guest at once, in bytes.
MAX_BYTES = 1 << 30

# In what follows NONCE and NAME are filled in. This is typed at the prompt, where each character costs; its
# markers have '' in them, so that the echo is not taken for what is printed.
_ENTER = (
    " : NAME;(dir=;s=$(stty -g)&&stty -echo;echo =''NONCE.in';';"
    'while IFS= read -r l;do case $l in NONCE\\ *)eval "${l#* }";;*NAME*)break;;esac;done;'
    "rm -rf \"$dir\";stty $s;echo =''NONCE.out';')2>/dev/null"
)

# A subshell inherits aliases and options, which are the user's taste. In put, no line of data has "." or "-":
# a line with one is the end, or has NAME in it.
_LEARN = r"""
unalias -a
set +e +u +C -f
unset IFS
trap : INT QUIT
trap exit HUP TERM
trap 'rm -rf "$dir"' EXIT
result= stored=0
if [ -z "$dir" ]; then
    for place in "${TMPDIR:-/tmp}" /run /dev/shm /var/tmp /; do
        dir=$place/.NAME.NONCE
        mkdir -m 700 "$dir" && : >"$dir/output" && break
        dir=
    done
fi
answer() { echo "=NONCE.$1:$2;"; }
has() { command -v $1 >/dev/null; }
CODERS
ready() {
    answer $1 "$(echo ${dir:+directory} $(for program in PROGRAMS; do has $program && echo $program; done))"
}
fail() { answer $1 "$2 $(echo $message)"; }
put() {
    message=$({ sed -n '/[.-]/q;p' | decode >"$dir/chunk"; } 2>&1)
    [ $3 -gt 0 ] || { stored=0; : >"$dir/$2"; }
    if [ "$(digest "$dir/chunk")" != $5 ]; then fail $1 torn
    elif [ $(($3 + $4)) -le $stored ]; then answer $1 ok
    elif message=$(cat "$dir/chunk" 2>&1 >>"$dir/$2"); then stored=$(($3 + $4)); answer $1 ok
    else fail $1 refused
    fi
}
run() {
    if [ -z "$result" ]; then
        (exec sh "$dir/command" </dev/null >"$dir/output" 2>&1)
        result=$?
        result="$result $(digest "$dir/output") $(wc -c <"$dir/output")"
    fi
    answer $1 "$result"
}
result() { answer $1 "${result:-none}"; }
get() {
    echo "=NONCE.$1<"
    dd if="$dir/output" bs=$2 skip=$3 count=$4 | encode | grep -n ''
    answer $1 ok
}
"""

_NEEDED = ("dd", "grep", "sed", "sh", "wc")

# The guest's half of the codes: program, function, body.
_FUNCTIONS = (
    *((code.program, "encode", code.encode) for code in LINE_CODES),
    *((code.program, "decode", code.decode) for code in CHUNK_CODES),
    *((digest.program, "digest", f'set -- $({digest.program} <"$1"); echo $1') for digest in DIGESTS),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended.

    Attributes:
        status: its exit status as the shell has it, 0 to 255.
        size: bytes of its output.
        digest: the output's digest, as the guest printed it.
    """

    status: int
    size: int
    digest: str


def _outcome(text: str) -> Outcome:
    match = re.fullmatch(r"(\d{1,3}) (\w+) +(\d{1,18})", text)
    if not match:
        raise GuestError(f"the guest cannot store the output of a command (its answer: {text!r})")
    return Outcome(status=int(match[1]), digest=match[2], size=int(match[3]))


class Helper:
    """Serves one command or one file in the guest. To be entered at a prompt, and left in any case.

    Every ``deadline`` is in seconds of ``time.monotonic``; every method raises what ``Dialogue.ask`` raises.
    """

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self._line_code = LINE_CODES[0]
        self._chunk_code = CHUNK_CODES[0]
        self._digest = DIGESTS[0]

    def enter(self, deadline: float) -> None:
        """Starts the helper in the guest.

        Raises:
            GuestError: the guest lacks a program, or a folder that can be written.
        """
        self._dialogue.channel.send(f"{self._fill_in(_ENTER)}\n".encode(), deadline)
        self._await_word(b"in", deadline)
        programs = {program for program, _, _ in _FUNCTIONS}.union(_NEEDED)
        # The last definition holds whose program is there, so the preferred one comes last.
        coders = [f"has {program} && {name}() {{ {body}; }}" for program, name, body in reversed(_FUNCTIONS)]
        lesson = _LEARN.replace("PROGRAMS", " ".join(sorted(programs))).replace("CODERS", "\n".join(coders))
        learn = f"""{self._dialogue.nonce} eval "$(sed -n '/^[.]$/q;p')"\n{self._fill_in(lesson)}.\n\n"""
        have = set(self._ask("ready", deadline, ahead=learn.encode()).text.split())
        if "directory" not in have:
            raise GuestError("the guest has no folder that can be written", hint="mount a tmpfs on /tmp")
        lacking = [program for program in _NEEDED if program not in have]
        try:
            self._line_code = next(code for code in LINE_CODES if code.program in have)
            self._chunk_code = next(code for code in CHUNK_CODES if code.program in have)
            self._digest = next(digest for digest in DIGESTS if digest.program in have)
        except StopIteration:
            lacking += ["base64, uuencode or od; sha256sum or cksum"]
        if lacking:
            raise GuestError(f"the guest's shell lacks {', '.join(lacking)}", hint="busybox has all of these")

    def put(self, name: str, data: bytes, deadline: float) -> None:
        """Writes a file in the helper's folder.

        Raises:
            GuestError: the guest cannot write it.
        """
        start, size, torn = 0, _CHUNK_BYTES, 0
        while start < len(data) or start == 0:
            piece = data[start : start + size]
            # busybox sed reads a line beyond the one at which it quits, hence the empty line.
            lines = b"\n".join([*self._chunk_code.encode(piece), b".", b"", b""])
            # The "." ahead ends a chunk whose own end was lost; without one it does nothing.
            answer = self._ask(
                "put", deadline, name, start, len(piece), self._digest.of(piece), ahead=b".\n", after=lines
            )
            verdict, _, message = answer.text.partition(" ")
            if verdict == "ok":
                start += max(len(piece), 1)
            elif verdict == "torn" and torn < _ATTEMPTS:
                torn += 1
                size = max(size // 2, _LEAST_CHUNK_BYTES)
            else:
                raise GuestError(
                    f"the guest cannot store what is sent to it: {message or 'it arrives damaged'}"
                )

    def start(self, deadline: float) -> None:
        """Starts the file ``command`` as a shell script."""
        self._dialogue.channel.send(f"\n{self._dialogue.nonce} run 0\n".encode(), deadline)

    def wait(self, deadline: float) -> Outcome:
        """Waits for the end of the command. Raises GuestError when its output could not be stored."""
        return _outcome(self._ask("run", deadline).text)

    def result(self, deadline: float) -> Outcome | None:
        """As ``wait``, but None when the command has not been started yet; it then never is."""
        text = self._ask("result", deadline).text
        return None if text == "none" else _outcome(text)

    def fetch(self, outcome: Outcome, deadline: float) -> bytes:
        """Reads the output of the command.

        Raises:
            GuestError: it is larger than MAX_BYTES.
            ProtocolError: it arrives damaged again and again.
        """
        if outcome.size > MAX_BYTES:
            raise GuestError(f"the output has {outcome.size} bytes; more than {MAX_BYTES} are not fetched")
        for _ in range(_ATTEMPTS):
            block_bytes = _BLOCK_LINES * self._line_code.line_bytes
            blocks = range(0, outcome.size, block_bytes)
            data = b"".join(
                self._fetch_block(start, min(block_bytes, outcome.size - start), deadline) for start in blocks
            )
            if self._digest.of(data) == outcome.digest:
                return data
        raise ProtocolError("what the guest sends over its console arrives damaged again and again")

    def leave(self, deadline: float) -> bool:
        """Ends the helper; the prompt follows. Returns whether the guest has said that it did."""
        self._dialogue.channel.send(f"\n.\n{self._dialogue.nonce} break\n".encode(), deadline)
        return self._await_word(b"out", deadline)

    def _fetch_block(self, start: int, size: int, deadline: float) -> bytes:
        code = self._line_code
        count = code.line_count(size)
        first = start // code.line_bytes
        # One big read first, then the lines that are missing.
        wanted = [(0, count, (_BLOCK_LINES * code.line_bytes, first // _BLOCK_LINES, 1))]
        lines: dict[int, bytes] = {}
        while len(lines) < count:
            for index, number, reads in wanted:
                size_here = min(number * code.line_bytes, size - index * code.line_bytes)
                answer_bytes = number * (code.text_length(code.line_bytes) + 8)
                answer = self._ask("get", deadline, *reads, answer_bytes=answer_bytes)
                begin = b"=%s.%d<" % (self._dialogue.nonce.encode(), answer.number)
                _, begun, text = answer.before.rpartition(begin)
                found = intact_lines(text if begun else b"", code, size_here)
                lines.update((index + offset, line) for offset, line in found.items())
            wanted = [
                (index, number, (code.line_bytes, first + index, number))
                for index, number in missing_runs(lines, count)
            ]
        return b"".join(lines[index] for index in range(count))

    def _ask(
        self,
        verb: str,
        deadline: float,
        *words: object,
        ahead: bytes = b"",
        after: bytes = b"",
        answer_bytes: int = 0,
    ) -> Answer:
        nonce = self._dialogue.nonce
        arguments = " ".join(str(word) for word in words)

        def request(number: int) -> bytes:
            # The newline ends what a person at the console may have begun to type.
            return b"\n%s%s\n%s" % (ahead, f"{nonce} {verb} {number} {arguments}".encode(), after)

        return self._dialogue.ask(request, deadline=deadline, answer_bytes=answer_bytes)

    def _fill_in(self, text: str) -> str:
        return text.replace("NONCE", self._dialogue.nonce).replace("NAME", NAME)

    def _await_word(self, word: bytes, deadline: float) -> bool:
        pattern = re.compile(b"=%s\\.%s;" % (self._dialogue.nonce.encode(), word))
        now = time.monotonic()
        found = self._dialogue.channel.expect(
            pattern, until=min(deadline, now + _WORD_S), settled=now + QUIET_S
        )
        return found is not None

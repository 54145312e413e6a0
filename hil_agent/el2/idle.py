"""Has the EL2 monitor repeat answers of the vPSCI by itself, and reads what became of them.

An answer that can be repeated is put into the area of the vCPU that it was given to; when the vCPU makes the
same call again, the monitor answers it without a trap. ``idle.S`` is the other side.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hil_agent.psci.call import Call, Conduit
from hil_agent.psci.effects import Outcome
from hil_agent.psci.functions import Function
from hil_agent.psci.idle import ASK_ABOUT_IDLING, AnswerKind, RepeatableAnswer, Repeated
from hil_agent.psci.vpsci import VirtualPsci
from hil_agent.rsp import Client
from hil_agent.trap.program import write_system_registers

_ANSWER = struct.Struct("<9Q8x")  # x0 to x3, when, value, results, count, ticks: answer_* in idle.S
_COUNTED = struct.Struct("<56x2Q8x")
_WORD = struct.Struct("<Q")
_MICROSECONDS = 1_000_000
_KINDS = {Conduit.HVC: "kind_hvc", Conduit.SMC: "kind_smc"}
_WHEN = {
    AnswerKind.AT_ONCE: "after_nothing",
    AnswerKind.AFTER_STANDBY: "after_standby",
    AnswerKind.AFTER_POWER_DOWN: "after_power_down",
}


@dataclass(slots=True)
class _Given:
    """An answer in a vCPU's area, and what the monitor had counted of it when it was last told."""

    answer: RepeatableAnswer
    count: int = 0
    ticks: int = 0


class RepeatedAnswers:
    """A vPSCI whose answers the monitor repeats: those that a guest which idles needs.

    All that it does needs the machine stopped.

    Args:
        vpsci: what is told of repeated answers.
        answer: how it is asked, with faults in between if there are any.
        may_repeat: whether all calls of a function may be answered alike.
        client: the debug stub.
        labels: the monitor's, of which those of an area are offsets in it.
        areas: physical address of the first vCPU's area.
    """

    def __init__(
        self,
        vpsci: VirtualPsci,
        answer: Callable[[Call], Outcome],
        may_repeat: Callable[[Function], bool],
        client: Client,
        *,
        labels: Mapping[str, int],
        areas: int,
    ) -> None:
        self._vpsci = vpsci
        self._ask = answer
        self._may_repeat = may_repeat
        self._client = client
        self._labels = labels
        self._areas = areas
        self._room = self._size("area_answers", "area_entry_data") // _ANSWER.size - 1  # one ends them
        self._given: dict[int, list[_Given]] = {}

    def call(self, call: Call) -> Outcome:
        """The vPSCI's answer to ``call``, given in the knowledge of all that was answered without it."""
        if self._vpsci.function(call) in ASK_ABOUT_IDLING:
            self.report()
        outcome = self._ask(call)
        answer = self._vpsci.repeatable(call, outcome)
        if answer is not None and self._may_repeat(answer.function) and self._matters(call.cpu, answer.kind):
            self._give(call, answer)
        return outcome

    def report(self) -> None:
        """Tells the vPSCI what the monitor has answered since the last time, and who waits now."""
        repeated = []
        for cpu, answers in self._given.items():
            waiting, frequency = self._word(cpu, "area_waiting"), self._word(cpu, "area_frequency")
            data = self._read(cpu, "area_answers", _ANSWER.size * len(answers))
            for given, (count, ticks) in zip(answers, _COUNTED.iter_unpack(data), strict=True):
                answer = given.answer
                time_us = (ticks - given.ticks) * _MICROSECONDS // frequency
                waits = waiting == self._labels[_WHEN[answer.kind]]
                repeated.append(Repeated(cpu, answer, count - given.count, time_us, waits))
                given.count, given.ticks = count, ticks
        self._vpsci.note_repeated(repeated)

    def forget(self) -> None:
        """Has the monitor repeat nothing until the vPSCI has answered anew; the vPSCI is told before."""
        self.report()
        for cpu in self._given:
            self._write(cpu, "area_repeat", _WORD.pack(0))
        self._given.clear()

    def _matters(self, cpu: int, kind: AnswerKind) -> bool:
        """Whether a vCPU makes such a call whenever it idles, and not just now."""
        answers = self._given.get(cpu, ())
        return kind is not AnswerKind.AT_ONCE or any(given.answer.entry is not None for given in answers)

    def _give(self, call: Call, answer: RepeatableAnswer) -> None:
        """Puts an answer where the monitor finds it; one that it contradicts, or the oldest, makes room."""
        self.report()  # what is known of that one
        cpu = call.cpu
        if answer.entry is not None:
            leaving = {"ELR_EL2": answer.entry.pc, "SPSR_EL2": answer.entry.pstate}
            program = write_system_registers({**answer.entry.system_registers, **leaving})
            if len(program.data) > self._size("area_entry_data", "area_entry_program"):
                return
            if len(program.code) > self._size("area_entry_program", "area_data"):
                return
            self._write(cpu, "area_entry_data", program.data)
            self._write(cpu, "area_entry_program", program.code)
        kept = [given for given in self._given.get(cpu, ()) if not _contradict(given.answer, answer)]
        self._given[cpu] = [*kept, _Given(answer)][-self._room :]
        packed = (self._packed(given) for given in self._given[cpu])
        self._write(cpu, "area_answers", b"".join(packed) + bytes(_ANSWER.size))
        self._write(cpu, "area_repeat", _WORD.pack(self._labels[_KINDS[call.conduit]]))

    def _packed(self, given: _Given) -> bytes:
        answer, when = given.answer, self._labels[_WHEN[given.answer.kind]]
        values = answer.values
        return _ANSWER.pack(*answer.registers, when, values[0], len(values), given.count, given.ticks)

    def _size(self, field: str, following: str) -> int:
        return self._labels[following] - self._labels[field]

    def _word(self, cpu: int, field: str) -> int:
        (value,) = _WORD.unpack(self._read(cpu, field, _WORD.size))
        return int(value)

    def _read(self, cpu: int, field: str, size: int) -> bytes:
        return self._client.read_memory(self._address(cpu, field), size, physical=True)

    def _write(self, cpu: int, field: str, data: bytes) -> None:
        self._client.write_memory(self._address(cpu, field), data, physical=True)

    def _address(self, cpu: int, field: str) -> int:
        return self._areas + cpu * self._labels["area_size"] + self._labels[field]


def _contradict(one: RepeatableAnswer, other: RepeatableAnswer) -> bool:
    """Whether only one of them can be given: calls are told apart by x0 and x1, and one program is there."""
    same_call = one.registers[:2] == other.registers[:2]
    return same_call or (one.entry is not None and other.entry is not None)

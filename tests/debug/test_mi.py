"""What gdb says, read. The lines are those of gdb 13."""

from __future__ import annotations

import pytest

from hil_agent.debug import GdbError, StopReason, mi
from hil_agent.debug.mi import Record, RecordKind
from hil_agent.errors import ProtocolError, UsageError


def _payload(line: str) -> mi.Payload:
    return mi.parse(line).payload


def test_an_answer_has_its_command_s_number() -> None:
    assert mi.parse('17^done,value="2"') == Record(RecordKind.RESULT, "done", 17, {"value": "2"})


def test_an_answer_may_be_empty() -> None:
    assert mi.parse("3^running") == Record(RecordKind.RESULT, "running", 3)


def test_text_is_unescaped() -> None:
    assert mi.parse(r'~"a \"b\"\tc\n"') == Record(RecordKind.CONSOLE, text='a "b"\tc\n')


def test_what_is_not_of_the_interface_is_output() -> None:
    assert mi.parse("warning: something").kind is RecordKind.OUTPUT


def test_a_line_that_breaks_off_is_an_error() -> None:
    with pytest.raises(ProtocolError, match="no GDB/MI"):
        mi.parse('1^done,value="half')


@pytest.mark.parametrize(
    ("text", "quoted"), [("x", '"x"'), ('say "a"', r'"say \"a\""'), (r"a\b", r'"a\\b"')], ids=str
)
def test_arguments_are_quoted(text: str, quoted: str) -> None:
    assert mi.quote(text) == quoted


@pytest.mark.parametrize("text", ["a\n-gdb-exit", "a\rb", "a\0b"], ids=repr)
def test_an_argument_cannot_bring_a_second_command(text: str) -> None:
    with pytest.raises(UsageError, match="one line at a time"):
        mi.quote(text)


def test_a_breakpoint_s_stop() -> None:
    stop = mi.read_stop(
        _payload(
            '*stopped,reason="breakpoint-hit",disp="keep",bkptno="3",frame={addr="0xffff800008012345",'
            'func="cpu_resume",args=[],file="sleep.S",fullname="/k/sleep.S",line="101",arch="aarch64"},'
            'thread-id="2",stopped-threads="all",core="1"'
        )
    )
    assert (stop.reason, stop.thread, stop.breakpoint) == (StopReason.BREAKPOINT, 2, 3)
    assert stop.frame == mi.Frame(0, 0xFFFF800008012345, "cpu_resume", "/k/sleep.S", 101)


def test_a_watchpoint_s_stop_has_the_values() -> None:
    stop = mi.read_stop(
        _payload('*stopped,reason="watchpoint-trigger",wpt={number="2",exp="c"},value={old="1",new="2"}')
    )
    assert (stop.reason, stop.breakpoint, stop.old, stop.new) == (StopReason.WATCHPOINT, 2, "1", "2")


def test_a_read_watchpoint_s_stop_has_the_value() -> None:
    stop = mi.read_stop(
        _payload('*stopped,reason="read-watchpoint-trigger",hw-rwpt={number="4",exp="c"},value={value="7"}')
    )
    assert (stop.reason, stop.breakpoint, stop.new) == (StopReason.READ_WATCHPOINT, 4, "7")


def test_a_signal_s_stop_has_its_name() -> None:
    stop = mi.read_stop(_payload('*stopped,reason="signal-received",signal-name="SIGINT",thread-id="1"'))
    assert (stop.reason, stop.signal) == (StopReason.SIGNAL, "SIGINT")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('*stopped,thread-id="1",stopped-threads="all"', StopReason.HALTED),
        ('*stopped,reason="vfork"', StopReason.OTHER),
        ('*stopped,reason="exited-normally"', StopReason.EXITED_NORMALLY),
    ],
    ids=["none", "unknown", "end"],
)
def test_a_stop_s_reason(line: str, reason: StopReason) -> None:
    assert mi.read_stop(_payload(line)).reason is reason


def test_only_an_end_is_over() -> None:
    over = {reason for reason in StopReason if reason.over}
    assert over == {StopReason.KILLED, StopReason.EXITED, StopReason.EXITED_NORMALLY}


def test_a_frame_without_a_symbol_has_no_function() -> None:
    frame = mi.read_frame({"level": "1", "addr": "0x10", "func": "??"})
    assert frame == mi.Frame(1, 0x10)


def test_a_thread_that_runs_has_no_frame() -> None:
    (thread,) = _payload(
        '1^done,threads=[{id="2",target-id="Thread 1.2",details="CPU#1 [running]",state="running"}]'
    )["threads"]
    assert mi.read_thread(thread) == mi.Thread(2, "Thread 1.2", "CPU#1 [running]", running=True)


def test_a_breakpoint() -> None:
    point = _payload(
        '1^done,bkpt={number="1",type="hw breakpoint",disp="del",enabled="y",addr="0x0000000040080010",'
        'func="loop",times="0",original-location="loop"}'
    )
    expected = mi.Breakpoint(1, 0x40080010, "loop", hardware=True, temporary=True)
    assert mi.read_breakpoint(point["bkpt"]) == expected


def test_a_breakpoint_at_several_places_has_no_address() -> None:
    point = {"number": "1", "type": "breakpoint", "disp": "keep", "addr": "<MULTIPLE>"}
    assert mi.read_breakpoint(point).address is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("42", 42),
        ("-1", -1),
        ("0xffff800008cda26c", 0xFFFF800008CDA26C),
        ("97 'a'", 97),
        ("(long *) 0x40 <jiffies+8>", 0x40),
        ("0x1000 <_text>", 0x1000),
        ('0x1000 "Linux"', 0x1000),
        ("(void (*)(void)) 0xffff800008010000 <panic>", 0xFFFF800008010000),
        ("true", 1),
        ("{a = 1}", None),
        ("1.5", None),
        ("void", None),
    ],
)
def test_a_value_is_a_number_where_it_is_one(text: str, number: int | None) -> None:
    assert mi.read_value(text) == mi.Value(text, number)


def test_a_value_that_is_no_number_says_so() -> None:
    with pytest.raises(GdbError, match="no number"):
        int(mi.read_value("{a = 1}"))


def test_memory_is_read_up_to_the_first_gap() -> None:
    answer = _payload(
        '1^done,memory=[{begin="0x10",offset="0x0",end="0x12",contents="0102"},'
        '{begin="0x12",offset="0x2",end="0x13",contents="03"},{begin="0x20",offset="0x10",end="0x21",contents="ff"}]'
    )
    assert mi.read_memory(answer) == b"\1\2\3"


def test_memory_that_begins_late_is_not_read() -> None:
    assert (
        mi.read_memory({"memory": [{"begin": "0x12", "offset": "0x2", "end": "0x13", "contents": "03"}]})
        == b""
    )


def test_an_answer_that_lacks_what_belongs_to_it_is_an_error() -> None:
    with pytest.raises(ProtocolError, match="'addr'"):
        mi.read_frame({"level": "0"})


def test_a_number_that_is_none_is_an_error() -> None:
    with pytest.raises(ProtocolError, match="no number"):
        mi.read_frame({"level": "0", "addr": "<unavailable>"})

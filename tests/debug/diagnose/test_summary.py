"""The summary, and the texts behind it."""

from __future__ import annotations

from hil_agent.debug.diagnose import Evidence, Finding, Vcpu
from hil_agent.debug.diagnose.files import FILES
from hil_agent.debug.diagnose.gic import Interrupt
from hil_agent.debug.diagnose.summary import render
from hil_agent.debug.mi import Frame
from hil_agent.session.documents import Status

_STATUS = Status.model_validate(
    {
        "name": "s",
        "board": "b",
        "guest": "g",
        "state": "running",
        "profile": "xen",
        "trap": "el2",
        "console_log": "/c",
        "cpus": [{"cpu": 0, "mpidr": "0x0", "power": "on"}, {"cpu": 1, "mpidr": "0x1", "power": "off"}],
    }
)
_VCPU = Vcpu(
    0,
    "on",
    {"cpsr": 0x85, "pc": 0x1000, "SCTLR_EL1": 0, "CNTV_CTL_EL0": 5, "CNTV_CVAL_EL0": 0x99},
    backtrace=(Frame(0, 0x1000, "inner"), Frame(1, 0x2000, "outer")),
    symbols={0x1000: "inner+0x10"},
)


def _text(name: str, evidence: Evidence) -> str:
    _, render_file = FILES[name]
    return render_file(evidence)


def test_the_likely_cause_comes_first() -> None:
    findings = (Finding("a", "it is broken", "here"), Finding("b", "and old", "there"))
    text = render(Evidence(_STATUS), findings, {})
    assert text.startswith("# s: what was found\n\n## Likely cause\n\n**it is broken**\n\nLook at: here.\n")
    assert "- and old" in text


def test_without_a_cause_it_says_so() -> None:
    assert "Nothing that the rules know of" in render(Evidence(_STATUS), (), {})


def test_a_vcpu_is_told_with_its_backtrace_and_timers() -> None:
    text = render(Evidence(_STATUS, vcpus=(_VCPU,)), (), {})
    assert "    vCPU 0: on, EL1, MMU off, interrupts masked, inner+0x10\n" in text
    assert "      #1  0x0000000000002000  outer\n" in text
    assert "EL1 virtual timer: fires at count 0x99, its time has come\n" in text
    assert "    vCPU 1: off" in text


def test_interrupts_between_vcpus_are_told_where_they_are_on_their_way() -> None:
    idle = Interrupt(1, "SGI 1", 0, enabled=True, pending=False, active=False)
    coming = Interrupt(2, "SGI 2", 0, enabled=True, pending=True, active=False)
    text = render(Evidence(_STATUS, interrupts=(idle, coming)), (), {})
    assert "SGI 2" in text
    assert "SGI 1" not in text


def test_what_a_guest_says_is_neither_markdown_nor_for_the_terminal() -> None:
    text = render(Evidence(_STATUS, console=("```", "# no title", "\x1b[31mred")), (), {})
    assert "    ```\n    # no title\n    \\x1b[31mred\n" in text


def test_what_is_missing_is_said() -> None:
    assert "- interrupts: no stub" in render(Evidence(_STATUS, missing=("interrupts: no stub",)), (), {})


def test_sections_without_content_are_left_out() -> None:
    assert "could not be had" not in render(Evidence(_STATUS), (), {})


def test_all_registers_are_in_a_file() -> None:
    lines = _text("vcpus.txt", Evidence(_STATUS, vcpus=(_VCPU,))).splitlines()
    assert lines[0] == "vCPU 0: on, EL1, inner+0x10"
    assert "    pc            0x0000000000001000  inner+0x10" in lines


def test_interrupts_are_in_a_file() -> None:
    interrupt = Interrupt(27, "timer", 0, enabled=True, pending=True, active=False)
    text = _text("interrupts.txt", Evidence(_STATUS, interrupts=(interrupt,)))
    assert text.split() == ["27", "vCPU", "0", "enabled,", "pending", "timer"]


def test_a_file_without_content_is_empty() -> None:
    assert [_text(name, Evidence(_STATUS)) for name in FILES] == ["", "", "", ""]

"""Calls that end the machine, or begin it anew."""

from __future__ import annotations

from hil_agent.conformance.case import Call, Scenario, ask, scenario
from hil_agent.conformance.function_ids import Id
from hil_agent.conformance.observation import RESTARTED, SWITCHED_OFF, Answer, expect
from hil_agent.psci import ReturnCode

_INVALID, _NO = ReturnCode.INVALID_PARAMETERS, ReturnCode.NOT_SUPPORTED
_VENDOR = 1 << 31

_SOURCE = "DEN0022; measured"
_RESET2 = "DEN0022, SYSTEM_RESET2; Linux kvm/psci.c kvm_psci_1_x_call; Xen and QEMU have none; measured"
_OFF2 = "DEN0022, SYSTEM_OFF2; Linux selftests kvm/arm64/psci_test.c"


def _ends(
    name: str,
    call: Call,
    spec: Answer | tuple[Answer, ...],
    *,
    off: bool = False,
    source: str,
    **others: Answer,
) -> Scenario:
    expected = expect(spec, **others)
    return scenario(
        f"machine.{name}", call, expected, lambda lab: lab.end(call, off=off), source=source, last=True
    )


SCENARIOS = [
    _ends("off", Call(Id.SYSTEM_OFF), SWITCHED_OFF, off=True, source=_SOURCE),
    _ends("reset", Call(Id.SYSTEM_RESET), RESTARTED, source=_SOURCE),
    *(
        _ends(f"reset2.{width}", Call(function_id, (0, 0)), RESTARTED, xen=_NO, qemu=_NO, source=_RESET2)
        for width, function_id in (("32", Id.SYSTEM_RESET2_32), ("64", Id.SYSTEM_RESET2_64))
    ),
    _ends(
        "reset2.vendor",
        Call(Id.SYSTEM_RESET2_64, (_VENDOR, 0)),
        (RESTARTED, _INVALID, _NO),
        xen=_NO,
        kvm=RESTARTED,
        qemu=_NO,
        source=_RESET2,
    ),
    *(
        ask(
            f"machine.reset2.type_{kind:x}.{width}",
            Call(function_id, (kind, 0)),
            expect(_INVALID, xen=_NO, qemu=_NO),
            source=_RESET2,
        )
        for width, function_id in (("32", Id.SYSTEM_RESET2_32), ("64", Id.SYSTEM_RESET2_64))
        for kind in (1, 2, 0x7FFF_FFFF)
    ),
    *(
        _ends(
            f"off2.type_{kind}",
            Call(Id.SYSTEM_OFF2_64, (kind, 0)),
            SWITCHED_OFF,
            off=True,
            xen=_NO,
            kvm=_NO,
            qemu=_NO,
            source=_OFF2,
        )
        for kind in (0, 1)
    ),
    *(
        ask(
            f"machine.off2.type_{kind:x}.cookie_{cookie:x}.{width}",
            Call(function_id, (kind, cookie)),
            expect(_INVALID, xen=_NO, kvm=_NO, qemu=_NO),
            source=_OFF2,
        )
        for width, function_id in (("32", Id.SYSTEM_OFF2_32), ("64", Id.SYSTEM_OFF2_64))
        for kind, cookie in ((0, 1), (1, 1), (2, 0), (1 << 31, 0))
    ),
]

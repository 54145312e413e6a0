"""Monitor commands: what a debugger's ``monitor`` offers besides the protocol.

A command is a function in the registry. None evaluates text as code.
"""

from __future__ import annotations

import shlex
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from hil_agent.engine.run_control import RunControl
from hil_agent.errors import UsageError
from hil_agent.psci.faults import FaultInjector, parse_fault
from hil_agent.psci.functions import Function, ReturnCode
from hil_agent.rsp import Client
from hil_agent.stub.view import View
from hil_agent.suggest import suggest

_SHOWN_CALLS: Final = 20
_REGISTER_BITS: Final = 64


@dataclass(frozen=True, slots=True)
class Bench:
    """What the commands work on.

    Attributes:
        client: the target's own stub.
        run_control: when the machine goes on.
        view: its registers and memory.
        faults: the faults in the vPSCI's answers.
        calls: the trace records so far, oldest first.
    """

    client: Client
    run_control: RunControl
    view: View
    faults: FaultInjector
    calls: Callable[[], Sequence[Mapping[str, object]]]


_Function: TypeAlias = Callable[[Bench, int, Sequence[str]], str]


@dataclass(frozen=True, slots=True)
class _Command:
    """A function in the registry, with what ``help`` says of it."""

    function: _Function
    usage: str
    about: str


_COMMANDS: Final[dict[str, _Command]] = {}


def _command(name: str, arguments: str, about: str) -> Callable[[_Function], _Function]:
    def register(function: _Function) -> _Function:
        _COMMANDS[name] = _Command(function, f"{name} {arguments}".strip(), about)
        return function

    return register


class MonitorCommands:
    """The commands of one session, with the machine standing still.

    Args:
        bench: what they work on.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def run(self, line: str, cpu: int) -> str:
        """Runs a command.

        Args:
            line: as the debugger's user typed it.
            cpu: the vCPU that is selected there.

        Returns:
            What there is to print.

        Raises:
            UsageError: there is no such command, or it is not used like this.
            HilAgentError: it cannot be done.
        """
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise UsageError(f"monitor {line}: {error}") from None
        name, arguments = (words[0], words[1:]) if words else ("help", [])
        if name not in _COMMANDS:
            raise UsageError(f"there is no monitor command {name!r}", hint=suggest(name, _COMMANDS))
        return _COMMANDS[name].function(self._bench, cpu, arguments)


@_command("help", "[COMMAND]", "what there is")
def _help(_bench: Bench, _cpu: int, arguments: Sequence[str]) -> str:
    names = [name for name in arguments if name in _COMMANDS] or sorted(_COMMANDS)
    width = max(len(_COMMANDS[name].usage) for name in names)
    return "".join(f"{_COMMANDS[name].usage:{width}}  {_COMMANDS[name].about}\n" for name in names)


@_command("psci", "", "power of every vCPU, the resume context, calls by function")
def _psci(bench: Bench, _cpu: int, _arguments: Sequence[str]) -> str:
    vpsci = bench.run_control.executor.vpsci
    lines = [f"profile {vpsci.profile.name}, PSCI {vpsci.profile.psci_version}"]
    lines += [
        f"vCPU {cpu}: MPIDR {mpidr:#x}, {power.value}"
        for cpu, (mpidr, power) in enumerate(zip(vpsci.mpidrs, vpsci.powers, strict=True))
    ]
    if vpsci.context is not None:
        context = vpsci.context
        lines.append(
            f"suspended by vCPU {context.cpu}: entry point {context.entry_point:#x},"
            f" context ID {context.context_id:#x}"
        )
    elif vpsci.suspended:
        lines.append("suspended, without a context")
    lines += [
        f"{function.name if function else 'unknown'}: {' '.join(map(str, counts))}"
        for function, counts in vpsci.counts.items()
    ]
    return "\n".join(lines) + "\n"


@_command("resume", "[CODE]", "resume the suspended guest; with a return code its call returns that instead")
def _resume(bench: Bench, _cpu: int, arguments: Sequence[str]) -> str:
    executor = bench.run_control.executor
    if arguments:
        if len(arguments) > 1 or arguments[0] not in ReturnCode.__members__:
            raise UsageError(f"resume {' '.join(arguments)}: one of {', '.join(ReturnCode.__members__)}")
        executor.resume_as_is(ReturnCode[arguments[0]])
        return "the call returns; `continue` lets the guest go on\n"
    executor.resume()
    return "resumed: the vCPU is at its entry point; `continue` lets it go on\n"


@_command("trace", "[N]", "the latest N calls, 20 if left out")
def _trace(bench: Bench, _cpu: int, arguments: Sequence[str]) -> str:
    count = _number(arguments[0]) if arguments else _SHOWN_CALLS
    latest = deque(bench.calls(), maxlen=count)
    return "".join(
        f"{record['seq']:>6} {record['time_s']:>12.6f} cpu{record['cpu']} {record['conduit']}"
        f" {record['function']}({', '.join(map(str, _sequence(record['args'])))})"
        f" = {record['result'] or '-'}\n"
        for record in latest
    )


@_command(
    "fault", "[RULE | clear]", "list faults, add one (kind=return,function=CPU_ON,code=DENIED), drop all"
)
def _fault(bench: Bench, _cpu: int, arguments: Sequence[str]) -> str:
    if arguments == ["clear"]:
        bench.faults.clear()
    elif len(arguments) == 1:
        bench.faults.add(parse_fault(arguments[0]))
    elif arguments:
        raise UsageError("fault: one RULE, or clear")
    rules = [rule.model_dump_json(exclude_defaults=True) for rule in bench.faults.rules]
    return "".join(f"{rule}\n" for rule in rules) or "no faults\n"


@_command("break", "[psci FUNCTION | clear]", "stop when the guest makes that call, before it is answered")
def _break(bench: Bench, _cpu: int, arguments: Sequence[str]) -> str:
    catching = bench.run_control.executor.catching
    if arguments == ["clear"]:
        catching.clear()
    elif arguments:
        if len(arguments) != len(("psci", "FUNCTION")) or arguments[0] != "psci":
            raise UsageError("break: psci FUNCTION, or clear")
        name = arguments[1].upper()
        if name not in Function.__members__:
            raise UsageError(f"PSCI has no function {name}", hint=suggest(name, Function.__members__))
        bench.run_control.executor.catch(Function[name])
    return "".join(f"break psci {function.name}\n" for function in catching) or "no calls are caught\n"


@_command("call", "", "the call that was caught and waits for its answer")
def _call(bench: Bench, _cpu: int, _arguments: Sequence[str]) -> str:
    call = bench.run_control.executor.caught
    if call is None:
        return "no call waits for its answer\n"
    arguments = ", ".join(f"{argument:#x}" for argument in call.args)
    return (
        f"vCPU {call.cpu}: {call.conduit.value} {call.name}({arguments}), function ID {call.function_id:#x}\n"
    )


@_command("sysreg", "NAME [VALUE]", "read a system register of the selected vCPU, or write it")
def _sysreg(bench: Bench, cpu: int, arguments: Sequence[str]) -> str:
    if not 1 <= len(arguments) <= len(("NAME", "VALUE")):
        raise UsageError("sysreg: NAME [VALUE]")
    name = arguments[0].upper()
    registers = bench.client.description.registers
    if name not in registers:
        raise UsageError(f"the target has no system register {name}", hint=suggest(name, registers))
    if len(arguments) > 1:
        bench.view.write(cpu, registers[name], _number(arguments[1]))
    return f"vCPU {cpu}: {name} = {bench.view.value(cpu, name):#x}\n"


@_command("el2", "[on | off]", "whether our own code is debugged like any other")
def _el2(bench: Bench, _cpu: int, arguments: Sequence[str]) -> str:
    if arguments not in ([], ["on"], ["off"]):
        raise UsageError("el2: on or off")
    if arguments:
        bench.run_control.shows_own_code = arguments == ["on"]
    return f"our own code is {'shown' if bench.run_control.shows_own_code else 'hidden'}\n"


@_command("reset", "", "everything as after power-on, stopped before the guest's first instruction")
def _reset(bench: Bench, _cpu: int, _arguments: Sequence[str]) -> str:
    bench.run_control.reset()
    return "reset; `continue` boots the guest\n"


@_command("target", "COMMAND", "a monitor command of the target's own stub, such as QEMU's `info mtree`")
def _target(bench: Bench, _cpu: int, arguments: Sequence[str]) -> str:
    if not arguments:
        raise UsageError("target: COMMAND")
    return bench.client.monitor(shlex.join(arguments))


def _number(text: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << _REGISTER_BITS:
        raise UsageError(f"{text!r} is no number of up to 64 bits", hint="decimal, or hexadecimal with 0x")
    return value


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()

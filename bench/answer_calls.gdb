# Answers calls in gdb's own Python, and prints the seconds of each cycle as a list in JSON on a line of its own.
# $trap, $warm_up and $calls are set on the command line; so is whether breakpoints stay inserted while stopped.
set pagination off
set confirm off
hbreak *$trap
python
import json
import time

PSCI_VERSION, XEN_VERSION, NOT_SUPPORTED = 0x84000000, 0x10001, -1
EL_MASK, EL2 = 0xC, 0x8

def number(name):
    return int(gdb.parse_and_eval(f"${name}"))

def answer(trap):
    frame = gdb.newest_frame()
    if frame.pc() != trap or int(frame.read_register("cpsr")) & EL_MASK != EL2:
        raise gdb.GdbError("stopped somewhere else")
    function, *_ = (int(frame.read_register(f"x{index}")) for index in range(4))
    value = XEN_VERSION if function & 0xFFFFFFFF == PSCI_VERSION else NOT_SUPPORTED
    gdb.execute(f"set var $x0 = {value}")
    gdb.execute(f"set var $pc = {trap + 4}")

trap, warm_up, calls = number("trap"), number("warm_up"), number("calls")
gdb.execute("continue", to_string=True)
times = []
for _ in range(warm_up + calls):
    began = time.perf_counter()
    answer(trap)
    gdb.execute("continue", to_string=True)
    times.append(time.perf_counter() - began)
print("cycles:", json.dumps(times[-calls:]))
end
detach

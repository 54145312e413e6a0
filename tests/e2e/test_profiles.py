"""Linux under every profile, at every version of PSCI, and with poison at its entry points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from hil_agent.errors import StateError
from hil_agent.session import Session

if TYPE_CHECKING:
    from tests.e2e.conftest import Cycle

pytestmark = pytest.mark.e2e

Boot = Callable[..., Session]


@dataclass(frozen=True)
class Machine:
    """How a Linux is booted, and what it must make of it.

    Attributes:
        options: of `hil_agent.boot`.
        says: what its kernel says of PSCI's version.
        suspends: whether it has SYSTEM_SUSPEND.
        cpus: how many vCPUs it has.
    """

    options: dict[str, Any]
    says: str
    suspends: bool = True
    cpus: int = 2


MACHINES = {
    "spec": Machine({"profile": "spec"}, "PSCIv1.3 detected in firmware"),
    "xen": Machine({"profile": "xen"}, "PSCIv1.1 detected in firmware"),
    "xen-v16": Machine({"profile": "xen-v16"}, "PSCIv1.1 detected in firmware"),
    "kvm": Machine({"profile": "kvm"}, "PSCIv1.1 detected in firmware"),
    "qemu": Machine({"profile": "qemu"}, "PSCIv1.1 detected in firmware", suspends=False),
    "0.1": Machine(
        {"profile": "spec", "psci_version": "0.1"}, "Using PSCI v0.1 Function IDs from DT", suspends=False
    ),
    "0.2": Machine(
        {"profile": "spec", "psci_version": "0.2"}, "PSCIv0.2 detected in firmware", suspends=False
    ),
    "1.0": Machine({"profile": "spec", "psci_version": "1.0"}, "PSCIv1.0 detected in firmware"),
    "poison, spec, 1 vCPU": Machine({"profile": "spec", "poison": True}, "PSCIv1.3", cpus=1),
    "poison, spec, 4 vCPUs": Machine({"profile": "spec", "poison": True}, "PSCIv1.3", cpus=4),
    "poison, xen, 1 vCPU": Machine({"profile": "xen", "poison": True}, "PSCIv1.1", cpus=1),
    "poison, xen, 4 vCPUs": Machine({"profile": "xen", "poison": True}, "PSCIv1.1", cpus=4),
}
SUSPENDING = [name for name, machine in MACHINES.items() if machine.suspends]
COMPLAINTS = ("WARNING", "BUG", "Call trace", "Unable to handle", "failed to come online", "nobody cared")


@dataclass(frozen=True)
class Linux:
    """A guest, what it is to be like, and what its kernel has said while it booted."""

    session: Session
    machine: Machine
    kernel_log: str


@pytest.fixture(scope="module", params=MACHINES)
def linux(request: pytest.FixtureRequest, boot_shared: Boot) -> Iterator[Linux]:
    machine = MACHINES[request.param]
    with boot_shared(cpus=machine.cpus, **machine.options) as session:
        yield Linux(session, machine, session.exec("dmesg").text)


@pytest.fixture(scope="module")
def cycled(linux: Linux, cycle: Callable[[Session], Cycle]) -> Cycle:
    """Its first suspend and resume."""
    return cycle(linux.session)


def test_the_kernel_sees_the_version(linux: Linux) -> None:
    assert linux.machine.says in linux.kernel_log


def test_every_vcpu_comes_up(linux: Linux) -> None:
    assert f"SMP: Total of {linux.machine.cpus} processors activated" in linux.kernel_log


def test_deep_suspend_is_offered_where_there_is_system_suspend(linux: Linux) -> None:
    offered = linux.session.exec("cat /sys/power/mem_sleep").text
    assert offered == ("s2idle [deep]" if linux.machine.suspends else "[s2idle]")


@pytest.mark.parametrize("linux", SUSPENDING, indirect=True)
def test_it_suspends_and_resumes(cycled: Cycle) -> None:
    assert (cycled.command.status, cycled.successes) == (0, (0, 1))


@pytest.mark.parametrize("linux", SUSPENDING, indirect=True)
def test_every_vcpu_is_back_after_the_resume(linux: Linux, cycled: Cycle) -> None:
    online = linux.session.exec("grep -c ^processor /proc/cpuinfo").text
    assert (int(online), {cpu.power for cpu in linux.session.status().cpus}) == (linux.machine.cpus, {"on"})


@pytest.mark.parametrize("linux", SUSPENDING, indirect=True)
def test_the_kernel_complains_of_nothing(linux: Linux, cycled: Cycle) -> None:
    lines = (linux.kernel_log + cycled.kernel_log).splitlines()
    assert [line for line in lines if any(sign in line for sign in COMPLAINTS)] == []


def test_every_call_is_counted_by_function_and_vcpu(linux: Linux) -> None:
    made = Counter((call.function, call.cpu) for call in linux.session.trace())
    counted = {
        (function, cpu): count
        for function, counts in linux.session.status().counters.items()
        for cpu, count in enumerate(counts)
        if count
    }
    assert counted == made


@pytest.mark.parametrize("linux", ["0.1"], indirect=True)
def test_before_0_2_only_the_function_ids_of_the_device_tree_are_called(linux: Linux) -> None:
    called = {int(call.function_id, 16) for call in linux.session.trace()}
    assert called <= {0x95C1BA5E, 0x95C1BA5F, 0x95C1BA60}


@pytest.mark.parametrize("linux", ["qemu"], indirect=True)
def test_without_system_suspend_the_message_says_why(linux: Linux) -> None:
    with pytest.raises(StateError, match="s2idle"):
        linux.session.suspend()


def test_linux_sees_the_trusted_os(boot: Boot) -> None:
    session = boot(profile="spec", cpus=2, trusted_os="migratable")
    assert "psci: Trusted OS resident on physical CPU 0x0" in session.exec("dmesg").text


def test_linux_calls_the_workarounds_that_xen_offers_on_cpus_that_need_them(boot: Boot) -> None:
    counters = boot(profile="xen", mitigations=True, timeout_s=120.0).status().counters
    assert {"SMCCC_ARCH_WORKAROUND_1", "SMCCC_ARCH_WORKAROUND_2"} <= counters.keys()

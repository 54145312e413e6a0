"""What is wrong with a session: everything that can be had about it, in one folder, with a summary.

``gather`` asks the session, its files and gdb, and what it finds is ``evidence``; ``gic`` reads the interrupt
controller. ``rules`` draws conclusions, ``summary`` writes them for people. The last two are pure.
"""

from hil_agent.debug.diagnose.evidence import Diagnosis, Evidence, Finding, Vcpu
from hil_agent.debug.diagnose.gather import diagnose

__all__ = ["Diagnosis", "Evidence", "Finding", "Vcpu", "diagnose"]

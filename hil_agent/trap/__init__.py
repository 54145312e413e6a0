"""Where a guest's calls are caught, whatever way that is done.

``source`` is the interface: what the executor asks of a trap source, and the values between them. The
rest is for trap sources that have code of ours in the guest's machine, a monitor, in which vCPUs wait:
``build`` assembles it, ``monitor`` reads its labels, ``program`` makes what it runs for us out of the
encodings in ``system_registers``, ``monitored`` puts it to work over a debug stub.
"""

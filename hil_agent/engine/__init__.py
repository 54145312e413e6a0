"""The machine under a guest, and the one thread that owns it.

``executor`` carries out what the vPSCI decides, ``run_control`` says when the machine goes on, ``loop`` waits
for stops and for requests, ``events`` says what happened.
"""

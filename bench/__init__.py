"""Measures how fast hil_agent is: ``make bench``, or ``python -m bench``.

Every result is a ratio to something on the same machine in the same run that cannot be beaten, or that
is what people have without hil_agent: see docs/benchmarks.md. One module measures each part.
"""

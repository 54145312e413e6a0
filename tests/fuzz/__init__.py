"""Programs for a coverage-guided fuzzer; `tests/stub/test_packets_fuzzed.py` runs them for a bounded time."""

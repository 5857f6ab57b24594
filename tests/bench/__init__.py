"""The benchmarks: ``python -m tests.bench [name ...] [--rounds N]``.

Times differ from machine to machine and from hour to hour. So each benchmark compares within one
run, takes turns between what it compares, and prints medians with their spread.
"""

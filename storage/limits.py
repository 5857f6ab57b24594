"""What one store may take of the machine: memory and threads for its DuckDB."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from memql.errors import InterfaceError

_UNITS_BYTES = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}

# With less DuckDB cannot open a catalog and join two tables.
LEAST_MEMORY_BYTES = 64 * 2**20
_MOST_MEMORY_BYTES = 2**50
_MOST_THREADS = 1024

# A process has a model beside its DuckDB, and other things to do: a quarter of the memory.
_SHARE_OF_MACHINE = 4

# DuckDB divides a table among threads from 122,880 rows on; each thread has buffers of its own.
_USUAL_THREADS = 4

# What does not fit into memory_limit goes to files, at most this many times the limit.
_SPILL_TIMES = 4


@dataclass(frozen=True)
class Limits:
    """What a store's DuckDB may take.

    Args:
        memory_bytes: memory for tables, hash tables, sorting and results.
        threads: how many threads run its queries.
    """

    memory_bytes: int
    threads: int

    @property
    def spill_bytes(self) -> int:
        """The most that may lie in files while a query runs."""
        return self.memory_bytes * _SPILL_TIMES


def limits_of(
    memory_limit: str | int | None, threads: int | None, without: Limits | None = None
) -> Limits:
    """Return the limits that a program asks for.

    Args:
        memory_limit: a size such as '4GB' or '512 MiB', or bytes; None leaves it.
        threads: how many threads; None leaves it.
        without: what holds where nothing is asked for; None is a quarter of the machine's memory
            and up to four threads.

    Raises:
        InterfaceError: a value is no size or number, or out of range.
    """
    if without is None:
        share = machine_memory_bytes() // _SHARE_OF_MACHINE
        memory = max(share - share % 2**20, LEAST_MEMORY_BYTES)
        without = Limits(memory, min(usable_threads(), _USUAL_THREADS))
    return Limits(
        without.memory_bytes if memory_limit is None else _memory_bytes(memory_limit),
        without.threads if threads is None else _threads(threads),
    )


def show_bytes(value: int) -> str:
    """Return a size as ``connect`` takes it, in its largest whole unit.

    >>> show_bytes(4_000_000_000), show_bytes(512 * 2**20)
    ('4GB', '512MiB')
    """
    fits = [unit for unit, size in _UNITS_BYTES.items() if value % size == 0]
    unit = max(fits, key=_UNITS_BYTES.__getitem__)
    return f"{value // _UNITS_BYTES[unit]}{unit.replace('I', 'i')}"


def machine_memory_bytes() -> int:
    """Return the memory that this process can have: the machine's, or its control group's."""
    sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in _GROUP_FILES:
        try:
            text = Path(path).read_text()
        except OSError:
            continue  # another system, or another version of control groups
        if text.strip().isdigit():
            sizes.append(int(text))
    return min(sizes)


_GROUP_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def usable_threads() -> int:
    """Return how many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_bytes(value: object) -> int:
    found = value if isinstance(value, int) and not isinstance(value, bool) else None
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,6})?)\s*([KMGT]?I?B)\s*", value.upper())
        if match is not None and match[2] in _UNITS_BYTES:
            found = int(float(match[1]) * _UNITS_BYTES[match[2]])
    if found is None or not LEAST_MEMORY_BYTES <= found <= _MOST_MEMORY_BYTES:
        raise InterfaceError(
            f"memory_limit is a size from {show_bytes(LEAST_MEMORY_BYTES)} on, found {value!r}",
            hint="give it as '4GB', '512MiB', or as a number of bytes",
            code="22023",
        )
    return found


def _threads(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST_THREADS:
        raise InterfaceError(
            f"threads is a whole number from 1 to {_MOST_THREADS:,}, found {value!r}",
            code="22023",
        )
    return value

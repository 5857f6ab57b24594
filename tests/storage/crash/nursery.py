"""A process that has loaded all packages and makes children of itself, which work and are killed.

Reads jobs from standard input, a JSON object a line, and answers each with a line. With
`--compile` its children compile nodes with the default model instead of making them up.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.storage.crash import mutants, steps
from tests.storage.crash.work import CompilingWork, Expected, Operation, Work, say_to

_COMPILES = "--compile" in sys.argv[1:]
_WORK = CompilingWork if _COMPILES else Work

# How a child ends that opened the store and did not pass its step of recovery.
MISSED = 3

# Far more than any child needs to come to its step.
_OPERATIONS = 400


def _child(job: dict[str, Any], descriptor: int) -> None:
    say = say_to(descriptor)
    try:
        if job["mutant"]:
            mutants.break_protocol(job["mutant"], setattr)
        if job["step"]:
            source = random.Random(job["seed"])
            # Recovery and opening pass their steps once; of the others not always the first.
            step = steps.BY_NAME[job["step"]]
            left = 1 if step.left or step.fresh else source.randint(1, 3)
            steps.arm(step, _killing_at(left), setattr)
        expected = Expected()
        for told in job["done"]:
            expected.apply(Operation.of(told))
        work = _WORK(Path(job["folder"]), expected, job["seed"], say)
        assert _COMPILES or "torch" not in sys.modules, "plain work loads no model runtime"
        say({"ready": True})
        if job["step"] and step.left:
            # Recovery is over. Where no node was kept, it has fewer steps.
            os._exit(MISSED)
        if job["step"]:
            work.run(_OPERATIONS)
        else:
            work.run_together(_OPERATIONS)
    except BaseException:
        say({"error": traceback.format_exc()})


def _killing_at(passes: int) -> Callable[[], None]:
    left = passes

    def kill() -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return kill


def _run(job: dict[str, Any]) -> dict[str, Any]:
    """Run one child to its end; kill it where no step does."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            _child(job, writing)
        finally:
            os._exit(1)
    os.close(writing)
    said = b""
    ends: float | None = None
    while True:
        waits = None if ends is None else max(0.0, ends - time.monotonic())
        if not select.select([reading], [], [], waits)[0]:
            os.kill(pid, signal.SIGKILL)
            ends = None
            continue
        piece = os.read(reading, 1 << 16)
        if not piece:
            break
        said += piece
        if not job["step"] and ends is None and b"ready" in said:
            ends = time.monotonic() + job["seconds"]
    os.close(reading)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return {"said": [json.loads(line) for line in said.splitlines()], "status": status}


def load_all() -> None:
    """Load what a child would load at its first operations, so that no child has to."""
    with tempfile.TemporaryDirectory(prefix="memql-crash-") as folder:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                work = _WORK(Path(folder), Expected(), 0, lambda told: None)
                work.run(20)
                work.close()
                os.write(writing, "\n".join(sys.modules).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as names:
            found = names.read().splitlines()
        os.waitpid(pid, 0)
    assert "lance" in found, "the first child has not come to its end"
    for name in found:
        if name != "__mp_main__" and name not in sys.modules:
            with suppress(ImportError):  # made by a module for itself, not found by its name
                importlib.import_module(name)


def main() -> None:
    """Answer jobs until there are no more."""
    # Nothing of Lance runs here, only in the children.
    warnings.filterwarnings("ignore", "lance is not fork-safe")
    load_all()
    for line in sys.stdin:
        print(json.dumps(_run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()

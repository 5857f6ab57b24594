"""Runs many children, kills each, and checks the store that it leaves."""

from __future__ import annotations

import itertools
import json
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.storage.crash.nursery import MISSED
from tests.storage.crash.oracle import Read, Violation, settle
from tests.storage.crash.steps import BY_NAME, LEAVING, STEPS, Step
from tests.storage.crash.work import Expected, Operation

# A store lives through this many crashes before a new one takes its place.
_CRASHES_A_STORE = 12

# Of one job: each child has one of its own, for its names.
_SEEDS_A_JOB = 20

# Long enough for a hundred operations, short enough that many children die in their first.
_MOST_SECONDS = 0.5


class Missed(Exception):
    """What an earlier crash left was recovered without the step that was asked for."""


@dataclass
class Covered:
    """The work that was done and checked.

    Args:
        kills: by step; "at random" are those at no step.
        operations: that were acknowledged, by kind.
        pending: operations that had begun when the child died.
        stores: how many.
        seconds: that it took.
        read: what was read to check it.
    """

    kills: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    pending: int = 0
    stores: int = 0
    seconds: float = 0.0
    read: Read = field(default_factory=Read)

    def __str__(self) -> str:
        each = ", ".join(f"{name} {count}" for name, count in sorted(self.kills.items()))
        done = ", ".join(f"{count} {kind}" for kind, count in sorted(self.operations.items()))
        return (
            f"{sum(self.kills.values())} kills of {self.stores} stores in {self.seconds:.0f} s\n"
            f"  at: {each}\n"
            f"  acknowledged: {sum(self.operations.values())} operations ({done});"
            f" {self.pending} more had begun\n"
            f"  read again: {self.read.rows:,} rows, {self.read.nodes:,} nodes,"
            f" {self.read.bytes:,} bytes"
        )


class Nursery:
    """The process that children are forked from.

    Args:
        compiles: whether they compile nodes with the default model.
    """

    def __init__(self, compiles: bool = False) -> None:
        self.compiles = compiles
        options = ["--compile"] if compiles else []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.storage.crash.nursery", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """Let a child do a job, and return what it said and how it ended.

        Args:
            job: see `nursery`.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def close(self) -> None:
        """End it."""
        self._process.communicate()


@dataclass
class Life:
    """A store from crash to crash.

    Args:
        folder: where it is.
        expected: what it holds.
        done: all operations that it holds.
        check_nodes: whether its nodes are known one by one.
    """

    folder: Path
    expected: Expected = field(default_factory=Expected)
    done: list[Operation] = field(default_factory=list)
    check_nodes: bool = True

    def crash(
        self, nursery: Nursery, step: Step | None, seed: int, covered: Covered, mutant: str = ""
    ) -> list[Operation]:
        """Let a child work here until it dies; return the operations it had begun.

        Args:
            nursery: where the child comes from.
            step: where it dies; None for any moment.
            seed: of its work.
            covered: is told of it.
            mutant: what its protocol lacks.

        Raises:
            Violation: the child failed, or has not come to the step.
            Missed: the step is one of recovery, and it was not passed.
        """
        job = {
            "folder": str(self.folder),
            "step": step.name if step else None,
            "seed": seed,
            "seconds": random.Random(seed).uniform(0, _MOST_SECONDS),
            "mutant": mutant,
            "done": [operation.told() for operation in self.done],
        }
        answer = nursery.run(job)
        if answer["status"] == MISSED:
            raise Missed(step)
        begun: dict[str, Operation] = {}
        for told in answer["said"]:
            if "error" in told:
                raise Violation(f"the child failed: {told['error']}")
            if "begin" in told:
                operation = Operation.of(told["begin"])
                begun[operation.lane] = operation
            elif "done" in told:
                operation = begun.pop(told["done"])
                self.expected.apply(operation)
                self.done.append(operation)
                covered.operations[operation.kind] += 1
        if answer["status"] != -signal.SIGKILL:
            raise Violation(f"the child ended with {answer['status']}, not at {step}")
        covered.kills[step.name if step else "at random"] += 1
        covered.pending += len(begun)
        return list(begun.values())

    def settle(self, pending: Sequence[Operation], covered: Covered) -> None:
        """Open the store and check it.

        Args:
            pending: what `crash` returned.
            covered: is told of it.

        Raises:
            Violation: it does not hold what was acknowledged.
        """
        before = (self.expected.commits, dict(self.expected.nodes))
        covered.read.add(settle(self.folder, self.expected, pending, self.check_nodes))
        # What had begun may have been done: the next child must know.
        for operation in pending:
            if operation.lane == "memories" and self.expected.commits != before[0]:
                self.done.append(operation)
            if operation.lane == "nodes" and self.expected.nodes != before[1]:
                self.done.append(operation)


def draw(kills: int, each: int, seed: int) -> list[Step | None]:
    """The steps at which children die: each at least so often, the others at random moments.

    Args:
        kills: how many.
        each: how many at each step.
        seed: of their order.
    """
    drawn: list[Step | None] = list(itertools.chain.from_iterable([step] * each for step in STEPS))
    assert len(drawn) <= kills, f"{len(drawn)} kills are needed for {each} at each step"
    drawn += [None] * (kills - len(drawn))
    random.Random(seed).shuffle(drawn)
    return drawn


def run(
    folder: Path,
    kills: int,
    each: int,
    seed: int,
    workers: int = 2,
    told: Callable[[str], None] = lambda text: None,
) -> Covered:
    """Kill many children and check all that they leave.

    Args:
        folder: for the stores; empty.
        kills: how many.
        each: how many at each step, at least.
        seed: of all that is drawn.
        workers: how many at a time.
        told: takes a line now and then.

    Raises:
        Violation: a store does not hold what was acknowledged.
    """
    waiting: queue.SimpleQueue[tuple[int, Step | None]] = queue.SimpleQueue()
    for job in enumerate(draw(kills, each, seed)):
        waiting.put(job)
    started = time.monotonic()
    parts = [Covered() for _ in range(workers)]
    failures: list[BaseException] = []

    def work(number: int) -> None:
        worker = _Worker(folder / str(number), seed, parts[number])
        try:
            for job, step in _taken(waiting, failures):
                worker.kill(job, step)
                if job % 50 == 49:
                    told(f"{job + 1} kills, {time.monotonic() - started:.0f} s")
        except BaseException as error:
            failures.append(error)
        finally:
            worker.nursery.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    covered = Covered(seconds=time.monotonic() - started)
    for part in parts:
        covered.kills += part.kills
        covered.operations += part.operations
        covered.pending += part.pending
        covered.stores += part.stores
        covered.read.add(part.read)
    return covered


def _taken(
    waiting: queue.SimpleQueue[tuple[int, Step | None]], failures: list[BaseException]
) -> Iterator[tuple[int, Step | None]]:
    while not failures:
        try:
            yield waiting.get_nowait()
        except queue.Empty:
            return


@dataclass
class _Worker:
    """One store after another, each through many crashes."""

    folder: Path
    seed: int
    covered: Covered
    nursery: Nursery = field(default_factory=Nursery)
    life: Life | None = None
    crashes: int = 0

    def kill(self, job: int, step: Step | None) -> None:
        if self.life is None or self.crashes >= _CRASHES_A_STORE or (step and step.fresh):
            self.covered.stores += 1
            self.folder.mkdir(parents=True, exist_ok=True)
            self.life, self.crashes = Life(self.folder / str(self.covered.stores)), 0
        seed = self.seed + _SEEDS_A_JOB * job
        if step is None or not step.left:
            pending = self.life.crash(self.nursery, step, seed, self.covered)
        else:
            pending = self._recover(self.life, step, seed)
        self.life.settle(pending, self.covered)
        self.crashes += 1

    def _recover(self, life: Life, step: Step, seed: int) -> list[Operation]:
        # Something to recover first: this crash is counted, but nobody looks before the next.
        for attempt in range(seed + 1, seed + _SEEDS_A_JOB):
            leaving = BY_NAME[random.Random(attempt).choice(LEAVING)]
            pending = life.crash(self.nursery, leaving, attempt, self.covered)
            try:
                return pending + life.crash(self.nursery, step, seed, self.covered)
            except Missed:
                life.settle(pending, self.covered)
        raise Violation(f"no child came to {step} in {_SEEDS_A_JOB} attempts")

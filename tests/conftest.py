"""Settings of every test run."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from memql.engine import calibrations, optimize, reuse
from memql.engine.cost import Calibration
from memql.engine.optimize.verify import verify
from tests.error_sites import ROOT, Recorder
from tests.soak import SOAK_FACTOR

# How long an example takes depends on the machine; whether it is right does not.
settings.register_profile(
    "default", max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("soak", settings.get_profile("default"), max_examples=30 * SOAK_FACTOR)
settings.load_profile("default" if SOAK_FACTOR == 1 else "soak")

# Says which errors all the other tests reached, so that it makes sense only behind all of them.
LAST_TEST = "test_every_error_is_reached_by_a_test"
RECORDER = pytest.StashKey[Recorder]()


def pytest_configure(config: pytest.Config) -> None:
    """Note from here on where errors are made."""
    recorder = config.stash[RECORDER] = Recorder()
    recorder.start()
    config.add_cleanup(recorder.stop)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Move the test of the reached errors to the end, or leave it out of a part of the tests."""
    last = [item for item in items if item.name == LAST_TEST]
    others = [item for item in items if item.name != LAST_TEST]
    options = ("keyword", "markexpr", "deselect", "lf", "stepwise")
    if {item.path for item in items} >= _test_files() and not any(
        config.getoption(option, None) for option in options
    ):
        items[:] = [*others, *last]
    else:
        items[:] = others
        config.hook.pytest_deselected(items=last)


def _test_files() -> set[Path]:
    return set((ROOT / "tests").rglob("test_*.py"))


@pytest.fixture
def recorder(request: pytest.FixtureRequest) -> Recorder:
    """The recorder of this run."""
    return request.config.stash[RECORDER]


# About what `tiny` takes on two quiet cores.
CALIBRATION = Calibration(
    pass_seconds=4e-3,
    token_seconds=1e-4,
    pair_seconds=1e-7,
    node_seconds=1e-3,
    byte_seconds=1e-9,
)


@pytest.fixture(autouse=True)
def same_speed_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let plans be chosen alike on every machine, however busy it is: nothing is measured."""
    monkeypatch.setattr(calibrations, "measure", lambda spec, store: CALIBRATION)
    monkeypatch.setattr(calibrations, "DRIFT", math.inf)
    monkeypatch.setattr(reuse, "has_room", lambda runtime: False)


@pytest.fixture(autouse=True)
def every_plan_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at each plan after each rule that changed it."""
    monkeypatch.setattr(optimize, "check_plan", verify)

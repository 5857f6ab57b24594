"""The adaptive stage: ways to bring a prompt, their cost, and what is chosen."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import memql
from memql.engine import calibrations as calibrations_module
from memql.engine import reuse
from memql.engine.calibrations import OBSERVED, Calibrations, calibrations_of, measure
from memql.engine.choice import WORTH_SECONDS, WORTH_SHARE, Match, describe_way, ways
from memql.engine.cost import Calibration
from memql.engine.model.prefix import Prefix
from memql.engine.model.spec import describe
from memql.engine.model.speed import fit
from memql.engine.prompt import Prompt, Row, Segment
from memql.errors import OperationalError
from memql.storage.activations import Activations
from memql.storage.nodes import Boundary, DamagedNode
from memql.storage.store import Store
from memql.storage.tree import Tree
from tests.conftest import CALIBRATION

pytestmark = pytest.mark.slow

SPEC = describe("tiny", "tiny", {})
COSTS = st.floats(0, 1e-2, allow_nan=False)


class _Stored:
    """A store as :func:`ways` sees it: a chain of nodes, one for each of some segments."""

    def __init__(self, prompt: Prompt, sizes: list[int]) -> None:
        nodes: list[tuple[int, bytes | None, int]] = []
        boundaries = []
        parent = None
        for number, size in enumerate(sizes):
            segment = prompt.segments[number]
            nodes.append((number, parent, size))
            boundaries.append(Boundary(segment.key, number, len(segment.ids)))
            parent = segment.key
        self.tree = Tree(nodes, boundaries)
        self.activations = self


def _prompt(lengths: list[int]) -> Prompt:
    segments = tuple(
        Segment(Row(str(number), ()), (7,) * length, str(number).encode())
        for number, length in enumerate(lengths)
    )
    return Prompt((), b"root", segments)


def _ways(lengths: list[int], sizes: list[int], calibration: Calibration | None):  # type: ignore[no-untyped-def]
    prompt = _prompt(lengths)
    found = Match(None, 0, 0)
    if sizes:
        found = Match(prompt.segments[len(sizes) - 1].key, len(sizes), sum(lengths[: len(sizes)]))
    return ways(prompt, found, _Stored(prompt, sizes), calibration)  # type: ignore[arg-type]


@given(
    lengths=st.lists(st.integers(1, 500), min_size=1, max_size=8),
    sizes=st.lists(st.integers(1, 10**8), max_size=8),
    costs=st.tuples(COSTS, COSTS, COSTS, COSTS, COSTS),
)
def test_the_chosen_way_is_the_cheapest_or_nearly(
    lengths: list[int], sizes: list[int], costs: tuple[float, float, float, float, float]
) -> None:
    sizes = sizes[: len(lengths)]
    calibration = Calibration(*costs)
    found = _ways(lengths, sizes, calibration)
    assert len(found) == len(sizes) + 1  # to load nothing is a way, too
    for way in found:
        loaded = way.match.segments
        assert way.match.tokens == sum(lengths[:loaded]) == sum(lengths) - way.computed_tokens
        assert (way.nodes, way.bytes) == (loaded, sum(sizes[:loaded]))
        assert way.seconds == pytest.approx(
            loaded * calibration.node_seconds
            + sum(sizes[:loaded]) * calibration.byte_seconds
            + calibration.computing(sum(lengths[loaded:]), sum(lengths[:loaded]))
        )
    cheapest = min(way.seconds for way in found)
    lost = found[0].seconds - cheapest
    assert lost <= max(WORTH_SECONDS, WORTH_SHARE * found[0].seconds) * (1 + 1e-9)
    others = [way.seconds for way in found[1:]]
    assert others == sorted(others)


def test_without_a_calibration_what_is_stored_is_used() -> None:
    found = _ways([10, 10, 10], [5, 5], None)
    assert [way.match.segments for way in found] == [2, 1, 0]
    assert all(way.seconds is None for way in found)
    assert describe_way(found[0]) == "load 20 tokens, compute 10"
    assert describe_way(found[-1]) == "compute 30"


def test_a_long_prompt_takes_several_passes_and_grows_faster_than_its_length() -> None:
    calibration = Calibration(1.0, 0.01, 0.001, 0, 0)
    assert calibration.computing(0, 500) == 0
    assert calibration.computing(1024, 0) == pytest.approx(1 + 10.24 + 1024 * 512 * 0.001)
    assert calibration.computing(1025, 0) - calibration.computing(1024, 0) > 1
    assert calibration.computing(10, 1000) > calibration.computing(10, 0)


@given(costs=st.tuples(*(st.floats(1e-6, 1e-2) for _ in range(3))))
def test_a_fit_finds_what_passes_cost(costs: tuple[float, float, float]) -> None:
    known = Calibration(*costs, 0, 0)
    shapes = [(8, 0), (64, 0), (256, 0), (256, 2048)]
    found = fit([(tokens, behind, known.computing(tokens, behind)) for tokens, behind in shapes])
    again = Calibration(*found, 0, 0)
    for tokens, behind in (*shapes, (100, 500)):
        assert again.computing(tokens, behind) == pytest.approx(
            known.computing(tokens, behind), rel=0.01
        )


def test_a_fit_has_no_negative_cost() -> None:
    assert min(fit([(8, 0, 1.0), (64, 0, 0.5), (256, 0, 0.4), (256, 2048, 0.3)])) >= 0


@pytest.mark.slow
def test_a_model_is_measured_once_for_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def once(spec: object, store: Store) -> Calibration:
        measured.append(measure(SPEC, store))
        return measured[-1]

    monkeypatch.setattr(calibrations_module, "measure", once)
    path = tmp_path / "s"
    with memql.connect(path) as con:
        con.execute("INSERT INTO memories (content) VALUES ('Alice lives in Lisbon.')")
        query = "SELECT generate('Where?', max_tokens := 1) FROM memories"
        con.execute(f"{query} MATERIALIZE AS ACTIVATION").fetchall()
        assert not measured  # nothing was stored that could have been loaded
        con.execute(query).fetchall()
        con.execute(query).fetchall()
        assert len(measured) == 1
        assert all(value >= 0 for value in measured[0].quantities().values())
        assert measured[0].computing(500, 0) > measured[0].computing(8, 0) > 0
        assert measured[0].loading(1, 10**7) > 0
        assert not (path / "scratch").exists()
    with memql.connect(path) as con:
        con.execute(query).fetchall()
        explained = "\n".join(row[0] for row in con.execute(f"EXPLAIN {query}"))
        assert len(measured) == 1 and "estimated_load_seconds" in explained
        store = con._session._store
        assert calibrations_of(store).known(SPEC) == measured[0]


def test_what_a_crash_left_of_a_measurement_is_removed(tmp_path: Path) -> None:
    memql.connect(tmp_path / "s").close()
    (tmp_path / "s" / "scratch").mkdir()
    (tmp_path / "s" / "scratch" / "half").write_text("x")
    memql.connect(tmp_path / "s").close()
    assert not (tmp_path / "s" / "scratch").exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s")
    (store.folder / "scratch").write_text("in the way")
    with pytest.raises(OperationalError, match="cannot measure in .*scratch"):
        measure(SPEC, store)
    store.close()


def test_a_disk_that_cannot_be_measured_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(spec: object, store: object) -> Calibration:
        raise OperationalError("the disk is full")

    monkeypatch.setattr(calibrations_module, "measure", full)
    with memql.connect(tmp_path / "s") as con:
        con.execute("INSERT INTO memories (content) VALUES ('Alice lives in Lisbon.')")
        con.execute("SELECT content FROM memories MATERIALIZE AS ACTIVATION")
        row = con.execute("SELECT generate('Where?', max_tokens := 1) FROM memories").fetchone()
        assert row is not None and row[0].reused_tokens == row[0].tokens


def test_estimates_that_are_off_for_long_are_corrected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrations_module, "DRIFT", 1.5)
    store = Store.open(tmp_path / "s")
    known = Calibrations(store)
    assert known.measured(SPEC) == CALIBRATION
    for _ in range(OBSERVED):
        known.observe(SPEC, "load", 0.01, 0.011)  # within what is usual
    for _ in range(OBSERVED - 1):
        known.observe(SPEC, "compute", 0.01, 0.03)
    known.observe(SPEC, "compute", None, 5.0)
    known.observe(SPEC, "compute", 1e-6, 1e-5)  # too short to tell
    assert known.known(SPEC) == CALIBRATION
    known.observe(SPEC, "compute", 0.01, 0.03)
    now = known.known(SPEC)
    assert now is not None
    assert now.pass_seconds == pytest.approx(3 * CALIBRATION.pass_seconds)
    assert now.node_seconds == CALIBRATION.node_seconds
    assert Calibrations(store).known(SPEC) == now  # the catalog knows it
    store.close()


def test_one_slow_moment_is_no_drift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrations_module, "DRIFT", 1.5)
    store = Store.open(tmp_path / "s")
    known = Calibrations(store)
    known.measured(SPEC)
    for number in range(3 * OBSERVED):
        known.observe(SPEC, "load", 0.01, 5.0 if number % 3 == 0 else 0.01)
    assert known.known(SPEC) == CALIBRATION
    store.close()


def _costs(load: float, compute: float) -> Calibration:
    return CALIBRATION.scaled(load, compute)


@pytest.mark.parametrize(
    ("load", "form", "reason"),
    [
        (1.0, "ACTIVATION", "every boundary is stored"),
        (1e6, "PLAINTEXT", "computing is cheaper than loading"),
    ],
)
def test_auto_takes_what_is_cheaper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: float, form: str, reason: str
) -> None:
    monkeypatch.setattr(calibrations_module, "measure", lambda *_: _costs(load, 1))
    with memql.connect(tmp_path / "s") as con:
        con.executemany(
            "INSERT INTO memories (content) VALUES (?)", [[f"Fact {n}."] for n in range(9)]
        )
        con.execute("SELECT content FROM memories MATERIALIZE AS ACTIVATION")
        query = "SELECT generate('Which?', max_tokens := 3) FROM memories"
        row = con.execute(query).fetchone()
        assert row is not None and row[0].form == form
        text = con.execute(f"{query} MATERIALIZE AS PLAINTEXT").fetchone()
        assert text is not None and text[0] == row[0]  # the answer does not hang on it
        explained = "\n".join(line for (line,) in con.execute(f"EXPLAIN {query}"))
        assert f"reason: {reason}" in explained and "alternative_1: " in explained


def test_what_is_computed_again_is_not_stored_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrations_module, "measure", lambda *_: _costs(1e6, 1))
    with memql.connect(tmp_path / "s") as con:
        con.execute("INSERT INTO memories (content) VALUES ('One.')")
        query = "SELECT generate('Which?', max_tokens := 1) FROM memories MATERIALIZE AS ACTIVATION"
        con.execute(query).fetchall()
        con.execute("INSERT INTO memories (content) VALUES ('Two.')")
        row = con.execute(query).fetchone()
        assert row is not None and row[0].reused_tokens == 0
        first, second = con._session._store.activations.nodes()
        assert second.start_tokens == first.header.tokens
        assert first.header.tokens + second.header.tokens == row[0].tokens
        again = con.execute(query).fetchone()
        assert again is not None and again[0].reused_tokens == 0
        assert len(con._session._store.activations.nodes()) == 2


def test_a_whole_activation_is_named_without_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with memql.connect(tmp_path / "s") as con:
        con.execute("INSERT INTO memories (content) VALUES ('Alice lives in Lisbon.')")
        query = "SELECT content FROM memories MATERIALIZE AS ACTIVATION"
        made = con.execute(query).fetchone()
        assert made is not None

        def no_model(spec: object) -> None:
            raise AssertionError("a model was loaded")

        with monkeypatch.context() as patch:
            patch.setattr("memql.engine.model.runtime.load_runtime", no_model)
            again = con.execute(query).fetchone()
            assert again is not None and again[0].id == made[0].id
            assert again[0].reused_tokens == again[0].tokens
        assert again[0].generate("Where does Alice live?") == "Alice lives in Lisbon."


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE memories SET content = 'Changed.' WHERE kind = 'b'", "the row changed: version "),
        ("DELETE FROM memories WHERE kind = 'a'", "stored behind other rows"),
        ("CREATE OR REPLACE MODEL m FROM 'tiny' WITH (dtype = 'bfloat16')", "stored for"),
        (
            "INSERT INTO memories (kind, content, created_at) VALUES ('c', 'New.', now())",
            "not comp",
        ),
        ("damage", "its node was damaged"),
    ],
)
def test_explain_says_why_reuse_ends(tmp_path: Path, change: str, reason: str) -> None:
    with memql.connect(tmp_path / "s") as con:
        con.execute("CREATE MODEL m FROM 'tiny'")
        con.execute("SET memql.model = 'm'")
        con.executemany(
            "INSERT INTO memories (kind, content, created_at) VALUES (?, ?, ?)",
            [["a", "First.", "2026-01-01"], ["b", "Second.", "2026-01-02"]],
        )
        query = "SELECT content FROM memories MATERIALIZE AS ACTIVATION"
        con.execute(query).fetchall()
        if change == "damage":
            activations = con._session._store.activations
            activations.quarantine(activations.nodes()[0].id, "a test")
        else:
            con.execute(change)
        explained = "\n".join(line for (line,) in con.execute(f"EXPLAIN {query}"))
        assert f"next_reason: {reason}" in explained


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Let whatever is loaded be loaded on a thread; return the boundaries for which that was."""
    monkeypatch.setattr(reuse, "has_room", lambda runtime: True)
    monkeypatch.setattr(reuse, "OVERLAP_SECONDS", 0.0)
    arriving_chain, noted = reuse.arriving_chain, []

    def arriving(key: bytes, prefix: Prefix, activations: Activations) -> Any:
        noted.append(key)
        return arriving_chain(key, prefix, activations)

    monkeypatch.setattr(reuse, "arriving_chain", arriving)
    return noted


def _damage(activations: Activations, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the only node of a store be damaged behind its first layer."""
    (node,) = activations.nodes()
    read_chain: Any = activations.read_chain

    def damaged(slices: object) -> Iterator[Any]:
        yield next(read_chain(slices))
        raise DamagedNode(node.id, "a test")

    monkeypatch.setattr(activations, "read_chain", damaged)


@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
def test_what_is_stored_is_read_while_the_rest_is_computed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    at_once: list[bytes],
    damaged: bool,
    whole: bool,
    streamed: bool,
) -> None:
    query = "SELECT generate('Which?', max_tokens := 3) FROM memories"
    with memql.connect(tmp_path / "s") as con:

        def ask() -> memql.Answer:
            cursor = con.cursor()
            if not streamed:
                (answer,) = cursor.execute(query).fetchone() or ()
            else:
                text = "".join(cursor.stream(query)).strip()
                (answer,) = cursor.fetchone() or ()
                assert text == answer
            assert isinstance(answer, memql.Answer)
            return answer

        con.executemany(
            "INSERT INTO memories (content) VALUES (?)", [[f"Fact {n}."] for n in range(9)]
        )
        stored = con.execute("SELECT content FROM memories MATERIALIZE AS ACTIVATION").fetchone()
        if not whole:
            con.execute("INSERT INTO memories (content) VALUES ('One more.')")
        alone = con.execute(f"{query} MATERIALIZE AS PLAINTEXT").fetchone()
        assert stored is not None and alone is not None
        if damaged:
            _damage(con._session._store.activations, monkeypatch)
        together = ask()
        assert together == alone[0]
        assert together.reused_tokens == (0 if damaged else stored[0].tokens)
        assert len(at_once) == 1
        nodes = con._session._store.activations.nodes()
        assert len(nodes) == (0 if damaged else 1)  # it is quarantined
        con.execute("SET memql.disabled_rules = 'overlap_loading'")
        again = ask()
        assert again == together and again.reused_tokens == together.reused_tokens
        assert len(at_once) == 1


def test_a_stream_that_is_given_up_leaves_nothing_behind(
    tmp_path: Path, at_once: list[bytes]
) -> None:
    query = "SELECT generate('Which?', max_tokens := 9) FROM memories"
    with memql.connect(tmp_path / "s") as con:
        con.execute("INSERT INTO memories (content) VALUES ('One.')")
        con.execute("SELECT content FROM memories MATERIALIZE AS ACTIVATION")
        running = threading.active_count()
        pieces: Any = con.cursor().stream(query)
        next(pieces)
        pieces.close()
        assert threading.active_count() == running and len(at_once) == 1
        answer = con.execute(query).fetchone()
        assert answer is not None and answer[0].reused_tokens == answer[0].tokens


def test_what_loads_in_no_time_needs_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: list[bytes]
) -> None:
    monkeypatch.setattr(reuse, "OVERLAP_SECONDS", 1.0)
    with memql.connect(tmp_path / "s") as con:
        con.execute("INSERT INTO memories (content) VALUES ('One.')")
        con.execute("SELECT content FROM memories MATERIALIZE AS ACTIVATION")
        answer = con.execute("SELECT generate('Which?', max_tokens := 1) FROM memories").fetchone()
        assert answer is not None and answer[0].reused_tokens == answer[0].tokens
        assert not at_once


@pytest.mark.parametrize("whole", [False, True])
def test_explain_says_how_long_loading_and_computing_overlapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: list[bytes], whole: bool
) -> None:
    with memql.connect(tmp_path / "s") as con:
        con.execute("INSERT INTO memories (content) VALUES ('One.')")
        con.execute("SELECT content FROM memories MATERIALIZE AS ACTIVATION")
        if not whole:
            con.execute("INSERT INTO memories (content) VALUES ('Two.')")
        activations = con._session._store.activations
        read_chain: Any = activations.read_chain

        def slow(slices: object) -> Iterator[Any]:
            for layer in read_chain(slices):
                time.sleep(0.01)
                yield layer

        monkeypatch.setattr(activations, "read_chain", slow)
        query = "EXPLAIN ANALYZE SELECT generate('Which?', max_tokens := 1) FROM memories"
        explained = "\n".join(line for (line,) in con.execute(query))
        assert "overlapped_seconds: " in explained
        con.execute("SET memql.disabled_rules = 'overlap_loading'")
        assert "overlapped" not in "\n".join(line for (line,) in con.execute(query))

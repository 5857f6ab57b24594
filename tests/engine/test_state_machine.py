"""A store under random statements, against a plain model of what it must hold."""

from __future__ import annotations

import copy
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import memql
from memql.storage import transaction
from memql.storage.check import check
from memql.storage.store import Store
from tests.soak import examples

KINDS = ("fact", "plan", "note")
VIEWS = ("v", "w")

kinds = st.sampled_from(KINDS)
views = st.sampled_from(VIEWS)
contents = st.text(min_size=0, max_size=6)


@dataclass
class Model:
    """What a store holds.

    Args:
        rows: content and kind of each memory, by a number that stands in its source.
        views: the kind that each view selects, by name.
    """

    rows: dict[int, tuple[str, str]] = field(default_factory=dict)
    views: dict[str, str] = field(default_factory=dict)

    def of_kind(self, kind: str) -> list[int]:
        """The numbers of the memories of a kind."""
        return [number for number, row in self.rows.items() if row[1] == kind]


class Machine(RuleBasedStateMachine):
    """Two connections to one store: one that writes, and one that only sees what is committed."""

    @initialize()
    def make(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="memql-machine-"))
        self.committed = Model()
        self.now = Model()
        self.open_transaction = False
        self.made = 0
        self.writes = 0
        self._connect()

    def _connect(self) -> None:
        self.connection = memql.connect(self.folder / "s")
        self.other = memql.connect(self.folder / "s")

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        self.connection.close()
        self.other.close()
        store = Store.open(self.folder / "s")
        try:
            assert check(store).problems == ()
        finally:
            store.close()
            shutil.rmtree(self.folder)

    def _done(self) -> None:
        if not self.open_transaction:
            self.committed = copy.deepcopy(self.now)

    @rule(rows=st.lists(st.tuples(contents, kinds), min_size=1, max_size=3))
    def insert(self, rows: list[tuple[str, str]]) -> None:
        for content, kind in rows:
            self.now.rows[self.made] = (content, kind)
            self.made += 1
        numbers = range(self.made - len(rows), self.made)
        values: list[object] = []
        for number, (content, kind) in zip(numbers, rows, strict=True):
            values += [str(number), content, kind]
        self.connection.execute(
            "INSERT INTO memories (source, content, kind) VALUES "
            + ", ".join(["(?, ?, ?)"] * len(rows)),
            values,
        )
        self._done()

    @rule(kind=kinds, to=kinds, content=contents)
    def update(self, kind: str, to: str, content: str) -> None:
        for number in self.now.of_kind(kind):
            self.now.rows[number] = (self.now.rows[number][0] + content, to)
        self.connection.execute(
            "UPDATE memories SET content = content || ?, kind = ? WHERE kind = ?",
            [content, to, kind],
        )
        self._done()

    @rule(kind=kinds)
    def delete(self, kind: str) -> None:
        for number in self.now.of_kind(kind):
            del self.now.rows[number]
        self.connection.execute("DELETE FROM memories WHERE kind = ?", [kind])
        self._done()

    @rule(view=views, kind=kinds)
    def create_view(self, view: str, kind: str) -> None:
        self.now.views[view] = kind
        self.connection.execute(
            f"CREATE OR REPLACE VIEW {view} AS SELECT content FROM memories WHERE kind = '{kind}'"
        )
        self._done()

    @precondition(lambda self: self.now.views)
    @rule(data=st.data())
    def drop_view(self, data: st.DataObject) -> None:
        view = data.draw(st.sampled_from(sorted(self.now.views)))
        del self.now.views[view]
        self.connection.execute(f"DROP VIEW {view}")
        self._done()

    @precondition(lambda self: not self.open_transaction)
    @rule()
    def begin(self) -> None:
        self.connection.execute("BEGIN")
        self.open_transaction = True

    @precondition(lambda self: self.open_transaction)
    @rule()
    def commit(self) -> None:
        self.connection.execute("COMMIT")
        self.open_transaction = False
        self._done()

    @precondition(lambda self: self.open_transaction)
    @rule()
    def roll_back(self) -> None:
        self.connection.execute("ROLLBACK")
        self.open_transaction = False
        self.now = copy.deepcopy(self.committed)

    @rule()
    def reopen(self) -> None:
        self.connection.close()
        self.other.close()
        self.open_transaction = False
        self.now = copy.deepcopy(self.committed)
        self._connect()

    @invariant()
    def both_see_what_they_should(self) -> None:
        if not hasattr(self, "folder"):
            return
        for connection, model in ((self.connection, self.now), (self.other, self.committed)):
            rows = connection.execute("SELECT source, content, kind FROM memories").fetchall()
            assert {int(row[0]): (row[1], row[2]) for row in rows} == model.rows
            assert len(rows) == len(model.rows)
            for view in VIEWS:
                if view in model.views:
                    found = connection.execute(f"SELECT content FROM {view}").fetchall()
                    wanted = [model.rows[n][0] for n in model.of_kind(model.views[view])]
                    assert sorted(row[0] for row in found) == sorted(wanted)
            counted = connection.execute(
                "SELECT kind, count(*), sum(length(content)) FROM memories GROUP BY ALL"
            ).fetchall()
            assert {row[0]: row[1] for row in counted} == {
                kind: len(model.of_kind(kind)) for kind in KINDS if model.of_kind(kind)
            }


@pytest.mark.slow
def test_a_store_holds_what_a_plain_model_holds() -> None:
    run_state_machine_as_test(Machine, settings=_settings(25))


@pytest.mark.slow
@pytest.mark.parametrize("mutant", ["lost rollback", "lost copy", "lost update"])
def test_a_store_that_forgets_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if mutant == "lost rollback":
        monkeypatch.setattr(
            transaction.Transaction, "rollback", lambda self: self.commit("local") and None
        )
    elif mutant == "lost copy":
        broken = f"{transaction._COPY_VERSIONS} AND kind <> 'plan'"
        monkeypatch.setattr(transaction, "_COPY_VERSIONS", broken)
    else:
        monkeypatch.setattr(Machine, "_done", lambda self: None)
    with pytest.raises(BaseException) as caught:  # one error, or a group of several
        run_state_machine_as_test(Machine, settings=_settings(100, Phase.generate))
    assert isinstance(caught.value, AssertionError | ExceptionGroup | memql.Error)


def _settings(count: int, *phases: Phase) -> settings:
    return settings(examples(count), stateful_step_count=20, phases=phases or tuple(Phase))

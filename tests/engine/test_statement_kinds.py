"""For each kind of statement: it neither reads nor changes what is another owner's.

The kinds are those of the dialect's and the parser's own tables; one without an attack in
``kind_attacks.py`` fails. Each attack runs in two stores, of which one holds what bob has and the
other nothing of it: both say the same, nothing of bob's is in it, and nothing of bob's is changed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlglot import exp

import memql
from memql import dialect, parser
from memql.engine import syntax, unbuilt
from memql.engine.bind import policy, visible
from memql.engine.catalog import SCHEMA, UNBUILT_TABLES
from memql.engine.rights import EMBEDDED, Rights
from memql.engine.run.catalog import SHOWN
from tests.engine.kind_attacks import ATTACKS, BOBS_ID
from tests.engine.pairs import Moment, Pair, connect, difference, one_moment
from tests.engine.worlds import SECRET, USER, World, hidden_of, make

pytestmark = pytest.mark.slow

BOBS = (
    f"CREATE TABLE secrets AS SELECT '{SECRET} of a table' AS text",
    "CREATE UNIQUE INDEX found ON secrets (text)",
    f"CREATE VIEW spy AS SELECT '{SECRET} of a view' AS text",
    "CREATE MATERIALIZED VIEW tensors AS SELECT content FROM memories MATERIALIZE AS ACTIVATION",
    f"CREATE TYPE mood AS ENUM ('sad', '{SECRET}')",
    "CREATE SEQUENCE numbers START 77001",
    f"INSERT INTO memories (content, kind) VALUES ('{SECRET} of a memory', 'fact')",
    "CREATE POLICY bobs ON memories TO carol USING (kind = 'fact')",
    "GRANT READ ON MEMORIES TO carol",
)
MINE = (
    "CREATE TABLE mine (name VARCHAR)",
    "INSERT INTO mine VALUES ('x'), (NULL)",
    "CREATE MATERIALIZED VIEW own AS SELECT content FROM memories MATERIALIZE AS PLAINTEXT",
)


# -- the kinds -------------------------------------------------------------------------------------


def kinds() -> list[str]:
    """Return all kinds of statements, clauses of MemQL's own, and tables of the catalog."""
    objects = [
        f"{verb} {what}"
        for verb in ("CREATE", "DROP", "ALTER")
        for what in (parser._OBJECTS if verb != "ALTER" else ("TABLE",))
    ]
    nodes = [
        name
        for name, value in vars(syntax).items()
        if isinstance(value, type) and value.__module__ == syntax.__name__
    ]
    found = [kind.__name__ for kind in parser._STATEMENTS]
    found += [f"SHOW {kind}" for kind in dialect.SHOW_KINDS]
    found += [f"{SCHEMA}.{name}" for name in {*SHOWN.values(), *UNBUILT_TABLES, "audit"}]
    return sorted({*found, *objects, *nodes, *dialect.STATEMENTS})


def kinds_of(attack: str) -> set[str]:
    """Return the kinds that the last statement of an attack, or one before, is of."""
    found: set[str] = set()
    for text in attack.split(";;"):
        words = text.upper().split()
        found.update(
            kind for kind in dialect.STATEMENTS if words[: len(kind.split())] == kind.split()
        )
        found.update(
            f"SHOW {kind}" for kind in dialect.SHOW_KINDS if text.upper() == f"SHOW {kind}"
        )
        try:
            tree = parser.parse(text)
        except memql.Error:
            continue
        if isinstance(tree, exp.Create | exp.Drop | exp.Alter):
            found.add(f"{tree.key.upper()} {tree.args['kind']}")
        for node in tree.walk():
            found.update(one.__name__ for one in type(node).__mro__)
            if isinstance(node, exp.Table) and node.db == SCHEMA:
                found.add(f"{SCHEMA}.{node.name}")
    return found


ATTACKS_BY_KIND = {
    kind: [attack for attack in ATTACKS if kind in kinds_of(attack)] for kind in kinds()
}


# -- the stores ------------------------------------------------------------------------------------


@dataclass
class Arena:
    """A pair of stores, of which each attack gets a copy, and what came of the attacks so far."""

    folder: Path
    moment: Moment
    hidden: list[list[object]]
    done: dict[str, list[str]]

    def attack(self, attack: str) -> list[str]:
        """Run the statements of an attack; return what they say, after all is checked."""
        if attack not in self.done:
            self.done[attack] = self._run(attack)
        return self.done[attack]

    def _run(self, attack: str) -> list[str]:
        paths = (self.folder / "copy-a", self.folder / "copy-b")
        for name, path in zip("ab", paths, strict=True):
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(self.folder / name, path)
        pair = Pair(paths, USER, self.moment)
        pair.open()
        heard = []
        for text in (*attack.split(";;"), "SELECT id, owner, content FROM memories ORDER BY id"):
            one, other = pair.ask(text)
            assert difference(one, other) is None, f"{text}\n{difference(one, other)}"
            heard.append("\n".join([other.error.replace(text, ""), *other.rows]))
            assert SECRET not in heard[-1].replace(f"'{SECRET}", "")
            assert BOBS_ID not in heard[-1].replace(f"'{BOBS_ID}", "")
        assert all(f"| '{USER}' |" in row for row in other.rows)
        assert [hidden_of(path) for path in paths] == self.hidden, "what is another's was changed"
        pair.close()
        return heard


def make_arena(folder: Path, moment: Moment, users: bool) -> Arena:
    """Make both stores.

    Args:
        users: whether both have users.
    """
    for name, rows in (("a", 0), ("b", 40)):
        make(folder / name, World(1, 4, rows, 7, False), moment)
        with connect(folder / name, USER) as con:
            for text in MINE:
                con.execute(text)
        with connect(folder / name, "bob") as con:
            # The numbers of commits show: there are as many in both.
            for text in BOBS if name == "b" else ("INSERT INTO memories (content) VALUES ('y')",):
                con.execute(text)
        if users:
            with connect(folder / name, None) as con:
                for user in ("root", "bob", USER, "carol"):
                    con.execute(f"CREATE USER {user} WITH PASSWORD 'open sesame'")
                con.execute("CREATE ROLE crew")
                con.execute("GRANT crew TO bob")
    return Arena(folder, moment, [hidden_of(folder / name) for name in "ab"], {})


@pytest.fixture(scope="module")
def moment() -> Iterator[Moment]:
    with one_moment() as moment:
        yield moment


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, moment: Moment) -> Arena:
    return make_arena(tmp_path_factory.mktemp("embedded"), moment, users=False)


@pytest.fixture(scope="module")
def with_users(tmp_path_factory: pytest.TempPathFactory, moment: Moment) -> Arena:
    return make_arena(tmp_path_factory.mktemp("users"), moment, users=True)


# -- tests -----------------------------------------------------------------------------------------


def without_attack(attacks: Mapping[str, Sequence[str]]) -> list[str]:
    return [kind for kind, some in attacks.items() if not some]


def test_every_kind_is_tried() -> None:
    assert len(ATTACKS_BY_KIND) > 100
    assert not without_attack(ATTACKS_BY_KIND)
    tried = {attack for some in ATTACKS_BY_KIND.values() for attack in some}
    assert set(ATTACKS) == tried


def test_a_kind_that_is_not_tried_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dialect.STATEMENTS, "BURN MEMORIES", lambda reader: exp.Select())
    assert "BURN MEMORIES" in kinds()
    assert without_attack({kind: ATTACKS_BY_KIND.get(kind, []) for kind in kinds()}) == [
        "BURN MEMORIES"
    ]


@pytest.mark.parametrize("kind", kinds())
def test_a_kind_of_statement_reaches_nothing_of_others(kind: str, embedded: Arena) -> None:
    for attack in ATTACKS_BY_KIND[kind]:
        heard = embedded.attack(attack)
        if is_unbuilt(kind):
            assert "is not something that MemQL does yet" in heard[0], attack


# A store with users is another one for what users, roles and rights are about.
_ABOUT_RIGHTS = ("GRANT", "REVOKE", "ROLE", "USER", "POLICY", "POLICIES", "SETTING", "MEMQL.")
GOVERNING = tuple(
    kind
    for kind in kinds()
    if any(word in kind.upper() for word in _ABOUT_RIGHTS) or kind in ("Insert", "Update", "Delete")
)


@pytest.mark.parametrize("kind", GOVERNING)
def test_a_kind_of_statement_reaches_nothing_of_other_users(kind: str, with_users: Arena) -> None:
    for attack in ATTACKS_BY_KIND[kind]:
        with_users.attack(attack)


def is_unbuilt(kind: str) -> bool:
    """Tell whether nothing runs a kind yet."""
    if kind.startswith(f"{SCHEMA}."):
        return kind.removeprefix(f"{SCHEMA}.") in UNBUILT_TABLES
    if kind.startswith("SHOW "):
        return kind.removeprefix("SHOW ") not in SHOWN
    node = getattr(syntax, kind, None)
    return (
        node in unbuilt._FORMS
        and node is not syntax.ShowCatalog
        or kind
        in (
            "Matches",
            "TimeTravel",
        )
    )


# -- negative controls -----------------------------------------------------------------------------


def test_a_kind_that_reaches_others_is_noticed(
    tmp_path: Path, moment: Moment, monkeypatch: pytest.MonkeyPatch
) -> None:
    arena = make_arena(tmp_path, moment, users=False)
    everything: Callable[[Rights, str], exp.Expr] = policy.visible
    monkeypatch.setattr(visible, "visible", lambda rights, command: everything(EMBEDDED, command))
    visible._taken_out.cache_clear()
    for attack in ("FROM memories", "DELETE FROM memories"):
        with pytest.raises(AssertionError):
            arena.attack(attack)
    visible._taken_out.cache_clear()

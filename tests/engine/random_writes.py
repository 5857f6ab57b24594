"""Random changes of ordinary tables, most of them reading other tables and memories."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.engine.random_expressions import Expressions, Source
from tests.engine.random_queries import TABLES, Queries

# Copies that are written; ``keyed`` has what a change can break.
SETUP = (
    "CREATE OR REPLACE TABLE stock AS FROM items",
    "CREATE OR REPLACE TABLE staff AS SELECT * FROM people",
    """CREATE OR REPLACE TABLE keyed (k INTEGER PRIMARY KEY, v VARCHAR DEFAULT 'new',
    n INTEGER NOT NULL DEFAULT 7 CHECK (n < 40), d DATE)""",
    "INSERT INTO keyed (k, v, n, d) SELECT id, name, coalesce(boss, 9), born FROM people",
)
TARGETS = {
    "stock": TABLES["items"],
    "staff": TABLES["people"],
    "keyed": (("k", "int"), ("v", "str"), ("n", "int"), ("d", "date")),
}
_KEYS = {"stock": "id", "staff": "id", "keyed": "k"}
_WRITABLE = ("int", "str", "date", "dbl", "bool", "strs")


@dataclass(frozen=True)
class Write:
    """A random change.

    Args:
        target: the table that it writes.
        returning: whether it gives rows.
    """

    text: str
    target: str
    returning: bool


def random_write(seed: int) -> Write:
    """Return the change of a seed, always the same."""
    draw = Queries(random.Random(seed))
    target = draw.pick([*TARGETS, "keyed", "stock"])
    form = draw.pick([_insert, _insert, _update, _update, _delete, _merge, _define])
    if form is _define:
        return Write(_define(draw, target), "made", False)
    text = form(draw, target)
    returning = form is not _merge and draw.chance(0.3)
    return Write(text + (_returning(draw, target) if returning else ""), target, returning)


def _insert(draw: Queries, target: str) -> str:
    columns = [one for one in TARGETS[target] if one[1] in _WRITABLE]
    some = draw.random.sample(columns, draw.random.randint(1, len(columns)))
    if target == "keyed" and ("k", "int") not in some:
        some.append(("k", "int"))
    names = ", ".join(name for name, _ in some)
    if draw.chance(0.3):
        literals = Expressions(draw.random, ())
        rows = [
            "(" + ", ".join(_value(draw, literals, target, name, kind) for name, kind in some) + ")"
            for _ in range(draw.random.randint(1, 3))
        ]
        source = f"({names}) VALUES {', '.join(rows)}"
    else:
        text, sources = draw.sources(0)
        reach = draw.reach(sources)
        values = [_value(draw, reach, target, name, kind) for name, kind in some]
        if draw.chance(0.3):
            listed = ", ".join(f"{v} AS {n}" for v, (n, _) in zip(values, some, strict=True))
            source = f"BY NAME SELECT {listed} FROM {text}{draw.where(reach)}"
        else:
            source = f"({names}) SELECT {', '.join(values)} FROM {text}{draw.where(reach)}"
    if target == "keyed":
        return _conflicting(draw, source)
    return f"INSERT INTO {target} {source}"


def _conflicting(draw: Queries, source: str) -> str:
    # What is written twice by one statement depends on the order of its rows.
    if " SELECT " in source:
        return f"INSERT INTO keyed {source}"
    start = draw.pick(["INSERT INTO", "INSERT OR IGNORE INTO", "INSERT OR REPLACE INTO"])
    if start != "INSERT INTO" or draw.chance(0.3):
        return f"{start} keyed {source}"
    update = "DO UPDATE SET v = excluded.v || '+', n = keyed.n + 1"
    action = draw.pick(["DO NOTHING", update, f"{update} WHERE keyed.n > 3"])
    return f"INSERT INTO keyed {source} ON CONFLICT (k) {action}"


def _value(draw: Queries, reach: Expressions, target: str, name: str, kind: str) -> str:
    if target == "keyed" and kind == "int":
        if draw.chance(0.1):
            return "DEFAULT" if not reach.sources and name == "n" else "NULL"
        number = reach.sources[0].key[0] if reach.sources and draw.chance(0.5) else None
        # Numbers that are mostly free, so that most changes do not break the key.
        if number is not None and name == "k":
            return f"hash({reach.sources[0].alias}.{number}) % 100000 + {_any(draw)}"
        return _any(draw)
    return reach.of(kind, 1)


def _any(draw: Queries) -> str:
    return str(draw.random.randint(0, 35))


def _update(draw: Queries, target: str) -> str:
    own = Source(target, TARGETS[target], (_KEYS[target],))
    sources, end = [own], ""
    if draw.chance(0.4):
        text, source = draw.table(draw.pick(["people", "items", "events"]))
        sources.append(source)
        end = f" FROM {text} WHERE {target}.{_KEYS[target]} = {source.alias}.id"
    reach = draw.reach(sources)
    columns = [
        one for one in TARGETS[target] if one[1] in _WRITABLE and one[0] not in ("id", "k", "n")
    ]
    some = draw.random.sample(columns, draw.random.randint(1, min(3, len(columns))))
    sets = [f"{name} = {reach.of(kind)}" for name, kind in some]
    if target == "keyed":
        sets.append(f"n = {draw.pick(['DEFAULT', 'n + 1', 'n - 1', 'k', 'n * 2'])}")
    if end:
        end += f" AND {reach.of('bool')}"
    else:
        end = draw.where(reach)
    return f"UPDATE {target} SET {', '.join(sets)}{end}"


def _delete(draw: Queries, target: str) -> str:
    own = Source(target, TARGETS[target], (_KEYS[target],))
    if draw.chance(0.3):
        text, source = draw.table()
        reach = draw.reach([own, source])
        return f"DELETE FROM {target} USING {text} WHERE {reach.of('bool')}"
    return f"DELETE FROM {target} WHERE {draw.reach([own]).of('bool')}"


def _merge(draw: Queries, target: str) -> str:
    own = Source(target, TARGETS[target], (_KEYS[target],))
    source = Source("s", (("id", "int"), ("name", "str"), ("born", "date")), ("id",))
    people, inner = draw.table("people")
    where = f"WHERE {draw.reach([inner]).of('bool')}"
    using = f"(SELECT id + {draw.pick(['0', '4'])} AS id, name, born FROM {people} {where}) AS s"
    reach = draw.reach([own, source])
    key = _KEYS[target]
    text, day = {"stock": ("name", "made"), "staff": ("name", "born"), "keyed": ("v", "d")}[target]
    matched = [
        f"WHEN MATCHED AND {reach.of('bool', 1)} THEN DELETE",
        f"WHEN MATCHED THEN UPDATE SET {text} = {reach.of('str')}, {day} = s.born",
        f"WHEN MATCHED AND {reach.of('bool', 1)} THEN UPDATE SET {text} = s.name",
        "WHEN MATCHED THEN DO NOTHING",
    ]
    # Behind one without a condition none may stand.
    whens = [draw.pick(matched)]
    if " AND " in whens[0]:
        whens.append(draw.pick(matched))
    near = draw.reach([source])
    if draw.chance(0.7):
        whens.append(
            f"WHEN NOT MATCHED THEN INSERT ({key}, {text}, {day}) "
            f"VALUES (s.id, {near.of('str', 1)}, s.born)"
        )
    if draw.chance(0.3):
        whens.append(f"WHEN NOT MATCHED BY SOURCE THEN UPDATE SET {day} = NULL")
    return f"MERGE INTO {target} USING {using} ON {target}.{key} = s.id {' '.join(whens)}"


def _define(draw: Queries, target: str) -> str:
    made = draw.select(1)
    kind = draw.pick(["TABLE made AS", "TABLE made AS", f"TABLE made AS FROM {target} --"])
    if "--" in kind:
        return f"CREATE OR REPLACE {kind.removesuffix(' --')}"
    return f"CREATE OR REPLACE {kind} {made.text}"


def _returning(draw: Queries, target: str) -> str:
    reach = Expressions(draw.random, [Source(target, TARGETS[target], (_KEYS[target],))])
    return draw.pick([" RETURNING *", f" RETURNING {_KEYS[target]}, {reach.of('str', 1)} AS s"])

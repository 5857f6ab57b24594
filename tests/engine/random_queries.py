"""Random queries over the tables of ``twins.py``, in every form that DuckDB's SQL has for them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tests.engine.random_expressions import Expressions, Source

Columns = tuple[tuple[str, str], ...]
T = TypeVar("T")


def _columns(text: str) -> Columns:
    pairs = (one.split(":") for one in text.split())
    return tuple((name, kind) for name, kind in pairs)


TABLES: dict[str, Columns] = {
    "items": _columns(
        "id:int qty:int price:dec weight:dbl name:str made:date seen:ts ok:bool nums:ints "
        "tags:strs dims:dims props:props doc:json"
    ),
    "people": _columns("id:int name:str boss:int born:date score:dbl active:bool"),
    "events": _columns("id:int item:int person:int at:ts amount:int note:str lasted:iv"),
    "nothing": _columns("id:int name:str born:date"),
    "memories": _columns(
        "id:uuid owner:str kind:str content:str session:str source:str tags:strs importance:dbl "
        "trust:dbl attributes:json created_at:tz hold:bool version:int"
    ),
}
# The kinds that queries give out as columns, likelier ones more often. Maps have no order.
KINDS = "int int int str str str dec dbl date ts bool ints strs dims json iv tz".split()


@dataclass(frozen=True)
class Query:
    """A random query.

    Args:
        columns: name and kind of each; empty where only DuckDB can tell.
        ordered: whether its ORDER BY tells the order of all rows.
    """

    text: str
    columns: Columns = ()
    ordered: bool = False


@dataclass(frozen=True)
class Reached:
    """The common table expressions in reach, and the names of the tables that they hide."""

    ctes: tuple[tuple[str, Columns], ...]
    hidden: frozenset[str]


@dataclass
class Queries:
    """Draws queries.

    Args:
        random: where chance comes from.
        tables: what they read.
    """

    random: random.Random
    tables: Sequence[str] = ("items", "people", "events", "memories", "memories", "nothing")
    _ctes: list[tuple[str, Columns]] = field(default_factory=list, init=False)
    _hidden: set[str] = field(default_factory=set, init=False)
    _names: int = field(default=0, init=False)

    def query(self) -> Query:
        """Return a query of any form."""
        made = self.pick(_FORMS)(self)
        if made.columns and not made.ordered and self.chance(0.3):
            return self.sorted(made)
        return made

    # -- sources ------------------------------------------------------------------------------

    def source(self, depth: int = 1) -> tuple[str, Source]:
        """Return one source of a FROM, as text and with its columns."""
        draw = self.random.random()
        if self._ctes and draw < 0.35:
            name, columns = self.pick(self._ctes)
            return self._aliased(name, columns)
        if depth > 0 and draw < 0.25:
            made = self.select(depth - 1)
            alias = self.new_name("q")
            return f"({made.text}) AS {alias}", self._whole(alias, made.columns)
        if draw < 0.32:
            return self._values()
        if draw < 0.38:
            alias = self.new_name("r")
            call = self.pick(["range(5)", "generate_series(1, 4)", "range(2, 9, 3)"])
            return f"{call} AS {alias}(i)", Source(alias, (("i", "int"),), ("i",))
        return self.table()

    def table(self, name: str | None = None) -> tuple[str, Source]:
        """Return a stored table as a source."""
        name = name or self.stored(self.tables)
        written = self.pick([name, name, name.upper(), f'"{name}"'])
        if name != "memories" and self.chance(0.05):
            written = f"main.{name}"
        return self._aliased(written, TABLES[name], key=("id",))

    def stored(self, names: Sequence[str]) -> str:
        """Return one of some stored tables that nothing hides, or an empty one."""
        return self.pick([name for name in names if name not in self._hidden] or ["nothing"])

    def _aliased(
        self, name: str, columns: Columns, key: tuple[str, ...] = ()
    ) -> tuple[str, Source]:
        alias = self.new_name("t")
        written = self.pick([f"{name} AS {alias}", f"{name} {alias}"])
        if key:
            return written, Source(alias, _written(columns), key)
        return written, self._whole(alias, columns)

    def _whole(self, alias: str, columns: Columns) -> Source:
        return Source(alias, columns, tuple(name for name, _ in columns))

    def _values(self) -> tuple[str, Source]:
        alias = self.new_name("v")
        kinds = [self.pick(["int", "str", "date"]) for _ in range(self.random.randint(1, 3))]
        literals = Expressions(self.random, ())
        rows = [
            "(" + ", ".join(literals.of(kind, 0) for kind in kinds) + ")"
            for _ in range(self.random.randint(1, 4))
        ]
        columns = tuple((f"c{number}", kind) for number, kind in enumerate(kinds))
        names = ", ".join(name for name, _ in columns)
        return f"(VALUES {', '.join(rows)}) AS {alias}({names})", self._whole(alias, columns)

    def sources(self, depth: int = 1, most: int = 3) -> tuple[str, list[Source]]:
        """Return a FROM of one source or a join of several, at most so many."""
        text, first = self.source(depth)
        sources = [first]
        for _ in range(min(most - 1, self.random.choice([0, 0, 1, 1, 2]))):
            text = self._join(text, sources, depth)
        return text, sources

    def _join(self, text: str, sources: list[Source], depth: int) -> str:
        """Join one more source to a FROM; what is in reach behind it goes into ``sources``."""
        draw = self.random.random()
        if draw < 0.12:
            return self._lateral(text, sources)
        right, added = self.source(depth)
        shared = {n for n, _ in sources[-1].columns if _same(n, sources[-1], added)}
        reach = Expressions(self.random, [*sources, added])
        hidden = False
        if draw < 0.2:
            comma = self.pick([", ", " CROSS JOIN "])
            text = f"{text}{comma}{right}"
        elif draw < 0.4 and shared and len(sources) == 1:
            names = sorted(self.random.sample(sorted(shared), self.random.randint(1, len(shared))))
            kind = self.pick(["JOIN", "LEFT JOIN", "FULL JOIN", "RIGHT JOIN", "SEMI JOIN"])
            hidden = kind == "SEMI JOIN"
            text = f"{text} {kind} {right} USING ({', '.join(names)})"
        elif draw < 0.45 and shared and len(sources) == 1 and _common(sources[0], added) == shared:
            text = f"{text} NATURAL {self.pick(['', 'LEFT ', 'INNER '])}JOIN {right}"
        else:
            kind = self.pick(
                ["JOIN", "INNER JOIN", "LEFT JOIN", "LEFT OUTER JOIN", "RIGHT JOIN", "FULL JOIN"]
                + ["SEMI JOIN", "ANTI JOIN"]
            )
            hidden = kind in ("SEMI JOIN", "ANTI JOIN")
            text = f"{text} {kind} {right} ON {self._condition(sources, added, reach)}"
        if not hidden:
            sources.append(added)
        return text

    def _condition(self, sources: list[Source], added: Source, reach: Expressions) -> str:
        pairs = [
            f"{s.alias}.{n} = {added.alias}.{m}"
            for s in sources
            for n, kind in s.columns
            for m, other in added.columns
            if kind == other and kind in ("int", "str", "uuid", "date")
        ]
        if pairs and self.chance(0.8):
            condition = self.pick(pairs)
            return condition if self.chance(0.6) else f"{condition} AND {reach.of('bool', 1)}"
        return reach.of("bool", 1)

    def _lateral(self, text: str, sources: list[Source]) -> str:
        reach = Expressions(self.random, sources)
        alias = self.new_name("l")
        if self.chance(0.5):
            kind = self.pick(["ints", "strs"])
            sources.append(Source(alias, (("x", kind[:3]),), ("x",)))
            return f"{text}, unnest({reach.of(kind, 1)}) AS {alias}(x)"
        inner, source = self.table()
        within = Expressions(self.random, [source], outer=list(sources))
        where = f" WHERE {within.of('bool', 1)}" if self.chance(0.7) else ""
        bare = Expressions(self.random, [source])
        call = f"(SELECT {bare.aggregate('int')} AS x FROM {inner}{where})"
        lateral = self.pick([", LATERAL ", " CROSS JOIN LATERAL "])
        sources.append(Source(alias, (("x", "int"),), ("x",)))
        return f"{text}{lateral}{call} AS {alias}"

    # -- forms --------------------------------------------------------------------------------

    def select(self, depth: int = 1, outer: Sequence[Source] = ()) -> Query:
        """Return a SELECT whose columns have names and orderable kinds."""
        text, sources = self.sources(depth)
        reach = self.reach(sources, depth, outer)
        columns = self.new_columns()
        return Query(f"SELECT {self.items(columns, reach)} FROM {text}{self.where(reach)}", columns)

    def reach(
        self, sources: Sequence[Source], depth: int = 1, outer: Sequence[Source] = ()
    ) -> Expressions:
        """Return what draws expressions over sources, subqueries among them."""

        def subquery(kind: str) -> str | None:
            return self._subquery(kind, sources) if depth > 0 else None

        return Expressions(self.random, sources, outer, subquery)

    def new_columns(self, most: int = 3) -> Columns:
        """Return names and kinds of columns to give out."""
        kinds = [self.pick(KINDS) for _ in range(self.random.randint(1, most))]
        names = self.random.sample(["a", "b", '"größe"', '"Two Words"', "d", "kind", "id"], most)
        return tuple(zip(names, kinds, strict=False))

    def items(self, columns: Columns, reach: Expressions) -> str:
        """Return the list behind SELECT."""
        items = []
        for name, kind in columns:
            expression = reach.of(kind)
            prefix = name.isalpha() and self.chance(0.1)
            items.append(f"{name}: {expression}" if prefix else f"{expression} AS {name}")
        return ", ".join(items)

    def where(self, reach: Expressions) -> str:
        """Return a WHERE, or nothing."""
        return f" WHERE {reach.of('bool')}" if self.chance(0.6) else ""

    def _subquery(self, kind: str, outer: Sequence[Source]) -> str | None:
        text, source = self.table()
        correlated = list(outer) if self.chance(0.5) else []
        within = Expressions(self.random, [source], outer=correlated)
        where = f" WHERE {within.of('bool', 1)}"
        if kind != "bool":
            if kind not in ("int", "str", "date", "dec", "dbl", "ints"):
                return None
            value = Expressions(self.random, [source]).aggregate(kind)
            return f"(SELECT {value} FROM {text}{where})"
        near = Expressions(self.random, outer)
        draw = self.random.random()
        if draw < 0.4:
            negated = self.pick(["", "NOT "])
            return f"({negated}EXISTS (SELECT {self.pick(['1', '*'])} FROM {text}{where}))"
        one = self.pick(["int", "str"])
        inner = f"(SELECT {within.of(one, 1)} FROM {text}{where})"
        how = self.pick(["IN", "NOT IN", "= ANY", "<> ALL", "> ANY", "<= ALL", "= SOME"])
        return f"({near.of(one, 1)} {how} {inner})"

    def sorted(self, made: Query) -> Query:
        """Return a query with a total order, and perhaps a limit."""
        count = len(made.columns)
        order = "ALL" + self.pick(["", " DESC"])
        if self.chance(0.7):
            numbers = self.random.sample(range(1, count + 1), count)
            first = ["", " DESC", " NULLS FIRST", " DESC NULLS LAST", " ASC"]
            order = ", ".join(f"{number}{self.pick(first)}" for number in numbers)
        limit = self.pick(["", f" LIMIT {self.random.randint(0, 9)}", " LIMIT 4 OFFSET 2"])
        limit = self.pick([limit, limit, " OFFSET 3", " LIMIT 40%", " LIMIT (1 + 2)", ""])
        return Query(f"{made.text} ORDER BY {order}{limit}", made.columns, True)

    def new_name(self, prefix: str) -> str:
        """Return a name that nothing has."""
        self._names += 1
        return f"{prefix}{self._names}"

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of some."""
        return self.random.choice(list(choices))

    def chance(self, share: float) -> bool:
        """Return true for a share of the calls."""
        return self.random.random() < share

    def reached(self) -> Reached:
        """Return the common table expressions in reach."""
        return Reached(tuple(self._ctes), frozenset(self._hidden))

    def reach_again(self, reached: Reached) -> None:
        """Go back to what was in reach before."""
        self._ctes, self._hidden = list(reached.ctes), set(reached.hidden)

    def name(self, name: str, columns: Columns) -> None:
        """Add a common table expression, which hides what else has its name."""
        self._ctes = [one for one in self._ctes if one[0] != name] + [(name, columns)]
        self._hidden.add(name)


def _same(name: str, left: Source, right: Source) -> bool:
    kinds = dict(right.columns)
    return kinds.get(name) == dict(left.columns)[name] and kinds[name] in ("int", "str", "date")


def _common(left: Source, right: Source) -> set[str]:
    return {name for name, _ in left.columns} & {name for name, _ in right.columns}


def _written(columns: Columns) -> Columns:
    """Return columns of a table; ``at`` is a word of the grammar in some places."""
    return tuple((f'"{name}"' if name == "at" else name, kind) for name, kind in columns)


Form = Callable[[Queries], Query]
_FORMS: list[Form] = [Queries.select]


def form(weight: int) -> Callable[[Form], Form]:
    """Return what adds a form of queries.

    Args:
        weight: how often it is drawn, beside the others.
    """

    def add(made: Form) -> Form:
        _FORMS.extend([made] * weight)
        return made

    return add

"""The forms of random queries: grouping, windows, set operations, table expressions, pivots ..."""

from __future__ import annotations

import random

from tests.engine.random_expressions import Expressions, Source
from tests.engine.random_queries import TABLES, Columns, Queries, Query, form

_SIMPLE = ("int", "str", "bool", "date")


def random_query(seed: int) -> Query:
    """Return the query of a seed, always the same."""
    return Queries(random.Random(seed)).query()


@form(8)
def _joined(draw: Queries) -> Query:
    return draw.select(2)


@form(8)
def _grouped(draw: Queries) -> Query:
    text, sources = draw.sources()
    rows = draw.reach(sources)
    kinds = [draw.pick(_SIMPLE) for _ in range(draw.random.randint(1, 3))]
    keys = [rows.of(kind, 1) for kind in kinds]
    columns: Columns = tuple((f"g{number}", kind) for number, kind in enumerate(kinds))
    items = [f"{key} AS {name}" for key, (name, _) in zip(keys, columns, strict=True)]
    for number in range(draw.random.randint(1, 2)):
        kind = draw.pick(["int", "int", "str", "dbl", "bool", "ints", "dec", "date"])
        columns += ((f"v{number}", kind),)
        items.append(f"{_aggregated(draw, rows, kind)} AS v{number}")
    numbers = ", ".join(str(number + 1) for number in range(len(keys)))
    names = ", ".join(f"g{number}" for number in range(len(keys)))
    listed = ", ".join(keys)
    group = draw.pick(
        [listed, numbers, names, "ALL", f"ROLLUP ({names})", f"CUBE ({names})", numbers]
        + [f"GROUPING SETS (({names}), ({keys[0]}), ())", f"ROLLUP ({listed})"]
    )
    if ("ROLLUP" in group or "CUBE" in group) and draw.chance(0.5):
        items.append(f"grouping({keys[0]}) AS gr")
        columns += (("gr", "int"),)
    having = f" HAVING {_aggregated(draw, rows, 'bool')}" if draw.chance(0.4) else ""
    select = f"SELECT {', '.join(items)} FROM {text}{draw.where(rows)}"
    return Query(f"{select} GROUP BY {group}{having}", columns)


def _aggregated(draw: Queries, rows: Expressions, kind: str) -> str:
    first = rows.aggregate(kind)
    if kind == "int" and draw.chance(0.4):
        template = draw.pick(["{0} + {1}", "coalesce({0}, {1})", "{0} - 1", "greatest({0}, {1})"])
        return template.format(first, rows.aggregate("int"))
    return first


@form(3)
def _aggregate(draw: Queries) -> Query:
    text, sources = draw.sources()
    rows = draw.reach(sources)
    kinds = [draw.pick(["int", "dec", "dbl", "str", "bool", "ints", "strs"]) for _ in range(2)]
    columns = tuple((f"v{number}", kind) for number, kind in enumerate(kinds))
    items = [f"{_aggregated(draw, rows, kind)} AS {name}" for name, kind in columns]
    having = f" HAVING {rows.aggregate('bool')}" if draw.chance(0.2) else ""
    return Query(f"SELECT {', '.join(items)} FROM {text}{draw.where(rows)}{having}", columns)


@form(6)
def _windowed(draw: Queries) -> Query:
    text, sources = draw.sources()
    rows = draw.reach(sources)
    names = ["w1"] if draw.chance(0.4) else []
    kinds = [draw.pick(["int", "int", "str", "dbl", "date", "ints", "bool"]) for _ in range(2)]
    columns = tuple((f"w_{number}", kind) for number, kind in enumerate(kinds))
    items = [f"{rows.window(kind, names)} AS {name}" for name, kind in columns]
    if draw.chance(0.6):
        items.append(f"{rows.of('str', 1)} AS b")
        columns += (("b", "str"),)
    end = f" WINDOW w1 AS {rows.ordered()}" if names else ""
    if draw.chance(0.4):
        condition = draw.pick(
            [rows.window("bool", names), f"{items[0].split(' AS w_')[0]} IS NULL"]
        )
        end += f" QUALIFY {condition}"
    return Query(f"SELECT {', '.join(items)} FROM {text}{draw.where(rows)}{end}", columns)


@form(4)
def _set_operation(draw: Queries) -> Query:
    columns = draw.new_columns()
    arms = [_arm(draw, columns) for _ in range(draw.pick([2, 2, 3]))]
    words = ["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL"]
    text = arms[0]
    for arm in arms[1:]:
        word = draw.pick(words)
        text = f"{text} {word} {arm}" if draw.chance(0.7) else f"({text}) {word} ({arm})"
    return Query(text, columns)


def _arm(draw: Queries, columns: Columns) -> str:
    text, sources = draw.sources(0)
    reach = draw.reach(sources, 0)
    return f"SELECT {draw.items(columns, reach)} FROM {text}{draw.where(reach)}"


@form(2)
def _union_by_name(draw: Queries) -> Query:
    left, right = draw.new_columns(), draw.new_columns()
    known = dict(left)
    right = tuple((name, known.get(name, kind)) for name, kind in right)
    word = draw.pick(["UNION BY NAME", "UNION ALL BY NAME"])
    every = left + tuple(one for one in right if one[0] not in known)
    return Query(f"{_arm(draw, left)} {word} {_arm(draw, right)}", every)


@form(3)
def _distinct(draw: Queries) -> Query:
    text, sources = draw.sources()
    reach = draw.reach(sources)
    columns = draw.new_columns()
    items = draw.items(columns, reach)
    if draw.chance(0.5):
        return Query(f"SELECT DISTINCT {items} FROM {text}{draw.where(reach)}", columns)
    on = reach.of(draw.pick(_SIMPLE), 1)
    order = f"ORDER BY {on}{draw.pick(['', ' DESC'])}, {reach.key()}"
    select = f"SELECT DISTINCT ON ({on}) {items} FROM {text}{draw.where(reach)} {order}"
    return Query(f"FROM ({select})", columns)


@form(6)
def _with(draw: Queries) -> Query:
    parts, own = [], set[str]()
    within = draw.reached()
    for _ in range(draw.random.randint(1, 3)):
        made = draw.query() if draw.chance(0.3) else draw.select()
        if not made.columns:
            made = draw.select()
        name = draw.pick(["memories", "items", "c1", '"c Zwei"', "C3", "people"])
        columns = made.columns
        shown = ""
        if draw.chance(0.3):
            columns = tuple((f"n{i}", kind) for i, (_, kind) in enumerate(columns))
            shown = f"({', '.join(one for one, _ in columns)})"
        how = draw.pick(["", "", "MATERIALIZED ", "NOT MATERIALIZED "])
        if name in own:
            name = draw.new_name("c")
        own.add(name)
        parts.append(f"{name}{shown} AS {how}({made.text})")
        draw.name(name, columns)
    made = draw.select(1) if draw.chance(0.6) else _grouped(draw)
    draw.reach_again(within)
    return Query(f"WITH {', '.join(parts)} {made.text}", made.columns, made.ordered)


@form(2)
def _recursive(draw: Queries) -> Query:
    union = draw.pick(["UNION ALL", "UNION"])
    if draw.chance(0.5):
        reach = Expressions(draw.random, [Source("t", (("n", "int"), ("s", "str")), ("n",))])
        step = f"SELECT n + 1, {reach.of('str', 1)} FROM t WHERE n < {draw.random.randint(1, 6)}"
        text, source = draw.table()
        near = Expressions(draw.random, [source])
        first = f"SELECT 1 AS n, {near.of('str', 1)} AS s FROM {text}{draw.where(near)}"
        query = f"WITH RECURSIVE t AS ({first} {union} {step}) SELECT n AS a, s AS b FROM t"
        return Query(query, (("a", "int"), ("b", "str")))
    name = draw.pick(["memories", "tree", "people_up"])
    start = draw.random.randint(0, 4)
    query = (
        f"WITH RECURSIVE {name}(id, depth, path) AS (SELECT id, 0, [name] FROM main.people WHERE "
        f"id = {start} {union} SELECT p.id, depth + 1, path || [p.name] FROM main.people AS p "
        f"JOIN {name} AS up ON p.boss = up.id) SELECT id AS a, depth AS b, path AS d FROM {name}"
    )
    return Query(query, (("a", "int"), ("b", "int"), ("d", "strs")))


@form(4)
def _star(draw: Queries) -> Query:
    name = draw.stored(draw.tables)
    columns = TABLES[name]
    text, source = draw.table(name)
    reach = Expressions(draw.random, [source])
    some = [one for one, _ in draw.random.sample(columns, 2) if one != "at"] or ["id"]
    star = draw.pick(["*", f"{source.alias}.*"])
    first = f'"{some[0]}"'
    kind = dict(columns)[some[0]]
    if name == "memories":
        return draw.pick(
            [
                Query(f"SELECT {star} EXCLUDE ({', '.join(some)}) FROM {text}"),
                Query(f"FROM {text}{draw.where(reach)}"),
                Query(f"SELECT COLUMNS('(.*)_at') AS 'at_\\1' FROM {text}"),
                Query(f"SELECT {star} FROM {text}{draw.where(reach)}"),
            ]
        )
    forms = [
        f"SELECT {star} EXCLUDE {first} FROM {text}{draw.where(reach)}",
        f"SELECT {star} EXCLUDE ({', '.join(some)}) FROM {text}",
        f"SELECT {star} REPLACE ({reach.of(kind)} AS {first}) FROM {text}",
        f"SELECT {star} RENAME ({first} AS renamed) FROM {text}",
        f"SELECT COLUMNS('^[a-n]') FROM {text}{draw.where(reach)}",
        f"SELECT COLUMNS(LAMBDA c : c LIKE '%e%') FROM {text}",
        f"SELECT min(COLUMNS('^(id|name)$')) FROM {text}{draw.where(reach)}",
        f"SELECT COLUMNS(['id', 'name']) FROM {text}" if "name" in some else f"FROM {text}",
        f"SELECT count(*), COLUMNS(* EXCLUDE ({first}))::VARCHAR FROM {text} GROUP BY ALL",
        f"SELECT {source.alias} FROM {text}{draw.where(reach)}",
        f"FROM {text} SELECT {reach.of('int')} AS a, {star}{draw.where(reach)}",
        f"SELECT {star} LIKE '%n%' FROM {text}",
        f"SELECT unnest({source.alias}) FROM {text}",
        f"TABLE {name}",
        f"SELECT * FROM {text} POSITIONAL JOIN events" if name != "events" else f"FROM {text}",
    ]
    return Query(draw.pick(forms))


@form(3)
def _pivot(draw: Queries) -> Query:
    name = draw.stored(["people", "events", "items", "memories"])
    by, value, group = {
        "people": ("active", "score", "boss"),
        "events": ("note", "amount", "person"),
        "items": ("ok", "qty", "made"),
        "memories": ("kind", "importance", "owner"),
    }[name]
    call = draw.pick(["sum", "max", "count"])
    listed = {"active": "true, false", "note": "'buy', 'Buy'", "ok": "true", "kind": "'fact'"}[by]
    cast = "count(*)" if call == "count" else f"{call}({value})"
    forms = [
        f"PIVOT {name} ON {by} USING {cast} GROUP BY {group}",
        f"PIVOT {name} ON {by} IN ({listed}) USING {cast} AS v GROUP BY {group}",
        f"PIVOT (SELECT {by}, {value}, {group} FROM {name}) ON {by} USING {cast}",
        f"FROM (SELECT {by}, {value}, {group} FROM {name}) "
        f"PIVOT ({call}({value}) AS p FOR {by} IN ({listed}) GROUP BY {group})",
        f"FROM (PIVOT {name} ON {by} IN ({listed}) USING {cast} GROUP BY {group})",
        f"UNPIVOT (SELECT {by}::VARCHAR AS b, {group}::VARCHAR AS g FROM {name}) ON b, g "
        "INTO NAME n VALUE v",
        f"UNPIVOT (SELECT {by}::VARCHAR AS b, {group}::VARCHAR AS g FROM {name}) ON COLUMNS(*)",
        f"SELECT * FROM (SELECT {by}::VARCHAR AS b, {group}::VARCHAR AS g, 1 AS one FROM {name}) "
        "UNPIVOT INCLUDE NULLS (v FOR n IN (b, g))",
        f"WITH p AS (PIVOT {name} ON {by} IN ({listed}) USING {cast} GROUP BY {group}) FROM p",
    ]
    return Query(draw.pick(forms))


@form(2)
def _alias_used(draw: Queries) -> Query:
    text, source = draw.table()
    reach = draw.reach([source])
    value = reach.of("int")
    tail = draw.pick(["WHERE z > 1", "GROUP BY z", "GROUP BY ALL HAVING z > 0", "WHERE z IS NULL"])
    return Query(f"SELECT {value} AS z, z AS y FROM {text} {tail}", ())


@form(2)
def _unnest(draw: Queries) -> Query:
    text, source = draw.table(draw.stored(["items", "memories"]))
    reach = Expressions(draw.random, [source])
    kind = draw.pick(["ints", "strs"])
    columns = (("u", kind[:3]), ("b", "str"))
    return Query(
        f"SELECT unnest({reach.of(kind)}) AS u, {reach.of('str')} AS b FROM {text}", columns
    )


@form(2)
def _asof(draw: Queries) -> Query:
    kind = draw.pick(["ASOF JOIN", "ASOF LEFT JOIN"])
    left, source = draw.table("events")
    right, other = draw.table(draw.stored(["items", "people"]))
    one = draw.pick([f"{source.alias}.id", f"{source.alias}.amount", f"{source.alias}.item"])
    sign = draw.pick([">=", ">", "<=", "<"])
    reach = Expressions(draw.random, [source, other])
    columns = draw.new_columns(2)
    join = f"{left} {kind} {right} ON {one} {sign} {other.alias}.id"
    return Query(f"SELECT {draw.items(columns, reach)} FROM {join}{draw.where(reach)}", columns)


@form(1)
def _values(draw: Queries) -> Query:
    literals = Expressions(draw.random, ())
    rows = [f"({literals.of('int')}, {literals.of('str')})" for _ in range(3)]
    return Query(f"VALUES {', '.join(rows)}")


@form(1)
def _bare(draw: Queries) -> Query:
    reach = draw.reach([])
    kinds = [draw.pick(["int", "str", "date", "ts", "ints", "dims", "json"]) for _ in range(3)]
    return Query("SELECT " + ", ".join(f"{reach.of(kind, 3)} AS c{kind}" for kind in set(kinds)))


@form(2)
def _sorted_by_expression(draw: Queries) -> Query:
    text, source = draw.table()
    reach = draw.reach([source])
    by = reach.of(draw.pick(["int", "str", "date", "dbl"]))
    how = draw.pick(["", " DESC", " COLLATE NOCASE", " NULLS FIRST"])
    if how == " COLLATE NOCASE":
        by = reach.of("str", 1)
    columns = draw.new_columns()
    limit = draw.pick(["", " LIMIT 5", " LIMIT 3 OFFSET 1"])
    query = f"SELECT {draw.items(columns, reach)} FROM {text}{draw.where(reach)}"
    return Query(f"{query} ORDER BY {by}{how}, {reach.key()}{limit}", columns, True)


# What is wrong in one way or another.
WRONG = (
    "SELECT {a}.no_such_column FROM {t}",
    "SELECT no_such_column FROM {t}",
    "SELECT * FROM no_such_table",
    "SELECT no_such_function({int}) FROM {t}",
    "SELECT sum({int}) FROM {t} WHERE sum({int}) > 1",
    "SELECT {str} AS s, count(*) FROM {t} GROUP BY {int}, 'x' HAVING no_such > 1",
    "SELECT {int} + {date} + {dims} FROM {t}",
    "SELECT row_number() OVER () FROM {t} WHERE row_number() OVER () = 1",
    "SELECT 1 UNION SELECT 1, 2",
    "SELECT {str} FROM {t} ORDER BY 7",
    "SELECT id FROM {t} JOIN people ON true JOIN people AS p ON true",
    "SELECT * FROM {t} JOIN nothing USING (no_such_column)",
    "SELECT count(DISTINCT) FROM {t}",
    "SELECT {str}::NO_SUCH_TYPE FROM {t}",
    "SELECT upper() FROM {t}",
    "SELECT (SELECT 1, 2) FROM {t}",
    "SELECT {dims}.nothing_there FROM {t}",
    "SELECT * EXCLUDE (no_such_column) FROM {t}",
    "SELECT sum(sum({int})) FROM {t}",
    "SELECT DISTINCT ON () 1 FROM {t}",
    "SELECT 'x' + DATE '2024-01-01' + INTERVAL 1 DAY + 'y' FROM {t}",
    "SELECT FROM {t}",
    "SELECT * FROM {t} WHERE",
    "SELECT {int} FROM {t} GROUP BY CUBE (no_such)",
    "SELECT {int} LIMIT 'x'",
    "SELECT CAST('x' AS INTEGER) FROM items",
    "SELECT DATE '2024-02-30'",
    "SELECT 9223372036854775807 + {int}::BIGINT + 9223372036854775807 FROM items",
    "SELECT (SELECT id FROM items) FROM items",
    "SELECT error({s}) FROM items",
    "WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT count(*), 2 FROM r) FROM r",
    "WITH c AS (SELECT 1), c AS (SELECT 2) FROM c",
    "SELECT strptime('x', '%Y')",
    "PIVOT {t} ON no_such USING sum(id)",
    "SELECT COLUMNS('^zzz') FROM {t}",
    "SELECT [x FOR y IN {ints}] FROM {t}",
)


@form(2)
def _wrong(draw: Queries) -> Query:
    text, source = draw.table()
    reach = Expressions(draw.random, [source])
    query = draw.pick(WRONG).replace("{t}", text).replace("{a}", source.alias)
    for kind in ("int", "str", "date", "dims", "ints", "s"):
        while f"{{{kind}}}" in query:
            query = query.replace(f"{{{kind}}}", reach.of(kind, 1), 1)
    return Query(query)

"""Random statements with which a user might learn of rows that it may not see.

Beside the queries of ``random_forms``, whose order is told, these leave open what SQL leaves open:
the order of rows, ties, which row is the first, in which order floats are added.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.engine.pairs import Statement
from tests.engine.random_forms import random_query
from tests.engine.random_queries import Queries
from tests.engine.random_writes import random_write
from tests.engine.worlds import OTHERS, SECRET

Probe = tuple[Statement, ...]

_COLUMNS = "owner kind session source content tags importance trust created_at version id".split()
_ID = "01890000-0000-7000-9000-000000000001"
_KEYS = ("kind", "session", "source", "hold", "importance", "tags", "length(content)", "created_at")
# Told apart by the rule of the barrier: some may be evaluated on any row, others must not be.
_PLAIN = (
    "kind = 'fact'",
    "importance > 0.5",
    "importance BETWEEN 0.2 AND 0.8",
    "trust IS NULL",
    "created_at >= TIMESTAMPTZ '2024-02-29'",
    "kind IN ('fact', 'plan', '12')",
    "owner = 'alice'",
    "owner <> 'alice'",
    "session = 's1' OR kind IS NULL",
    "NOT hold",
    "id > '01890000-0000-7000-8000-000000000100'",
    "version = 1",
    "updated_at < now()",
    "true",
)
_FAILING = (
    "CAST(agent AS INTEGER) >= 0",
    "agent::DOUBLE < 5",
    "kind = 'fact' AND agent::TINYINT >= 0",
    "strptime(agent, '%H') IS NOT NULL",
    "CASE WHEN length(agent) = 1 THEN true ELSE error('seen: ' || content) END",
    "kind = 12",
    "session > 1",
    "importance = '0.5'",
    "importance > 'much'",
    "id = 'no id'",
    "created_at > 'some day'",
    "agent = 3",
    "agent IN (1, 2, 3)",
    "rowid > 5",
    "expires_at BETWEEN '2024-01-01' AND kind",
    "CAST(content AS INTEGER) > 0",
    "content::DOUBLE < 10",
    "1 / (importance - 0.5) > 0",
    "strptime(content, '%Y-%m-%d') IS NOT NULL",
    "error(content)::BOOLEAN",
    "CAST(attributes ->> '$.a' AS INTEGER) = 1",
    "content::DATE IS NULL",
    "(SELECT max(o.content::INTEGER) FROM memories AS o) > 0",
)
_ABOVE = (
    "content LIKE '%tea%'",
    f"content LIKE '{SECRET}%'",
    f"contains(content, '{SECRET}')",
    "lower(owner) = 'bob'",
    "regexp_matches(content, '^[0-9]+$')",
    "list_contains(tags, 'a')",
    "TRY_CAST(content AS INTEGER) > 0",
    "length(content) > 5",
    "(attributes -> 'a') IS NOT NULL",
    "importance > (SELECT avg(importance) FROM memories)",
    "id IN (SELECT id FROM memories WHERE trust > 0.3)",
    "EXISTS (SELECT 1 FROM memories AS o WHERE o.kind = kind AND o.owner <> owner)",
    "kind NOT IN (SELECT kind FROM memories WHERE kind IS NOT NULL AND importance > 0.9)",
    "hash(content) % 2 = 0",
    "kind ILIKE 'f%' AND importance > 0.1",
)
_AGGREGATES = (
    "count(*) ; sum(importance) ; avg(trust) ; first(content) ; last(content) ; list(content) ; "
    "string_agg(kind, ',') ; any_value(id) ; mode(kind) ; median(importance) ; stddev(trust) ; "
    "arg_max(content, importance) ; arg_min(id, kind) ; approx_count_distinct(content) ; "
    "approx_quantile(importance, 0.5) ; histogram(kind) ; count(DISTINCT content) ; min(content) ; "
    "list(DISTINCT session) ; max(created_at) ; entropy(kind) ; sum(importance * trust) ; "
    "list(id ORDER BY kind) ; bool_or(hold) ; kurtosis(importance) ; approx_top_k(kind, 2) ; "
    "reservoir_quantile(importance, 0.5) ; bit_xor(hash(content)) ; corr(importance, trust) ; "
    "count(*) FILTER (WHERE owner <> 'alice') ; sum(length(content)) ; product(trust) ; fsum(trust)"
).split(" ; ")
_WINDOWS = (
    "row_number() OVER () ; row_number() OVER (ORDER BY kind) ; rank() OVER (ORDER BY importance)"
    " ; "
    "lag(content) OVER (ORDER BY created_at) ; sum(importance) OVER (PARTITION BY kind) ; "
    "first_value(id) OVER (PARTITION BY session) ; avg(trust) OVER (ORDER BY kind ROWS 3 PRECEDING)"
    " ; ntile(3) OVER () ; count(*) OVER () ; list(kind) OVER (PARTITION BY hold)"
).split(" ; ")
_CATALOG = (
    "SHOW MATERIALIZED VIEWS ; SHOW MODELS ; SHOW SETTINGS ; SHOW TABLES ; FROM memql.views ; "
    "FROM memql.tables ; FROM memql.settings ; FROM memql.models ; DESCRIBE memories ; "
    "SUMMARIZE memories ; SUMMARIZE SELECT kind, importance FROM memories ; DESCRIBE tea ; "
    "DESCRIBE items ; SUMMARIZE tea ; SHOW GRANTS ; SHOW USERS ; SHOW ROLES ; SHOW POLICIES ; "
    "SHOW CUBES ; SHOW JOBS ; FROM memql.grants ; FROM memql.cubes ; FROM memql.all_memories ; "
    "FROM memql.history ; FROM memql.lineage ; FROM memql.audit ; FROM memql.workload ; "
    "REFRESH MATERIALIZED VIEW tea ; SHOW memql.memory_limit ; FROM given ; FROM bob.given ; "
    "FROM memql.users ; FROM memql.roles ; FROM memql.policies"
).split(" ; ")
_NAMES = (
    f"FROM t_{SECRET} ; FROM v_{SECRET} ; FROM stocks ; FROM mad ; FROM te ; FROM bob.items ; "
    f"SELECT * FROM bob.t_{SECRET} ; DROP TABLE stock ; DROP TABLE t_{SECRET} ; "
    f"FROM _memql.memories ; DROP MATERIALIZED VIEW v_{SECRET} ; "
    f"REFRESH MATERIALIZED VIEW v_{SECRET} ; INSERT INTO bob.items SELECT 1 ; "
    f"DELETE FROM t_{SECRET} ; TRUNCATE bob.stock ; "
    "CREATE TABLE stock (id INTEGER) ; CREATE VIEW v AS FROM memories ; FROM v ; "
    "CREATE MATERIALIZED VIEW IF NOT EXISTS mine AS SELECT kind FROM memories WITH NO DATA ; "
    "CREATE OR REPLACE TABLE made AS SELECT kind, count(*) AS n FROM memories GROUP BY kind ; "
    "FROM made ; SELECT nextval('s') ; CREATE TYPE mood AS ENUM ('a') ; ALTER TABLE made ADD x INT"
).split(" ; ")
_GOVERN = (
    "GRANT READ ON MEMORIES TO bob ; GRANT ALL ON MEMORIES TO PUBLIC ; "
    "GRANT READ ON MEMORIES OF bob TO carol ; REVOKE READ ON MEMORIES FROM bob ; "
    "REVOKE READ ON MEMORIES OF bob FROM alice ; REVOKE ALL ON MEMORIES OF bob FROM carol ; "
    "GRANT SELECT ON TABLE items TO bob ; GRANT SELECT ON TABLE bob.items TO alice ; "
    f"GRANT SELECT ON TABLE t_{SECRET} TO bob ; CREATE POLICY p ON memories USING (kind = 'fact')"
    " ; CREATE POLICY q ON memories AS RESTRICTIVE FOR UPDATE USING (hold) ; DROP POLICY p ON "
    f"memories ; DROP POLICY p_{SECRET} ON memories ; DROP POLICY quiet ON memories ; "
    "ALTER POLICY openly ON memories USING (true) ; CREATE USER eve WITH PASSWORD 'x' ; "
    "CREATE ROLE crew2 ; GRANT crew TO alice ; GRANT crew TO bob ; REVOKE crew FROM bob ; "
    "DROP USER carol ; DROP ROLE crew ; ALTER USER alice WITH SUPERUSER ; SET ROLE bob ; "
    f"SET ROLE r_{SECRET} ; SET memql.override = 'I want to' ; DROP POLICY IF EXISTS q ON memories"
).split(" ; ")


# Refused until they are built; then they are asked here as everything else is.
_LATER = (
    "SELECT content FROM memories AT (VERSION => 2) ; FROM memories AT (VALID => '2024-03-01') ; "
    "SELECT content, relevance FROM memories WHERE content MATCHES 'tea' LIMIT 5 ; "
    "SELECT content FROM memories WHERE content MATCHES 'tea' USING HYBRID ; "
    "RESTORE FROM memories WHERE kind = 'fact' ; QUARANTINE FROM memories WHERE trust < 0.3 ; "
    "FORGET FROM memories WHERE kind = 'fact' VERIFY ; ADVISE ; ADVISE APPLY ; MAINTAIN ; "
    "EVALUATE VIEW tea ; MERGE INTO memories USING items AS i ON memories.id = i.id "
    "WHEN MATCHED THEN DELETE"
).split(" ; ")


def random_probe(seed: int) -> Probe:
    """Return the statements of a seed, always the same: what a user runs one after another."""
    draw = Queries(random.Random(seed))
    form = draw.pick(_FORMS)
    return form(draw)


def random_model_probe(seed: int) -> Probe:
    """Return a statement of a seed that asks a model, or explains one that does."""
    draw = Queries(random.Random(seed))
    how = draw.pick(("", "", "EXPLAIN ", "EXPLAIN ANALYZE (FORMAT json) "))
    return (f"{how}{_model(draw)}",)


# -- parts -----------------------------------------------------------------------------------------


def _condition(draw: Queries) -> str:
    first = draw.pick((*_PLAIN, *_PLAIN, *_ABOVE, *_ABOVE, *_FAILING))
    if draw.chance(0.3):
        return f"{first} {draw.pick(('AND', 'OR'))} {draw.pick((*_PLAIN, *_ABOVE))}"
    return first


def _where(draw: Queries) -> str:
    return f" WHERE {_condition(draw)}" if draw.chance(0.6) else ""


def _some(draw: Queries, choices: tuple[str, ...] | list[str], most: int = 3) -> str:
    return ", ".join(draw.random.sample(list(choices), draw.random.randint(1, most)))


def _limit(draw: Queries) -> str:
    some = ("", "", " LIMIT 1", " LIMIT 5", " LIMIT 10", " LIMIT 3 OFFSET 2", " LIMIT 30%")
    return draw.pick((*some, " OFFSET 4", " LIMIT 2 ROWS 40 TOKENS", " LIMIT 60 TOKENS"))


def _order(draw: Queries) -> str:
    how = draw.pick(("", " DESC", " NULLS FIRST"))
    return draw.pick(("", f" ORDER BY {draw.pick(_KEYS)}{how}", f" ORDER BY created_at{how}"))


def _sample(draw: Queries) -> str:
    kinds = ("bernoulli(30%)", "system(50%)", "reservoir(10%)", "3 ROWS", "reservoir(7 ROWS)")
    return f" USING SAMPLE {draw.pick(kinds)} REPEATABLE ({draw.random.randint(1, 9)})"


# -- forms -----------------------------------------------------------------------------------------


def _any_query(draw: Queries) -> str:
    return random_query(draw.random.randrange(10**9)).text


def _rows(draw: Queries) -> str:
    columns = draw.pick(("*", _some(draw, _COLUMNS), _some(draw, _COLUMNS)))
    where, order, limit = _where(draw), _order(draw), _limit(draw)
    if draw.chance(0.15):
        known = f"01890000-0000-7000-8000-{draw.random.randint(0, 40) * 7919 % 100003:012x}"
        other = f"0189{draw.random.randint(0, 9):04x}-0000-7000-9000-{0:012x}"
        where = f" WHERE id = '{draw.pick((known, other))}'"
    distinct = draw.pick(("", "", "DISTINCT ", f"DISTINCT ON ({draw.pick(_KEYS)}) "))
    return f"SELECT {distinct}{columns} FROM memories{where}{order}{limit}"


def _totals(draw: Queries) -> str:
    group = draw.pick(("", *_KEYS[:5], "kind, session", "ROLLUP (kind, hold)", "CUBE (kind, hold)"))
    items = _some(draw, _AGGREGATES)
    if not group:
        return f"SELECT {items} FROM memories{_where(draw)}"
    key = "kind, " if "kind" in group else ""
    having = draw.pick(("", "", " HAVING count(*) > 1"))
    order = draw.pick(("", "", " ORDER BY count(*)", " ORDER BY 1"))
    return (
        f"SELECT {key}{items} FROM memories{_where(draw)} GROUP BY {group}{having}{order}"
        f"{draw.pick(('', '', ' LIMIT 3'))}"
    )


def _windowed(draw: Queries) -> str:
    qualify = draw.pick(("", "", " QUALIFY row_number() OVER (PARTITION BY kind) <= 2"))
    items = f"{draw.pick(_COLUMNS)}, {_some(draw, _WINDOWS, 2)}"
    return f"SELECT {items} FROM memories{_where(draw)}{qualify}{_limit(draw)}"


def _joined(draw: Queries) -> str:
    kind = draw.pick(("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "SEMI JOIN", "ANTI JOIN"))
    other = draw.pick(
        (
            "memories AS b ON a.kind = b.kind",
            "memories AS b ON a.session = b.session AND a.importance < b.importance",
            "items AS b ON length(a.content) = b.id",
            "people AS b ON b.id = length(a.kind)",
            "(SELECT kind, count(*) AS n FROM memories GROUP BY kind) AS b ON a.kind = b.kind",
            "memories AS b ON a.id = b.superseded_by OR a.content = b.content",
            "tea AS b ON a.content = b.content",
            "memories AS b USING (session)",
        )
    )
    items = draw.pick(("a.id", "a.kind, a.content", "count(*)", "sum(a.importance)", "list(a.id)"))
    where = draw.pick(("", " WHERE a.kind = 'fact'", " WHERE a.importance > 0.4"))
    third = draw.pick(("", "", " JOIN events AS c ON c.id = length(a.kind)"))
    return f"SELECT {items} FROM memories AS a {kind} {other}{third}{where}{_limit(draw)}"


def _sets(draw: Queries) -> str:
    word = draw.pick(("UNION", "UNION ALL", "EXCEPT", "INTERSECT", "EXCEPT ALL", "INTERSECT ALL"))
    arm = draw.pick(
        ("SELECT name FROM people", "SELECT content FROM tea", "SELECT kind FROM memories")
    )
    return f"SELECT content FROM memories{_where(draw)} {word} {arm}{_limit(draw)}"


def _nested(draw: Queries) -> str:
    inner = draw.pick((_rows, _totals, _windowed, _joined))(draw)
    how = draw.pick(("", "MATERIALIZED ", "NOT MATERIALIZED "))
    return draw.pick(
        (
            f"SELECT count(*) FROM ({inner}) AS q",
            f"WITH q AS {how}({inner}) SELECT * FROM q{_limit(draw)}",
            f"WITH q AS {how}({inner}) SELECT m.id, (SELECT count(*) FROM q) FROM memories AS m",
            f"SELECT * FROM ({inner}) AS q{_sample(draw)}",
            f"SELECT unnest(tags) AS t, id FROM memories{_where(draw)}",
            f"SELECT kind, x FROM memories, unnest(tags) AS u(x){_where(draw)}",
            f"PIVOT memories ON {draw.pick(_KEYS[:4])} USING {draw.pick(_AGGREGATES[:4])}",
            f"SELECT {_some(draw, _COLUMNS)} FROM memories{_where(draw)}{_sample(draw)}",
            f"SELECT kind, content FROM memories{_sample(draw)}",
            "SELECT m.id, l.n FROM memories AS m, LATERAL (SELECT count(*) AS n FROM memories AS o "
            "WHERE o.kind = m.kind) AS l",
        )
    )


def _read(draw: Queries) -> str:
    some = (_rows, _rows, _totals, _totals, _windowed, _joined, _sets, _nested)
    return draw.pick(some)(draw)


def _explained(draw: Queries) -> Probe:
    how = draw.pick(("", "ANALYZE ", "(FORMAT json) ", "(COSTS off) ", "ANALYZE (FORMAT json) "))
    text = draw.pick((_any_query, _read, _read, _change, _model))(draw)
    return (f"EXPLAIN {how}{text}",)


def _model(draw: Queries) -> str:
    form = draw.pick(("PLAINTEXT", "ACTIVATION", "AUTO"))
    where = f" WHERE {draw.pick((*_PLAIN[:4], *_ABOVE[:3], *_FAILING[:1]))}"
    limit = draw.pick((" LIMIT 4", " LIMIT 40 TOKENS", " ORDER BY kind LIMIT 3"))
    query = f"SELECT {draw.pick(('content', 'kind, content'))} FROM memories{where}{limit}"
    call = draw.pick(
        (
            "generate('What?', max_tokens := 1 LIMIT 4)",
            "generate('Who?', content, max_tokens := 1 ORDER BY kind LIMIT 30 TOKENS)",
        )
    )
    group = draw.pick(("", " GROUP BY hold", " GROUP BY session HAVING count(*) > 2"))
    asked = f"SELECT {call} FROM memories{where}{group} MATERIALIZE AS {form}"
    return draw.pick((f"{query} MATERIALIZE AS {form}", f"FROM tea MATERIALIZE AS {form}", asked))


# -- changes ---------------------------------------------------------------------------------------


def _change(draw: Queries) -> str:
    returning = draw.pick(
        ("", " RETURNING *", " RETURNING id, content", " RETURNING version, kind")
    )
    where = f" WHERE {_condition(draw)}"
    update = draw.pick(
        (
            "importance = 0.25",
            "tags = ['new', kind]",
            "tags = ['x'], derived_from = [id]",
            "content = content || '!'",
            "kind = (SELECT min(kind) FROM memories)",
            "importance = CAST(content AS DOUBLE)",
            "attributes = '{\"b\": 2}', session = 's9'",
            "owner = 'bob'",
            "trust = importance * 3",
        )
    )
    limited = _some(draw, _COLUMNS[:4], 1)
    return draw.pick(
        (
            f"INSERT INTO memories (content, kind) VALUES ('new', 'note'), ('x', NULL){returning}",
            f"INSERT INTO memories (content, kind) SELECT content || '+', kind FROM memories{where}"
            f"{draw.pick(('', ' LIMIT 3', ' ORDER BY kind LIMIT 2'))}{returning}",
            f"INSERT INTO memories (content) SELECT {limited} FROM memories{where}{returning}",
            f"INSERT INTO memories (owner, content) VALUES ('{draw.pick(OTHERS)}', 'x')",
            f"INSERT INTO memories (id, content) VALUES ('{_ID}', 'x')",
            "INSERT INTO memories BY NAME SELECT content, kind, [id] AS derived_from FROM memories"
            f"{where}{returning}",
            f"UPDATE memories SET {update}{where}{returning}",
            f"UPDATE memories SET {update}{where}{returning}",
            f"UPDATE memories SET {update}{returning}",
            f"DELETE FROM memories{where}{returning}",
            f"DELETE FROM memories WHERE id IN (SELECT id FROM memories{where} LIMIT 2){returning}",
            f"UPDATE memories SET {update} WHERE id IN (SELECT m.id FROM memories AS m JOIN people "
            f"ON people.id = length(m.kind) ORDER BY m.content DESC LIMIT 30){returning}",
            random_write(draw.random.randrange(10**9)).text,
        )
    )


def _changed(draw: Queries) -> Probe:
    change = _change(draw)
    after = ("FROM memories", "SELECT kind, count(*), sum(importance) FROM memories GROUP BY kind")
    if draw.chance(0.15):
        return (change, *after)
    more = (_change(draw),) if draw.chance(0.3) else ()
    return ("BEGIN", change, *more, *after, "ROLLBACK")


# With parameters, the plan of a text is kept for each of their types.
_ASKED = (
    "SELECT id, content FROM memories WHERE {0} = ? AND importance < ? LIMIT ?",
    "SELECT {0}, count(*) FROM memories WHERE {0} >= ? OR trust > ? GROUP BY {0} LIMIT ?",
    "SELECT first({0}), ? FROM memories WHERE agent > ? OR agent::INTEGER < ?",
    "UPDATE memories SET importance = ? WHERE {0} = ? OR trust = ? RETURNING id, importance",
)
_VALUES = ("fact", "alice", "bob", 3, -1, 0.5, None, True, "2024-02-29", 10**19)


def _with_parameters(draw: Queries) -> Probe:
    text = draw.pick(_ASKED).format(draw.pick(_COLUMNS))
    asked = [(text, *(draw.pick(_VALUES) for _ in range(3))) for _ in range(3)]
    return ("BEGIN", *asked, "ROLLBACK") if "UPDATE" in text else tuple(asked)


def _in_a_role(draw: Queries) -> Probe:
    return ("SET ROLE crew", _read(draw), *_changed(draw), "RESET ROLE", _read(draw))


def _governing(draw: Queries) -> Probe:
    return (draw.pick(_GOVERN), "FROM memql.grants", _read(draw))


def _one(made: Callable[[Queries], str]) -> Callable[[Queries], Probe]:
    return lambda draw: (made(draw),)


def _listed(choices: list[str]) -> Callable[[Queries], Probe]:
    return lambda draw: (draw.pick(choices),)


_FORMS: list[Callable[[Queries], Probe]] = [
    *[_one(_any_query)] * 6,
    *[_one(_read)] * 14,
    *[_changed] * 5,
    *[_explained] * 3,
    _one(_model),
    *[_listed(_CATALOG)] * 2,
    _listed(_NAMES),
    _listed(_LATER),
    _with_parameters,
    _in_a_role,
    _governing,
]

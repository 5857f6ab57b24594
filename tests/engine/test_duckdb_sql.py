"""DuckDB's SQL is printed as it was written: DuckDB answers the same, under the same names."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import duckdb
import pytest
import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError

from memql.dialect import MemQL
from memql.engine.duckdb_sql.dialect import PlainDuckDB
from memql.engine.duckdb_sql.nodes import AGGREGATES, Aggregate, Operator
from memql.engine.printing import print_sql
from memql.errors import ProgrammingError
from memql.parser import parse

# Everything that is written in more than one way, or that sqlglot translates.
EXPRESSIONS = r'''
DATE '2026-01-31'::TIMESTAMP_S
date '2026-01-31'
TIMESTAMP '2026-01-31 10:00:00'::VARCHAR
TIMESTAMP WITH TIME ZONE '2026-01-31 10:00:00+00' IS NULL
DECIMAL(5, 2) '1.5'
INTEGER[] '[1, 2]'
STRUCT(a INTEGER) '{"a": 1}'
double precision '1.5'
NATIONAL CHARACTER VARYING 'x'
main.int '7'
INTERVAL '2 HOUR' + '12:15:37.123456-08'::TIMETZ
INTERVAL '2' HOUR
INTERVAL (i + 1) DAYS
INTERVAL 3 WEEKS
INTERVAL '1 day' d
DATE '2026-01-31' + TIME '10:00'
typeof(.34)
typeof(5.)
1.5e3
(i,)
typeof((i,))
(i, s)
ROW(i, s)
ROW(0, 0) < ANY(SELECT 1, 0)
x'FF'
X'00AB'
b'101'
[1]::BIGINT ARRAY
[1]::BIGINT ARRAY[1]
[[1, 2]]::TINYINT[2][]
1::HUGEINT
1::DECIMAL
1::decimal(4, 1)
s::VARCHAR(10)
s::text
s::"VARCHAR"
NULL::MAP(VARCHAR, INTEGER)
1::UNION(a INTEGER, b VARCHAR)
{'a b': 1}::STRUCT("a b" INTEGER)
CAST(i AS SETOF BIGINT)
TRY_CAST(s AS INTEGER)
-1::BIGINT
- -1
+1
~1
@ -1
2 ** 3
2 ^ 3
7 // 2
7 % 2
1 << 2
6 & 3
6 | 1
s || 'x'
s ~ 'a'
s !~ 'a'
s ~* 'A'
s !~* 'A'
s ^@ 'a'
s LIKE 'a%' ESCAPE '$'
s NOT LIKE 'a%'
s NOT ILIKE 'A%'
s ~~ 'a'
s !~~* 'a'
s NOT SIMILAR TO 'a'
s NOT GLOB 'a'
[1] @> [1]
[1] <@ [1]
[1] && [2]
[1.0, 2.0] <-> [1.0, 3.0]
[1.0, 2.0] <=> [1.0, 3.0]
i IS NOT NULL
NOT i IS NULL
NOT i NOTNULL
NOT i NOT IN (1)
NOT s NOT LIKE 'a%'
i NOTNULL
i IS DISTINCT FROM 1
i IS NOT TRUE
i NOT IN (1, 2)
NOT i IN (1, 2)
i IN [1, NULL]
i NOT IN l
2 IN l
i NOT BETWEEN 1 AND 2
(SELECT 1) = 1 NOT IN (1)
i = ANY([1, 2])
l[1]
l[-1]
l[1 + 1]
l[:2]
l[:i]
l[1:-:2]
l[2:]
s[1:2]
{'a': i, "b c": s}
{a: i}.a
struct_pack(a := i, b := s)
MAP {'a': i}['a']
MAP(['a'], [i])
ARRAY[i, 2]
[i, 2]
list_value(i)
[n + 1 FOR n IN l IF n > 1]
list_transform(l, lambda n: n + 1)
list_transform(l, lambda n, k: n + k)
l.list_filter(lambda n: n > 1)
s.upper()
main.lower(s)
j -> '$.a'
j ->> 'a'
upper(j ->> 'a')
j->'a'->>'b'
EXTRACT(year FROM DATE '2026-01-31')
EXTRACT("day" FROM DATE '2026-01-31')
EXTRACT('month' FROM DATE '2026-01-31')
date_part('dow', DATE '2026-01-31')
date_trunc('month', DATE '2026-01-31')
date_diff('day', DATE '2026-01-01', DATE '2026-01-31')
date_add(DATE '2026-01-31', INTERVAL 1 DAY)
strftime(DATE '2026-01-31', '%d.%m.%Y')
epoch_ms(1000)
make_date(2026, 1, 31)
trim(s)
trim(s, 'a')
trim(LEADING 'a' FROM s)
trim(TRAILING FROM s)
trim(FROM s)
substring(s, 1, 2)
substring(s FROM 2)
substring(s FROM 2 FOR 1)
substring(s FOR 2)
substr(s, 1)
position('b' IN s)
overlay(s PLACING 'x' FROM 1 FOR 1)
IF(i < 2100, NULL, i)
coalesce(NULL, i)
ifnull(NULL, i)
nullif(i, 2)
CASE i WHEN 1 THEN 'a' ELSE 'b' END
CASE WHEN i > 1 THEN 'a' END
current_date IS NULL
get_current_timestamp() IS NULL
array(SELECT 1)
EXISTS(SELECT 1)
md5(s)
sha256(s)
hex(s)
chr(65)
round(1.55, 1)
log(10)
regexp_replace(s, 'a', 'b', 'g')
regexp_matches(s, 'a')
string_split(s, 'b')
array_sort(l)
list_sort(l, 'DESC', 'NULLS FIRST')
array_contains(l, 1)
list_has_any(l, [1])
list_contains(l, 1)
array_length(l)
len(l)
generate_series(3)
range(1, 3)
s COLLATE NOCASE
s COLLATE NOACCENT.NOCASE = 'ABC'
i + 1 AS "a ""b"""
prefix: i
'it''s'
$$text$$
TIMESTAMP '2026-01-31 10:00:00' AT TIME ZONE 'UTC'
unnest(l)
columns('i')
'''.strip().splitlines()
AGGREGATIONS = r"""
list(i)
array_agg(i ORDER BY i DESC)
array_agg(i ORDER BY i DESC NULLS LAST)
string_agg(s, ',')
string_agg(DISTINCT s, ',' ORDER BY s)
group_concat(s)
listagg(s, '-')
count(*)
count()
count(DISTINCT (i, s))
sum(ALL i)
bool_and(i > 0)
bit_and(i)
any_value(s)
first(i)
arg_max(s, i)
max(i, 1)
median(i)
quantile_cont(i, 0.5)
approx_quantile(i, 0.5)
mode() WITHIN GROUP (ORDER BY i)
percentile_cont(0.5) WITHIN GROUP (ORDER BY i DESC)
sum(i) FILTER (WHERE i > 1)
sum(i) FILTER (i > 1)
sum(i) EXPORT_STATE
finalize(sum(i) FILTER (WHERE i > 0) EXPORT_STATE)
list(i ORDER BY i) EXPORT_STATE
stddev(i)
var_pop(i)
corr(i, i)
histogram(i)
""".strip().splitlines()
QUERIES = r"""
SELECT i, sum(i) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t
SELECT i, sum(i) OVER (ORDER BY i ROWS 1 PRECEDING) FROM t
SELECT first_value(i) OVER (ORDER BY i GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM t
SELECT last(s IGNORE NULLS) OVER (ORDER BY i RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t
SELECT last_value(s ORDER BY i IGNORE NULLS) OVER (ORDER BY i) FROM t
SELECT nth_value(s, 2 RESPECT NULLS) OVER (ORDER BY i ROWS 2 PRECEDING EXCLUDE NO OTHERS) FROM t
SELECT sum(i) OVER (ORDER BY i ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW) FROM t
SELECT lag(i, 1, 0) OVER w, rank() OVER (w) FROM t WINDOW w AS (PARTITION BY s ORDER BY i DESC)
SELECT i FROM t ORDER BY s NULLS LAST, i DESC
SELECT i FROM t ORDER BY ALL DESC NULLS FIRST
SELECT i FROM t ORDER BY i ASC LIMIT 50%
SELECT i FROM t LIMIT 1 OFFSET 1
SELECT DISTINCT ON (s) s FROM t ORDER BY s
SELECT s, count(*) FROM t GROUP BY ALL ORDER BY ALL
SELECT s, grouping(s), count(*) FROM t GROUP BY ROLLUP (s) ORDER BY ALL
SELECT s, i, count(*) FROM t GROUP BY GROUPING SETS ((s), (i), ()) ORDER BY ALL
SELECT s FROM t QUALIFY row_number() OVER (PARTITION BY s ORDER BY i) = 1 ORDER BY s
FROM t SELECT i WHERE i > 1
FROM t
TABLE t
VALUES (1), (2)
SELECT * FROM VALUES (1, 'a'), (2, 'b') AS v(x, y)
SELECT * EXCLUDE (i, l, j) FROM t
SELECT * REPLACE (i + 1 AS i) FROM t
SELECT * RENAME (i AS k) FROM t
SELECT t.* FROM t
SELECT COLUMNS(lambda c: c LIKE 'i') FROM t
SELECT k: i FROM u: t
SELECT 1 UNION ALL BY NAME SELECT 2 AS x ORDER BY ALL
SELECT i FROM t EXCEPT SELECT 1 ORDER BY i
SELECT * FROM t AS a JOIN t AS b USING (i) ORDER BY a.i
SELECT a.i FROM t AS a SEMI JOIN t AS b ON a.i = b.i ORDER BY a.i
SELECT a.i FROM t AS a ASOF JOIN t AS b ON a.i >= b.i ORDER BY ALL
SELECT a.i FROM t AS a POSITIONAL JOIN t AS b ORDER BY ALL
SELECT a.i FROM t AS a CROSS JOIN t AS b ORDER BY ALL
SELECT a.i, n FROM t AS a, unnest(a.l) AS u(n) ORDER BY ALL
SELECT a.i, x FROM t AS a, LATERAL (SELECT a.i + 1) AS b(x) ORDER BY ALL
SELECT a.i, x FROM t AS a LEFT JOIN LATERAL (SELECT a.i WHERE a.i > 1) b(x) ON true ORDER BY 1
SELECT a.i FROM t AS a JOIN t AS b NEAREST 1 BY DISTANCE abs(a.i - b.i) ORDER BY ALL
SELECT a.i FROM t AS a JOIN t AS b NEAREST BY SIMILARITY -abs(a.i - b.i) ORDER BY ALL
SELECT a.i FROM t AS a JOIN t AS b EXACT NEAREST 1 BY DISTANCE abs(a.i - b.i) ORDER BY ALL
SELECT a.i FROM t AS a JOIN t AS b APPROX NEAREST 2 BY DISTANCE abs(a.i - b.i) ORDER BY ALL
SELECT b.i FROM t AS a JOIN BY (TYPE RIGHT_SEMI) t AS b ON a.i = b.i ORDER BY ALL
PIVOT (SELECT i, s FROM t) ON s USING sum(i)
SELECT * FROM (SELECT i, s FROM t) PIVOT (sum(i) AS n FOR s IN ('abc', 'b'))
UNPIVOT (SELECT i, i + 1 AS k FROM t) ON i, k INTO NAME n VALUE v ORDER BY ALL
WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r WHERE x < 3) FROM r ORDER BY x
WITH RECURSIVE r(k, v) USING KEY (k) AS (SELECT 1, 0 UNION SELECT k, 1 FROM r) FROM r
WITH a AS MATERIALIZED (SELECT 1 AS x), b AS NOT MATERIALIZED (FROM a) FROM b
SELECT i FROM t TABLESAMPLE 100% ORDER BY i
SELECT count(*) FROM t USING SAMPLE 2 ROWS
SELECT count(*) FROM (FROM t USING SAMPLE reservoir(2 ROWS) REPEATABLE (3))
SELECT count(*) FROM (FROM t USING SAMPLE 100 PERCENT (bernoulli, 3))
""".strip().splitlines()
# With lines of their own.
LONG = (
    """WITH RECURSIVE r(k, v) USING KEY (k, max(v) AS v) AS (
    VALUES (1, 0) UNION ALL
    SELECT n.k, n.v + 1 FROM r AS n JOIN recurring.r AS o USING (k) WHERE n.v < 3
    ) FROM r""",
    "SELECT 'a'\n  'b'",
)
ALL = [
    *LONG,
    *(f"SELECT {text} FROM t" for text in [*EXPRESSIONS, *AGGREGATIONS]),
    *QUERIES,
]


@pytest.fixture(scope="module")
def plain() -> Iterator[duckdb.DuckDBPyConnection]:
    """A table with a column of most kinds, in DuckDB itself."""
    with duckdb.connect() as con:
        con.execute("CREATE TABLE t (i INTEGER, s VARCHAR, l INTEGER[], j JSON)")
        con.execute(
            """INSERT INTO t VALUES (1, 'abc', [1, 2, 3], '{"a": {"b": 1}}'),
            (2, 'b', [], '{}'), (3, NULL, NULL, NULL)"""
        )
        yield con


def answer(plain: duckdb.DuckDBPyConnection, text: str) -> tuple[list[str], list[str]]:
    """Return the names of a query's columns and its rows."""
    cursor = plain.execute(text)
    return [column[0] for column in cursor.description], list(map(repr, cursor.fetchall()))


def unlike(
    plain: duckdb.DuckDBPyConnection, text: str, write: Callable[[str], str]
) -> tuple[object, object] | None:
    """Return what a query and what is printed of it answer, if that is not the same."""
    expected = answer(plain, text)
    try:
        found = answer(plain, write(text))
    except duckdb.Error as error:
        return expected, error
    return None if found == expected else (expected, found)


def printed(text: str) -> str:
    return print_sql(parse(text))


@pytest.mark.parametrize("text", ALL)
def test_what_is_printed_answers_as_what_was_written(
    plain: duckdb.DuckDBPyConnection, text: str
) -> None:
    assert unlike(plain, text, printed) is None


@pytest.mark.parametrize("text", ALL)
def test_what_is_printed_is_read_as_the_same_tree(text: str) -> None:
    tree = parse(text)
    again = tree.sql(dialect=MemQL)
    assert parse(again) == tree
    assert parse(again).sql(dialect=MemQL) == again


def test_a_translation_is_noticed(plain: duckdb.DuckDBPyConnection) -> None:
    # The negative control: sqlglot's own dialect.
    def translated(text: str) -> str:
        return sqlglot.parse_one(text, read="duckdb").sql(dialect="duckdb")

    for text in ("list(i)", "1::DECIMAL", "DATE '2026-01-31'::TIMESTAMP_S", "(i,)"):
        assert unlike(plain, f"SELECT {text} FROM t", translated) is not None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT 1 LIMIT 2, 5", "expected one number"),
        ("SELECT 0xFF", "expected a number"),
        ("SELECT 0b11", "expected a number"),
        ("SELECT string_agg(s, ',' ON OVERFLOW ERROR) FROM t", "expected )"),
        ("SELECT 'a' 'b'", "expected an operator between two texts"),
        ("SELECT 1 BETWEEN SYMMETRIC 2 AND 0", "expected a value behind BETWEEN"),
        ("SELECT EXTRACT(year, DATE '2026-01-31')", "expected EXTRACT(part FROM value)"),
        ("SELECT 1::INT[2", "expected ] behind the length of an array"),
        ("SELECT 1::main.'int'", "expected the name of a type"),
        ("SELECT a.i FROM t AS a JOIN t AS b NEAREST 1 DISTANCE a.i", "expected BY behind NEAREST"),
        ("SELECT a.i FROM t AS a JOIN t AS b NEAREST 1 BY a.i", "expected DISTANCE or SIMILARITY"),
    ],
)
def test_what_duckdb_refuses_is_refused(
    plain: duckdb.DuckDBPyConnection, text: str, found: str
) -> None:
    with pytest.raises(ProgrammingError, match="syntax error") as caught:
        parse(text)
    assert found in str(caught.value)
    if "0x" not in text and "0b" not in text:  # 0 AS xFF, for DuckDB
        with pytest.raises(duckdb.Error):
            plain.execute(text)


def test_every_aggregate_of_duckdb_is_known(plain: duckdb.DuckDBPyConnection) -> None:
    rows = plain.execute(
        "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'aggregate'"
    ).fetchall()
    assert {name for (name,) in rows} <= AGGREGATES
    assert isinstance(parse("SELECT list(i) FROM t").find(exp.AggFunc), Aggregate)
    assert parse("SELECT lower(s) FROM t").find(exp.AggFunc) is None


def test_nodes_that_were_built_are_printed_as_duckdbs() -> None:
    cast = exp.cast(exp.column("i") + 1, "BIGINT")
    cast.meta["colons"] = True
    assert cast.sql(dialect=PlainDuckDB) == "CAST(i + 1 AS BIGINT)"
    typed = sqlglot.parse_one("DATE '2026-01-31'", read=PlainDuckDB)
    typed.set("this", exp.column("s"))
    assert typed.sql(dialect=PlainDuckDB) == "CAST(s AS DATE)"


def test_a_tree_that_cannot_be_printed_is_an_error_of_the_statement() -> None:
    with pytest.raises(ProgrammingError, match="arguments that do not fit") as caught:
        print_sql(Operator(this=exp.column("i"), expression=exp.column("s")))
    assert caught.value.code == "42601"


def test_a_type_has_a_name() -> None:
    with pytest.raises(ParseError):
        sqlglot.parse_one("SELECT CAST(1 AS 5)", read=PlainDuckDB)

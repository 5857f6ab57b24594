"""Random expressions of DuckDB's SQL: well typed, without a call that depends on the moment."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# A word in braces is an expression of that kind; {n} is a small number, {s} a text, {pattern} one
# for LIKE, {key} what orders the rows totally, {path} a path into JSON. No value fails a cast, and
# nothing depends on the order in which rows are read.
TEMPLATES: dict[str, str] = {
    "int": """
        {int} + {int} ; {int} - {n} ; {int} * {n} ; - {int} ; abs({int}) ; {int} % 7
        {int} // {n} ; {int} & 6 ; {int} | 1 ; xor({int}, 3) ; ({int} + {n}) * {n} ; {int} << 1
        sign({int}) ; length({str}) ; strlen({str}) ; position({s} IN {str}) ; instr({str}, 'a')
        ord({s}) ; CASE WHEN {bool} THEN {int} ELSE {n} END
        CASE {str} WHEN {s} THEN {int} WHEN 'tea' THEN 1 END ; coalesce({int}, {n})
        nullif({int}, {n}) ; ifnull({int}, 0) ; if({bool}, {int}, {int})
        greatest({int}, {int}, {n}) ; least({int}, {n}) ; len({ints}) ; length({strs})
        {ints}[{n}] ; {ints}[-1] ; list_extract({ints}, {n}) ; array_length({strs})
        list_max({ints}) ; list_sum({ints}) ; list_reduce([{n}, {int}, 2], LAMBDA a, b : a + b)
        list_position({strs}, {s}) ; year({date}) ; month({date}) ; extract(day FROM {date})
        extract('hour' FROM {ts}) ; date_part('dow', {date}) ; date_diff('day', {date}, {date})
        {date} - {date} ; datediff('hour', {ts}, {ts}) ; {dims}.w ; {dims}['w']
        struct_extract({dims}, 'w') ; TRY_CAST({str} AS INTEGER) ; {int}::INTEGER
        CAST({dbl} AS BIGINT) ; round({dbl})::INT ; json_array_length({json})
        ({json} -> '$.a')::VARCHAR.length() ; {props}['k'] ; cardinality({props})
        element_at({props}, 'l')[1] ; bit_count({n}) ; floor({dbl})::INTEGER ; ({int})::BIGINT
        unicode({s}) ; levenshtein({s}, {s}) ; list_count({strs}) ; ascii({s})
        CAST({bool} AS INTEGER) ; {int}::TINYINT % 5::TINYINT ; epoch({ts})::BIGINT // 3600
        (SELECT {int}) ; len(string_split({str}, ' ')) ; len([x FOR x IN {ints} IF x > {n}])
        list_aggregate({ints}, 'max') ; hamming('abc', 'abd') ; gcd({int}, 6) ; factorial({n})
    """,
    "dec": """
        {dec} + 1.25 ; {dec} - {n} ; -{dec} ; {dec} * {n} ; round({dec}, 1) ; abs({dec})
        .5 + {dec} ; CASE WHEN {bool} THEN {dec} END ; coalesce({dec}, 0.5)
        CAST({int} AS DECIMAL(12, 2)) ; {dec} % 3 ; greatest({dec}, 1.5) ; {int}::DECIMAL(9, 1)
        trunc({dec})
    """,
    "dbl": """
        {dbl} + {n} ; {dbl} * 2 ; {dbl} / 2 ; - {dbl} ; abs({dbl}) ; floor({dbl}) ; ceil({dbl})
        {int} / 4 ; sqrt(abs({int}) * 4) ; 2 ** {n} ; pow({n}, 2) ; {dbl} - .25 ; {dbl} + 1e1
        round({dbl}, 1) ; coalesce({dbl}, 0.0) ; CASE WHEN {bool} THEN {dbl} ELSE 0 END
        {int}::DOUBLE ; TRY_CAST({str} AS DOUBLE) ; even({dbl}) ; list_avg([{int}, 2.0])
        'NaN'::DOUBLE + {dbl} ; cbrt(8) ; jaccard('duck', 'luck') ; round(ln(abs({int}) + 1), 3)
    """,
    "str": """
        {str} || {s} ; {str} || {str} ; upper({str}) ; lower({str}) ; trim({str}) ; reverse({str})
        concat({str}, {int}, {s}) ; concat_ws('-', {str}, {s}) ; substring({str}, 2, {n})
        {str}[1:{n}] ; {str}[-{n}:] ; {str}[:{n}] ; left({str}, {n}) ; right({str}, 2)
        {str}[{n}] ; replace({str}, 'a', {s}) ; lpad({str}, 6, '*') ; rpad({str}, {n}, '.')
        repeat({s}, {n}) ; coalesce({str}, {s}) ; nullif({str}, {s})
        CASE WHEN {bool} THEN {str} ELSE {s} END ; CAST({int} AS VARCHAR) ; {date}::VARCHAR
        {bool}::TEXT ; {dec}::VARCHAR ; {dims}.label ; {dims}['label'] ; {strs}[1]
        list_extract({strs}, {n}) ; array_to_string({strs}, ', ')
        regexp_replace({str}, '[aeiou]', '#', 'g') ; regexp_extract({str}, '(\\w)\\w*', 1)
        split_part({str}, ' ', {n}) ; strftime({date}, '%d.%m.%Y') ; dayname({date}) ; md5({s})
        {json} ->> '$.a' ; {json}->>'b' ; json_extract_string({json}, {path}) ; json_type({json})
        to_json({ints})::VARCHAR ; chr(97 + {n}) ; translate({str}, 'ae', 'xy') ; hex({s})
        format('{{}}-{{}}', {str}, {n}) ; printf('%d|%s', {n}, {s}) ; strip_accents({str})
        typeof({int}) ; {str}.upper() ; {str}.replace('a', 'b').lower()
        list_aggregate({strs}, 'string_agg', '|') ; E'a\\tb' ; ({str} COLLATE NOCASE)
        overlay({s} PLACING 'X' FROM 2) ; trim(BOTH 'a' FROM {str})
    """,
    "date": """
        {date} + {n} ; {date} - 1 ; ({date} + INTERVAL '1' MONTH)::DATE ; last_day({date})
        date_trunc('month', {date})::DATE ; CAST({ts} AS DATE) ; make_date(2024, {n}, 28)
        coalesce({date}, DATE '2024-02-29') ; greatest({date}, DATE '2000-06-07') ; {ts}::DATE
        CASE WHEN {bool} THEN {date} END ; strptime('2024-02-28', '%Y-%m-%d')::DATE
        TRY_CAST({str} AS DATE) ; ({date} - INTERVAL 1 YEAR)::DATE ; '2024-03-01'::DATE
    """,
    "ts": """
        {ts} + INTERVAL 90 MINUTE ; {ts} - INTERVAL '2 days 3 hours' ; {ts} + {iv}
        date_trunc('hour', {ts}) ; {date}::TIMESTAMP ; CAST({date} AS TIMESTAMP) + to_hours({n})
        coalesce({ts}, TIMESTAMP '2024-02-01 12:30:00') ; time_bucket(INTERVAL '1 day', {ts})
        {tz} AT TIME ZONE 'UTC' ; CASE WHEN {bool} THEN {ts} END ; {date} + TIME '10:00'
        make_timestamp(2024, {n}, 1, 2, 3, 4.5)
    """,
    "tz": """
        {tz} + INTERVAL '1 hour' ; {ts}::TIMESTAMPTZ ; date_trunc('day', {tz})
        {ts} AT TIME ZONE 'Europe/Berlin' ; TIMESTAMPTZ '2024-02-29 08:00:00+02'
    """,
    "iv": """
        to_days({int}) ; INTERVAL '1' DAY ; INTERVAL 3 HOURS + INTERVAL '{n} minutes'
        {ts} - {ts} ; INTERVAL ({n}) DAY ; {iv} * 2 ; to_minutes({n})
        coalesce({iv}, INTERVAL '1 hour') ; age({ts}, TIMESTAMP '2020-02-29 00:00:00')
    """,
    "bool": """
        {int} = {int} ; {int} < {int} ; {int} <> {n} ; {int} != {n} ; {int} >= {n} ; {dec} > {n}
        {dbl} <= 1.5 ; {str} = {s} ; {str} < {str} ; {date} > DATE '2024-02-28' ; {ts} >= {ts}
        {tz} < TIMESTAMPTZ '2024-03-02' ; {int} BETWEEN {n} AND 9 ; {int} NOT BETWEEN 1 AND {int}
        {date} BETWEEN DATE '2000-01-01' AND {date} ; {bool} AND {bool} ; {bool} OR {bool}
        NOT {bool} ; ({bool}) = ({bool}) ; {int} IS NULL ; {str} IS NOT NULL ; {dbl} ISNULL
        {bool} IS TRUE ; {bool} IS NOT FALSE ; {str} LIKE {pattern} ; {str} NOT LIKE {pattern}
        {str} ILIKE '%A%' ; {str} NOT ILIKE {pattern} ; {str} SIMILAR TO '[A-Z]?.*e.*'
        {str} LIKE 'h!_%' ESCAPE '!' ; {str} GLOB '*e*' ; {str} ~ '^[a-z]+$'
        regexp_matches({str}, 'e+') ; contains({str}, {s}) ; starts_with({str}, {s})
        {str} ^@ {s} ; {str} IN ({s}, 'tea', NULL) ; {int} IN ({n}, 5, {int})
        {int} NOT IN ({n}, 7) ; {str} NOT IN ({s}) ; {int} IS DISTINCT FROM {int}
        {str} IS NOT DISTINCT FROM {str} ; list_contains({ints}, {n}) ; {n} IN [1, {int}]
        {s} = ANY({strs}) ; list_has_any({strs}, ['a', {s}]) ; {strs} @> ['a'] ; {ints} = [0, 1]
        {strs} && ['b'] ; ({int}, {str}) = ({n}, {s}) ; ({int}, {int}) < ({n}, 3)
        {int} = ANY([1, {n}, 5]) ; {int} > ALL([0, {n}]) ; {ok}
        {dims} = {{'w': 1, 'label': 'ß'}} ; {dims}.w = {n} ; json_exists({json}, {path})
        json_contains({json}, '1') ; {json} IS NULL ; json_valid({str})
        CASE WHEN {bool} THEN {bool} ELSE {ok} END ; coalesce({bool}, false) ; {int}::BOOLEAN
        {str} COLLATE NOCASE = {s} ; {str} COLLATE NOCASE.NOACCENT = 'apfel'
        {iv} > INTERVAL 1 HOUR ; xor({int}, 1) = 0 ; list_bool_and([x > {n} FOR x IN {ints}])
        TRY_CAST({str} AS INT) IS NULL ; map_contains({props}, 'k') ; {str} !~~ {pattern}
        {int} == {n} ; isnan({dbl}) ; NOT ({bool})
    """,
    "ints": """
        [{int}, {n}] ; list_value({int}, {int}) ; range({n}) ; {ints} || [{n}] ; list_sort({ints})
        [x + {n} FOR x IN {ints}] ; [x FOR x IN {ints} IF x % 2 = 0] ; list_concat({ints}, {ints})
        list_transform({ints}, LAMBDA x : x * {n}) ; list_filter({ints}, LAMBDA x : x > {n})
        list_transform({ints}, LAMBDA x, i : x + i) ; list_reverse({ints}) ; {ints}[1:2]
        list_apply({ints}, LAMBDA x : x + {int}) ; list_distinct([{n}, {n}])
        generate_series(1, {n}) ; [len(x) FOR x IN {strs}] ; flatten([{ints}, [{n}]])
        list_slice({ints}, 1, 2) ; {ints}[-2:] ; list_resize({ints}, 3, 0)
        list_zip({ints}, {ints}).list_transform(LAMBDA z : z[1]) ; coalesce({ints}, [])
        array_append({ints}, {n}) ; list_select([5, 6, 7], [1, {n}])
    """,
    "strs": """
        [{str}, {s}] ; string_split({s}, 'a') ; list_sort({strs}, 'DESC') ; {strs} || [{s}]
        [upper(x) FOR x IN {strs}] ; list_transform({strs}, LAMBDA x : x || '!') ; {strs}[1:1]
        list_filter({strs}, LAMBDA x : x IS NOT NULL) ; map_keys({props}) ; str_split({str}, ' ')
        regexp_extract_all({str}, '[a-z]') ; coalesce({strs}, ['none']) ; json_keys('{{"q": 1}}')
    """,
    "dims": """
        {{'w': {int}, 'label': {str} }} ; struct_pack(w := {int}, label := {s}) ; {dims}
        CASE WHEN {bool} THEN {dims} END
        ROW({int}::INTEGER, {str})::STRUCT(w INTEGER, label VARCHAR)
        struct_update({dims}, w := {n}) ; coalesce({dims}, {{'w': 0, 'label': NULL}})
    """,
    "props": """
        MAP {{'k': {int}::INTEGER}} ; map(['k', 'l'], [{n}, {int}]) ; {props}
        map_from_entries([('k', {n}), ('z', 2)]) ; MAP {{ {s} : {n} }}
    """,
    "json": """
        {json} ; json_object('a', {int}, 'b', {str}) ; to_json({dims}) ; {json} -> 'b'
        json_array({int}, {s}) ; json_extract({json}, {path}) ; to_json({strs})
        '{{"a": [1]}}'::JSON ; {json} -> '$.b[0]' ; json_merge_patch({json}, '{{"z": 1}}')
    """,
    "uuid": """
        {uuid} ; '01890000-0000-7000-8000-000000000007'::UUID
    """,
}
TEMPLATES["ok"] = "{ok} ; true ; {int} > {n}"

AGGREGATES: dict[str, str] = {
    "int": """
        count(*) ; count({int}) ; count(DISTINCT {str}) ; sum({int}) ; min({int}) ; max({int})
        count() ; sum({int}) FILTER (WHERE {bool}) ; count(*) FILTER ({bool})
        count(DISTINCT {int}) FILTER (WHERE {ok}) ; arg_max({int}, ({key}))
        arg_min({int}, ({key})) ; max_by({int}, ({key})) ; bit_or({int}) ; count_if({bool})
        first({int} ORDER BY {key}) ; len(list(DISTINCT {str})) ; bit_xor({n})
        sum(DISTINCT {int}) ; approx_count_distinct({n}) ; last({int} ORDER BY {key} DESC)
        quantile_disc({int}, 0.5) ; median({int})::BIGINT
    """,
    "dec": "sum({dec}) ; min({dec}) ; max({dec}) ; sum({dec}) FILTER (WHERE {bool})",
    "dbl": """
        sum({dbl}) ; avg({int}) ; avg({dbl}) ; max({dbl}) ; median({dbl})
        quantile_cont({int}, 0.25) ; round(stddev({int}), 6) ; round(var_pop({dbl}), 6)
        round(corr({int}, {dbl}), 6) ; fsum({dbl})
        percentile_cont(0.5) WITHIN GROUP (ORDER BY {int}) ; geomean({n})
    """,
    "str": """
        min({str}) ; max({str}) ; string_agg({str}, ',' ORDER BY {key}) ; arg_max({str}, ({key}))
        group_concat({str}, '/' ORDER BY {key})
        array_to_string(list_sort(list(DISTINCT {str})), ';') ; listagg({str}, '+' ORDER BY {key})
        min({str}) FILTER (WHERE {bool}) ; any_value({s})
    """,
    "date": "min({date}) ; max({date}) ; arg_min({date}, ({key}))",
    "ts": "min({ts}) ; max({ts})",
    "tz": "min({tz}) ; max({tz})",
    "bool": """
        bool_and({bool}) ; bool_or({bool}) ; count(*) > {n} ; max({int}) IS NULL ; sum({int}) > 5
    """,
    "ints": """
        list({int} ORDER BY {key}) ; array_agg({int} ORDER BY {key} DESC)
        list_sort(list(DISTINCT {int})) ; list({int} ORDER BY {key}) FILTER (WHERE {bool})
    """,
    "strs": "list({str} ORDER BY {key}) ; array_agg({str} ORDER BY {key}) ; max({strs})",
}

WINDOWS: dict[str, str] = {
    "int": """
        row_number() OVER {w} ; rank() OVER {w} ; dense_rank() OVER {w} ; ntile({n}) OVER {w}
        lag({int}) OVER {w} ; lead({int}, {n}, 0) OVER {w} ; sum({int}) OVER {f}
        count(*) OVER {f} ; first_value({int}) OVER {f} ; last_value({int}) OVER {f}
        nth_value({int}, {n}) OVER {f} ; max({int}) OVER {p} ; count({str}) OVER ()
        sum({int}) FILTER (WHERE {bool}) OVER {f} ; lag({int} IGNORE NULLS) OVER {w}
        first_value({int} IGNORE NULLS) OVER {f} ; min({int}) OVER {f}
        sum({int}) OVER (ORDER BY {int} RANGE BETWEEN 2 PRECEDING AND CURRENT ROW)
        sum(DISTINCT {int}) OVER {p}
    """,
    "dbl": """
        percent_rank() OVER {w} ; cume_dist() OVER {w} ; sum({dbl}) OVER {f} ; avg({int}) OVER {p}
    """,
    "str": """
        lag({str}) OVER {w} ; max({str}) OVER {p} ; string_agg({str}, ',') OVER {f}
        first_value({str}) OVER {f} ; last_value({str} IGNORE NULLS) OVER {f}
    """,
    "date": "lead({date}) OVER {w} ; min({date}) OVER {f}",
    "bool": "bool_or({bool}) OVER {p} ; row_number() OVER {w} <= {n}",
    "ints": "list({int}) OVER {f}",
}

LITERALS: dict[str, str] = {
    "int": "0 ; 1 ; 2 ; 3 ; 7 ; -1 ; NULL::INTEGER ; 1_000 ; 12::BIGINT ; 5::SMALLINT",
    "dec": "1.25 ; 0.50 ; -3.75 ; NULL::DECIMAL(5, 2)",
    "dbl": "0.5 ; 1.5::DOUBLE ; 2.5e0 ; NULL::DOUBLE ; 'infinity'::DOUBLE",
    "str": "'tea' ; 'ÄPFEL' ; '' ; 'O''Brien' ; NULL::VARCHAR ; 'a%b_c' ; '漢字'",
    "date": "DATE '2024-02-29' ; DATE '2000-01-01' ; NULL::DATE ; '2024-02-28'::DATE",
    "ts": "TIMESTAMP '2024-02-29 12:00:00' ; NULL::TIMESTAMP ; '2024-02-01 00:30:00.5'::TIMESTAMP",
    "tz": "TIMESTAMPTZ '2024-02-29 12:00:00+00' ; NULL::TIMESTAMPTZ",
    "iv": "INTERVAL '1' DAY ; INTERVAL 2 HOURS ; NULL::INTERVAL",
    "bool": "true ; false ; NULL::BOOLEAN",
    "ok": "true ; false",
    "ints": "[1, 2, NULL] ; []::INTEGER[] ; [3] ; NULL::INTEGER[]",
    "strs": "['a', 'b'] ; ['ü', NULL] ; NULL::VARCHAR[]",
    "dims": "{'w': 1, 'label': 'x'} ; NULL::STRUCT(w INTEGER, label VARCHAR)",
    "props": "MAP {'k': 1} ; MAP {'l': 2, 'k': NULL}",
    "json": """
        '{"a": 1}'::JSON ; '[1, 2]'::JSON ; NULL::JSON
    """,
    "uuid": "'01890000-0000-7000-8000-000000000003'::UUID",
    "s": "'a' ; 'tea' ; 'e' ; 'ÄPFEL' ; 'O''Brien' ; ' ' ; '漢' ; 'fact'",
    "n": "1 ; 2 ; 3",
    "pattern": "'%e%' ; 't%' ; '_e%' ; '%' ; 'A%' ; '%漢_'",
    "path": "'$.a' ; '$.b[0]' ; '$.b[#-1]' ; '$[1]' ; 'a' ; '$.d.e' ; '/a'",
}
SEPARATOR = re.compile(r"(?: ; |\n)")
PART = re.compile(r"\{(\w+)\}")


def _choices(table: dict[str, str]) -> dict[str, list[str]]:
    return {
        kind: [one.strip() for one in SEPARATOR.split(text) if one.strip()]
        for kind, text in table.items()
    }


_TEMPLATES, _LITERALS = _choices(TEMPLATES), _choices(LITERALS)
_AGGREGATES, _WINDOWS = _choices(AGGREGATES), _choices(WINDOWS)


@dataclass(frozen=True)
class Source:
    """What stands in FROM by one alias.

    Args:
        alias: by which its columns are reached.
        columns: (name, kind) of each.
        key: expressions over its columns that tell its rows apart, or rows are equal.
    """

    alias: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]


Leaf = Callable[[str], str | None]


@dataclass
class Expressions:
    """Draws expressions over the rows of some sources.

    Args:
        random: where chance comes from.
        sources: whose columns are in reach.
        outer: those of queries around this one.
        subquery: draws a subquery of a kind in brackets, or None.
    """

    random: random.Random
    sources: Sequence[Source]
    outer: Sequence[Source] = ()
    subquery: Callable[[str], str | None] | None = None

    def of(self, kind: str, depth: int = 2) -> str:
        """Return an expression of a kind, at most so deep."""
        if kind in ("s", "n", "pattern", "path"):
            return self.random.choice(_LITERALS[kind])
        if self.subquery is not None and depth > 0 and self.random.random() < 0.06:
            found = self.subquery(kind)
            if found is not None:
                return found
        if depth <= 0 or self.random.random() < 0.3:
            return self.leaf(kind)
        return f"({self._filled(_TEMPLATES[kind], depth - 1)})"

    def leaf(self, kind: str) -> str:
        """Return a column of a kind, or a literal where there is none."""
        near = [s for s in self.sources]
        if self.outer and self.random.random() < 0.3:
            near = [*self.outer]
        wanted = "bool" if kind == "ok" else kind
        columns = [(s, name) for s in near for name, one in s.columns if one == wanted]
        if not columns or self.random.random() < 0.1:
            return self._literal(kind)
        source, name = self.random.choice(columns)
        return self.reach(source, name)

    def _literal(self, kind: str) -> str:
        literal = self.random.choice(_LITERALS[kind])
        return f"({literal})" if "::" in literal or literal.startswith("-") else literal

    def reach(self, source: Source, name: str) -> str:
        """Return the text for a column, with its table where that is needed, or by chance."""
        everywhere = [n for s in (*self.sources, *self.outer) for n, _ in s.columns]
        bare = everywhere.count(name) == 1 and self.random.random() < 0.5
        return name if bare else f"{source.alias}.{name}"

    def key(self) -> str:
        """Return what orders the rows of the sources totally."""
        keys = [f"{s.alias}.{name}" for s in self.sources for name in s.key]
        return ", ".join(keys) or "1"

    def aggregate(self, kind: str, depth: int = 1) -> str:
        """Return an aggregate of a kind; a literal where there is none."""
        if kind not in _AGGREGATES:
            return self._literal(kind)
        return self._filled(_AGGREGATES[kind], depth)

    def window(self, kind: str, names: Sequence[str] = ()) -> str:
        """Return a window function of a kind; a literal where there is none.

        Args:
            names: of the windows of a WINDOW clause, each with a total order.
        """
        if kind not in _WINDOWS:
            return self._literal(kind)
        template = self.random.choice(_WINDOWS[kind])
        if names and self.random.random() < 0.4:
            template = template.replace("{w}", self.random.choice(list(names)))
        for mark, drawn in (("{w}", self.ordered), ("{f}", self._framed), ("{p}", self._parted)):
            template = template.replace(mark, "\x00" if mark in template else "")
            if "\x00" in template:
                return self._filled([template], 1).replace("\x00", drawn())
        return self._filled([template], 1)

    def ordered(self) -> str:
        """Return a window with a total order."""
        first = f"{self.of(self.random.choice(['int', 'str', 'date', 'dbl']), 1)}"
        direction = self.random.choice(["", " DESC", " NULLS FIRST", " DESC NULLS LAST", " ASC"])
        parts = f"PARTITION BY {self.of('str', 1)} " if self.random.random() < 0.5 else ""
        return f"({parts}ORDER BY {first}{direction}, {self.key()})"

    def _parted(self) -> str:
        return self.random.choice([f"(PARTITION BY {self.of('int', 1)})", "()"])

    def _framed(self) -> str:
        frame = self.random.choice(
            [
                "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
                "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
                "ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
                "ROWS UNBOUNDED PRECEDING",
                "GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW",
                "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW",
                "ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING EXCLUDE TIES",
                "",
            ]
        )
        return f"{self.ordered()[:-1]} {frame})".replace(" )", ")")

    def _filled(self, templates: Sequence[str], depth: int) -> str:
        template = self.random.choice(list(templates))

        def part(found: re.Match[str]) -> str:
            kind = found[1]
            if kind == "key":
                return self.key()
            return self.of(kind, depth)

        # Doubled braces are DuckDB's own, as in str.format.
        template = template.replace("{{", "\x01").replace("}}", "\x02")
        return PART.sub(part, template).replace("\x01", "{").replace("\x02", "}")

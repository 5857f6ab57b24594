"""Sizes of generated values: calls that make long texts and lists are held to a limit.

DuckDB's memory limit does not see the values of an expression while they are computed, and it
asks whether to stop only between two of its steps. So a call whose result can be far longer than
its arguments is asked first how long it would be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot import exp

from memql.engine.context import StatementContext
from memql.engine.duckdb_sql.dialect import PlainDuckDB
from memql.engine.names import position
from memql.engine.settings import GENERATED_HINT, GENERATED_SETTING
from memql.engine.wall import column_name
from memql.errors import DataError, NotSupportedError

# DuckDB computes an expression for up to 2,048 rows at a time. Rarely are all of them as long as
# they may be; with a 64th for each, the worst case is 32 times the limit.
ROWS_SHARE = 64

_NUMBER_BYTES = 8  # of a list that range() makes
_ELEMENT_BYTES = 16  # that list_resize() adds, if it is no long text

# It has a cell for each pair of characters, for one row at a time, and frees it again.
_MATRIX, _MATRIX_BYTES = "damerau_levenshtein", 64 * 2**20

# A literal of this length makes a result longer by a factor that needs no limit.
_SHORT_CHARACTERS = 100

# An argument of at most so many nodes may be written twice.
_FEW_PARTS = 20

# Another value at each call.
_CHANGING = frozenset(
    {"currval", "error", "gen_random_uuid", "nextval", "random", "uuid", "uuidv4", "uuidv7"}
)

Arguments = Sequence[exp.Expr]


@dataclass(frozen=True)
class Bound:
    """When the result of a call is too large.

    Args:
        counts: how many arguments the function takes.
        condition: SQL over the arguments ``a0``, ``a1`` ... and ``most``, the limit in bytes;
            None where the call needs no look.
        known: whether literals are too large for a limit in bytes, where DuckDB need not say it.
        guarded: which argument, counted from 0, is not had where the condition holds.
    """

    counts: range
    condition: Callable[[Arguments], str | None]
    known: Callable[[list[str], int], bool] | None = None
    guarded: int = 1


def bound_calls(query: exp.Expr, context: StatementContext) -> None:
    """Hold, in place, the calls of a query to the limit on what they may generate.

    Args:
        query: with its functions checked; names that start with _memql are free.
        context: the statement, with the limit in its settings.

    Raises:
        DataError: a call of literals makes too much.
        NotSupportedError: a call has arguments by name, or DISTINCT.
    """
    calls = [node for node in query.find_all(exp.Anonymous) if node.name.lower() in BOUNDED]
    if not calls:
        return
    limit_bytes = context.settings.max_generated_bytes
    of_rows = limit_bytes // ROWS_SHARE if query.find(exp.Table) else limit_bytes
    names = _default_names(calls)
    # From the inside out: the arguments of a call are final when it is looked at.
    for call in reversed(calls):
        outer = call.parent
        if isinstance(outer, exp.Table | exp.Lateral):
            continue  # its rows come one after the other
        alone = isinstance(call.parent, exp.Explode | exp.Unnest) and _literals(call)
        _bound_call(call, limit_bytes if alone else of_rows, context)
    for select, place, name in names:
        projection = select.expressions[place]
        alias = exp.Alias(this=projection.copy(), alias=exp.to_identifier(name, quoted=True))
        projection.replace(alias)


def too_much(name: str, limit_bytes: int) -> str:
    """Return what the error says about a call that makes too much."""
    if name in _WIDE:
        what = "has a width of four digits or more, or one that is an argument: it may make"
    elif name == _MATRIX:
        what, limit_bytes = "compares texts so long that it needs", _MATRIX_BYTES
    else:
        what = "makes"
    return f"{name} {what} more than the {limit_bytes:,} bytes that {GENERATED_SETTING} allows here"


def _bound_call(call: exp.Anonymous, limit_bytes: int, context: StatementContext) -> None:
    name, arguments = call.name.lower(), call.expressions
    bound = BOUNDED[name]
    if any(isinstance(one, exp.PropertyEQ | exp.Kwarg | exp.Distinct) for one in arguments):
        raise NotSupportedError(
            f"the arguments of {name} are given by their place, and all of them",
            position=position(context.text, call),
            statement=context.text,
        )
    if len(arguments) not in bound.counts:
        return  # DuckDB says what is missing
    literals = _literals(call)
    if name in _WIDE and isinstance(arguments[0], exp.Literal):
        literals = [arguments[0].name]  # the other arguments do not matter
    if literals is not None and bound.known is not None:
        if bound.known(literals, limit_bytes):
            raise DataError(
                too_much(name, limit_bytes),
                hint=GENERATED_HINT,
                position=position(context.text, call),
                statement=context.text,
                code="54000",
            )
        return
    if name in _REDUCING:
        _bound_steps(call, limit_bytes)
        return
    condition = bound.condition(arguments)
    if condition is not None:
        call.replace(_guarded(call, condition, limit_bytes))


def _guarded(call: exp.Anonymous, condition: str, limit_bytes: int) -> exp.Expr:
    """Return a call that raises an error where the condition holds.

    The error stands inside of the call: DuckDB computes a call of constants before it looks at
    the CASE around it. An argument that is more than a name or a value is computed once, for a
    lambda.
    """
    named = {f"a{place}": argument for place, argument in enumerate(call.expressions)}
    given = list(named)
    place = min(BOUNDED[call.name.lower()].guarded, len(given) - 1)
    message = too_much(call.name.lower(), limit_bytes)
    given[place] = _unless(condition, message, given[place])
    guarded = f"{call.name}({', '.join(given)})"
    computed = [name for name, argument in named.items() if not _is_simple(argument)]
    for name in computed:
        # In HAVING DuckDB takes the a0 of _memql_made.a0 for a column.
        guarded = re.sub(rf"\b{name}\b", f"struct_extract(_memql_made, '{name}')", guarded)
    if computed:
        made = ", ".join(f"'{name}': {name}" for name in computed)
        guarded = f"list_transform([{{{made}}}], LAMBDA _memql_made : {guarded})[1]"
    tree = _parsed(re.sub(r"\bmost\b", str(limit_bytes), guarded))
    for column in list(tree.find_all(exp.Column)):
        if not column.table and column.name in named:
            column.replace(named[column.name].copy())
    for node in tree.find_all(exp.Anonymous):
        if node.name == call.name:
            node.meta.update(call.meta)  # where it stands in the statement
    return tree


def _unless(condition: str, message: str, value: str) -> str:
    """Return SQL that is a value, or an error with a message where a condition holds.

    error() would do, but DuckDB takes it for another value each time, and refuses that in places.
    """
    fails = f"CASE WHEN {condition} THEN CAST({_text(message)} AS BOOLEAN) ELSE false END"
    return f"CASE WHEN {fails} THEN NULL ELSE {value} END"


def _bound_steps(call: exp.Anonymous, limit_bytes: int) -> None:
    """Hold what a reducing lambda has gathered to the limit, where it can double it."""
    function = call.expressions[1]
    if not isinstance(function, exp.Lambda) or not function.expressions:
        return
    gathered = function.expressions[0].name
    uses = [node for node in function.this.find_all(exp.Identifier) if node.name == gathered]
    if len(uses) < 2:
        return
    message = too_much(call.name.lower(), limit_bytes)
    guarded = _parsed(_unless(f"{_bytes_of('a0')} > {limit_bytes}", message, "a1"))
    body = function.this.copy()
    for column in list(guarded.find_all(exp.Column)):
        column.replace(exp.to_identifier(gathered, quoted=True) if column.name == "a0" else body)
    function.set("this", guarded)


def _default_names(calls: list[exp.Anonymous]) -> list[tuple[exp.Select, int, str]]:
    """Return the columns without a name of their own that hold a call, and DuckDB's names."""
    found: dict[int, tuple[exp.Select, int, str]] = {}
    for call in calls:
        node: exp.Expr = call
        while node.parent is not None and not isinstance(node.parent, exp.Query):
            node = node.parent
        select = node.parent
        if not isinstance(select, exp.Select) or node.arg_key != "expressions":
            continue
        if isinstance(node, exp.Alias | exp.PropertyEQ) or node.find(exp.Star, exp.Columns):
            continue
        if _literals(call) is None or BOUNDED[call.name.lower()].known is None:
            name = column_name(node.sql(dialect=PlainDuckDB, identify=True, comments=False))
            assert node.index is not None
            found[id(node)] = select, node.index, name
    return list(found.values())


def _literals(call: exp.Anonymous) -> list[str] | None:
    """Return the texts of the arguments, if all of them are literals."""
    texts: list[str] = []
    for argument in call.expressions:
        value = argument.this if isinstance(argument, exp.Neg) else argument
        if not isinstance(value, exp.Literal):
            return None
        texts.append(value.name if value is argument else f"-{value.name}")
    return texts


def _is_simple(node: exp.Expr) -> bool:
    """Tell whether an argument may be computed twice: it costs next to nothing and is the same."""
    parts = list(node.walk())
    if len(parts) <= _FEW_PARTS and not any(map(_is_more, parts)):
        return True  # DuckDB computes it once; the default of a column takes no lambda
    if isinstance(node, exp.Cast | exp.Neg | exp.Paren):
        return _is_simple(node.this)
    simple = exp.Column | exp.Identifier | exp.Literal | exp.Placeholder | exp.Null | exp.Boolean
    return isinstance(node, simple) and not isinstance(node.this, exp.Star)


def _is_more(node: exp.Expr) -> bool:
    """Tell whether a part of an expression reads a row or is another one each time."""
    if isinstance(node, exp.Anonymous):
        return isinstance(node, exp.AggFunc) or node.name.lower() in _CHANGING
    return isinstance(node, exp.Column | exp.Dot | exp.Query | exp.Lambda | exp.Star | exp.AggFunc)


def _parsed(sql: str) -> exp.Expr:
    select = sqlglot.parse_one(f"SELECT {sql}", read=PlainDuckDB)
    parsed: exp.Expr = select.expressions[0]
    return parsed.pop()


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _bytes_of(argument: str) -> str:
    # Of a list or a blob, too, the text is about as long as the value.
    return f"CAST(strlen(CAST({argument} AS VARCHAR)) AS HUGEINT)"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0  # DuckDB says what is wrong with it


def _repeat(_: Arguments) -> str:
    # To repeat nothing takes its time too.
    return f"greatest({_bytes_of('a0')}, 1) * CAST(a1 AS HUGEINT) > most"


def _pad(_: Arguments) -> str:
    # The width is in characters, which have up to four bytes.
    return f"CAST(a1 AS HUGEINT) * least({_bytes_of('a2')}, 4) > most"


def _resize(arguments: Arguments) -> str:
    element = str(_ELEMENT_BYTES)
    if len(arguments) == 3:
        element = f"coalesce(greatest({_bytes_of('a2')}, {element}), {element})"
    return f"CAST(a1 AS HUGEINT) * {element} > most"


def _range(arguments: Arguments) -> str:
    if len(arguments) == 1:
        return f"CAST(a0 AS HUGEINT) * {_NUMBER_BYTES} > most"
    if len(arguments) == 2:
        return f"(CAST(a1 AS HUGEINT) - CAST(a0 AS HUGEINT)) * {_NUMBER_BYTES} > most"
    # Numbers or timestamps: the tree does not say which of the two the arguments are.
    texts = [f"CAST(a{place} AS VARCHAR)" for place in range(3)]
    start, stop, step = (f"TRY_CAST({text} AS HUGEINT)" for text in texts)
    numbers = f"abs(({stop} - {start}) // nullif({step}, 0)) * {_NUMBER_BYTES} > most"
    begin, end = (f"epoch(TRY_CAST({text} AS TIMESTAMP))" for text in texts[:2])
    width = f"nullif(epoch(TRY_CAST({texts[2]} AS INTERVAL)), 0)"
    return f"({numbers}) OR (abs(({end} - {begin}) / {width}) * {_NUMBER_BYTES} > most)"


def _known_range(texts: list[str], limit_bytes: int) -> bool:
    numbers = [_number(text) for text in texts]
    start, stop = (0.0, numbers[0]) if len(numbers) == 1 else numbers[:2]
    step = numbers[2] if len(numbers) == 3 else 1
    return step != 0 and (stop - start) / step * _NUMBER_BYTES > limit_bytes


def _known_resize(texts: list[str], limit_bytes: int) -> bool:
    element = max([len(text.encode()) for text in texts[2:]] + [_ELEMENT_BYTES])
    return _number(texts[1]) * element > limit_bytes


def _is_short(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and len(node.name) <= _SHORT_CHARACTERS


def _replace(arguments: Arguments) -> str | None:
    if _is_short(arguments[2]):
        return None
    found = f"({_bytes_of('a0')} - strlen(replace(a0, a1, ''))) // greatest(strlen(a1), 1)"
    # The second look costs as much as replacing does.
    return f"{_bytes_of('a0')} * strlen(a2) > most AND {found} * strlen(a2) > most"


def _replace_pattern(arguments: Arguments) -> str | None:
    if _is_short(arguments[2]):
        return None
    # A backslash puts what was found there again, perhaps many times.
    cheap = f"({_bytes_of('a0')} + 1) * strlen(a2) > most"
    found = "len(regexp_extract_all(a0, a1)) * strlen(a2) > most"
    return f"{cheap} AND (contains(a2, chr(92)) OR {found})"


# A width of four digits or more, or one that is an argument.
_WIDE = {
    "format": r"\{[^{}]*:[^{}]*(\{|[0-9]{4,})",
    "printf": r"%[^a-zA-Z%]*(\*|[0-9]{4,})",
}


def _wide(name: str) -> Bound:
    pattern = _WIDE[name]
    return Bound(
        range(1, 10_000),
        lambda _: f"regexp_matches(CAST(a0 AS VARCHAR), {_text(pattern)})",
        lambda texts, _: re.search(pattern, texts[0]) is not None,
        guarded=0,
    )


def _matrix(_: Arguments) -> str:
    return f"{_bytes_of('a0')} * {_bytes_of('a1')} * {_NUMBER_BYTES} > {_MATRIX_BYTES}"


_SERIES = Bound(range(1, 4), _range, _known_range)
_PAD = Bound(
    range(3, 4),
    _pad,
    lambda texts, most: _number(texts[1]) * min(len(texts[2].encode()), 4) > most,
)
_RESIZE = Bound(range(2, 4), _resize, _known_resize)
_REDUCE = Bound(range(2, 4), lambda _: None)
_REDUCING = ("array_reduce", "list_reduce", "reduce")

BOUNDED: dict[str, Bound] = {
    "array_resize": _RESIZE,
    "bitstring": Bound(
        range(2, 3),
        lambda _: "CAST(a1 AS HUGEINT) // 8 > most",
        lambda texts, most: _number(texts[1]) / 8 > most,
    ),
    _MATRIX: Bound(
        range(2, 3),
        _matrix,
        lambda texts, _: len(texts[0]) * len(texts[1]) * _NUMBER_BYTES > _MATRIX_BYTES,
    ),
    "format": _wide("format"),
    "generate_series": _SERIES,
    "list_resize": _RESIZE,
    "lpad": _PAD,
    "printf": _wide("printf"),
    "range": _SERIES,
    "regexp_replace": Bound(range(3, 5), _replace_pattern, guarded=2),
    "repeat": Bound(
        range(2, 3),
        _repeat,
        lambda texts, most: max(len(texts[0].encode()), 1) * _number(texts[1]) > most,
    ),
    "replace": Bound(range(3, 4), _replace, guarded=2),
    "rpad": _PAD,
    **dict.fromkeys(_REDUCING, _REDUCE),
}

"""``generate`` in a SELECT, split into the three steps of its evaluation.

The relation gives one row for each group with the question and the rows of each call; the model
answers; the finish is what uses the answers. Parts of projections, HAVING and ORDER BY that hold
no generate are columns of the relation; windows, which come after HAVING, are a part of the finish.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlglot import exp

from memql.engine import syntax
from memql.engine.bind.columns import source_columns
from memql.engine.bind.lift import Lifter
from memql.engine.bind.options import generate_options
from memql.engine.bind.parameters import Values
from memql.engine.bind.parts import check_constant, direct_generates
from memql.engine.bind.shape import alias_of, has_aggregate, select_sources
from memql.engine.bind.sources import Views
from memql.engine.context import StatementContext
from memql.engine.duckdb_sql.dialect import PlainDuckDB
from memql.engine.names import fold, position
from memql.engine.plan import ANSWERS_TABLE, GenerateCall
from memql.errors import NotSupportedError, ProgrammingError

_NOT_OF_ONE_ROW = (exp.AggFunc, exp.Window, exp.Query, exp.Explode, exp.Unnest, exp.Columns)


def has_generate(node: exp.Expr) -> bool:
    """Tell whether a tree holds a generate."""
    return node.find(syntax.Generate) is not None


def check_places(query: exp.Query, context: StatementContext) -> None:
    """Refuse a generate where no aggregate can stand, or no window.

    Raises:
        NotSupportedError: OVER a window.
        ProgrammingError: in FROM, WHERE or GROUP BY, in VALUES, behind a set operation, or inside
            another aggregate.
    """
    for call in query.find_all(syntax.Generate):
        content = call.args.get("expression")
        if content is not None and content.find(*_NOT_OF_ONE_ROW):
            raise ProgrammingError(
                "generate reads rows: no aggregate, window, unnest, COLUMNS or subquery in "
                "what it reads",
                hint="compute it in a subquery in FROM",
                position=position(context.text, call),
                statement=context.text,
                code="42803",
            )
        error: type[ProgrammingError] | type[NotSupportedError] = ProgrammingError
        problem = _problem_of(call)
        if problem == _OVER:
            error = NotSupportedError
        if problem is not None:
            raise error(
                f"generate {problem}",
                position=position(context.text, call),
                statement=context.text,
                code="42803" if error is ProgrammingError else None,
            )


_OVER = "takes no OVER: it is an aggregate over a group"
_NOT_THERE = (exp.Where, exp.Group, exp.From, exp.Join, exp.Lateral, exp.Values)


def _problem_of(call: syntax.Generate) -> str | None:
    """Return what is wrong with the place of a generate in its SELECT, None if nothing is."""
    node: exp.Expr = call
    while node.parent is not None and not isinstance(node, exp.Query):
        parent = node.parent
        if isinstance(parent, exp.Window) and node is parent.this and _is_call(node, call):
            return _OVER
        if isinstance(parent, _NOT_THERE) or (
            isinstance(parent, exp.Query) and not isinstance(parent, exp.Select)
        ):
            return "is an aggregate: use it in SELECT, HAVING or ORDER BY"
        if isinstance(parent, exp.Lambda):
            return "cannot stand inside LAMBDA"
        if isinstance(parent, exp.AggFunc) and not _is_windowed(parent):
            name = parent.name if isinstance(parent, exp.Anonymous) else parent.key
            return f"cannot stand inside {name.upper()}"
        if isinstance(parent, exp.Anonymous) and fold(parent.name) == "generate":
            return "cannot stand inside generate"
        node = parent
    return None


def _is_call(node: exp.Expr, call: syntax.Generate) -> bool:
    return node is call or (isinstance(node, exp.Filter) and node.this is call)


def _is_windowed(function: exp.Expr) -> bool:
    """Tell whether an aggregate is computed OVER a window, whose rows may hold answers."""
    node = function
    while isinstance(node.parent, exp.Filter | exp.IgnoreNulls | exp.RespectNulls):
        node = node.parent
    return isinstance(node.parent, exp.Window) and node.parent.this is node


@dataclass
class GenerateSplit:
    """Takes a SELECT with generate apart.

    Args:
        select: the tree with its tables resolved; it becomes the relation, in place. Its calls
            carry the lineage of a row, if that is proven.
        context: the statement.
        values: the statement's parameters, for options.
        content: the expression of a generate that names none.
        rank: a column with the order of the view that is read, or None.
        columns: lower-case names of the columns of its sources, as far as they are known.
    """

    select: exp.Select
    context: StatementContext
    values: Values
    content: exp.Expr | None
    rank: exp.Expr | None
    columns: frozenset[str]
    calls: list[GenerateCall] = field(default_factory=list, init=False)
    _lifter: Lifter = field(init=False)

    def __post_init__(self) -> None:
        self._lifter = Lifter(self._call)

    def split(self) -> tuple[exp.Select, exp.Select, tuple[str | None, ...]]:
        """Return (relation, finish, answer column of each output column or None)."""
        select, lift = self.select, self._lifter.lift
        self._check_shape()
        self._replace_aliases()
        self._name_groups()
        outputs: list[exp.Expr] = []
        answer_columns: list[str | None] = []
        for projection in select.expressions:
            inner = projection.unalias()
            name = projection.alias or self._default_name(inner)
            lifted = lift(inner)
            is_answer = isinstance(inner, syntax.Generate) or (
                isinstance(inner, exp.Filter) and isinstance(inner.this, syntax.Generate)
            )
            answer_columns.append(lifted.name if is_answer else None)
            outputs.append(exp.alias_(lifted, name, quoted=True))
        finish = exp.Select(
            expressions=outputs,
            from_=exp.From(this=exp.Table(this=exp.to_identifier(ANSWERS_TABLE, quoted=True))),
        )
        if distinct := select.args.get("distinct"):
            finish.set("distinct", self._lifter.lift_inside(distinct))
        if having := select.args.get("having"):
            finish.set("where", exp.Where(this=lift(having.this)))
        for key in ("qualify", "order"):
            if clause := select.args.get(key):
                finish.set(key, self._lifter.lift_inside(clause))
        if windows := select.args.get("windows"):
            finish.set("windows", [self._lifter.lift_inside(one) for one in windows])
        for key in ("limit", "offset"):
            if clause := select.args.get(key):
                finish.set(key, clause.copy())
        for key in ("distinct", "having", "qualify", "windows", "order", "limit", "offset"):
            select.set(key, None)
        select.set("expressions", self._lifter.projections)
        return select, finish, tuple(answer_columns)

    def _check_shape(self) -> None:
        select = self.select
        many = next((one for one in select.expressions if _is_many(one)), None)
        if many is not None:
            raise ProgrammingError(
                "generate is an aggregate: * cannot stand beside it",
                hint="name the columns and GROUP BY them",
                position=position(self.context.text, many),
                statement=self.context.text,
                code="42803",
            )
        limit = select.args.get("limit")
        if isinstance(limit, syntax.TokenLimit) and select.args.get("group") is not None:
            raise ProgrammingError(
                "LIMIT n TOKENS behind generate would cut its answers, not what the model reads",
                hint="move it inside: generate('...' LIMIT n TOKENS)",
                position=position(self.context.text, limit),
                statement=self.context.text,
                code="42803",
            )
        if select.args.get("group") is None:
            for key, text in (("order", "ORDER BY"), ("limit", "LIMIT")):
                if select.args.get(key):
                    raise ProgrammingError(
                        f"{text} behind a generate without GROUP BY would order or cut its one row",
                        hint=f"move it inside: generate('...' {text} ...)",
                        position=position(self.context.text, select.args[key]),
                        statement=self.context.text,
                        code="42803",
                    )

    def _replace_aliases(self) -> None:
        """Put expressions where GROUP BY, HAVING and ORDER BY use an alias or a number."""
        select = self.select
        by_alias: dict[str, exp.Expr] = {}
        for projection in select.expressions:
            # DuckDB lets a projection use the alias of one before it.
            self._put_expressions(projection, by_alias, columns_first=True)
            if projection.alias:
                by_alias[fold(projection.alias)] = projection.unalias()
        for key in ("group", "having", "qualify", "distinct", "order"):
            clause = select.args.get(key)
            if clause is None:
                continue
            if key in ("group", "order"):
                for literal in list(_keys(clause)):
                    if isinstance(literal, exp.Literal) and literal.is_int:
                        number = int(literal.name)
                        if not 1 <= number <= len(select.expressions):
                            raise ProgrammingError(
                                f"there is no column number {number} in SELECT",
                                hint=f"it has {len(select.expressions)}",
                                position=position(self.context.text, literal),
                                statement=self.context.text,
                                code="42P10",
                            )
                        literal.replace(select.expressions[number - 1].unalias().copy())
            # As in DuckDB: a column goes before an alias, but in ORDER BY the alias wins.
            self._put_expressions(clause, by_alias, columns_first=key != "order")
        group = select.args.get("group")
        if group is not None and has_generate(group):
            raise ProgrammingError(
                "generate is an aggregate: GROUP BY cannot use it",
                hint="GROUP BY what the answer depends on",
                position=position(self.context.text, group),
                statement=self.context.text,
                code="42803",
            )

    def _name_groups(self) -> None:
        """Name what GROUP BY ALL means: the relation has other columns than the SELECT."""
        group = self.select.args.get("group")
        if group is None or not group.args.get("all"):
            return
        keys = [projection.unalias() for projection in self.select.expressions]
        keys = [
            key.copy()
            for key in keys
            if key.find(exp.Column) and not has_aggregate(key) and not key.find(exp.Window)
        ]
        # Over constants alone it is one group, even of no row.
        self.select.set("group", exp.Group(expressions=keys) if keys else None)

    def _put_expressions(
        self, tree: exp.Expr, by_alias: dict[str, exp.Expr], *, columns_first: bool
    ) -> None:
        for column in list(tree.find_all(exp.Column)):
            name = fold(column.name)
            aliased = by_alias.get(name)
            if column.table or aliased is None or (columns_first and name in self.columns):
                continue
            column.replace(exp.paren(aliased.copy()) if has_generate(tree) else aliased.copy())

    def _default_name(self, expression: exp.Expr) -> str:
        if has_generate(expression):
            return "generate"
        if isinstance(expression, exp.Column):
            return expression.name
        return expression.sql(dialect=PlainDuckDB, comments=False)

    def _call(self, call: syntax.Generate, where: exp.Where | None) -> exp.Expr:
        column = f"_memql_a{len(self.calls)}"
        content = call.args.get("expression") or self.content
        assert content is not None  # the binder resolved or refused it
        order = call.args.get("order")
        ordered = order is not None or self.rank is not None
        if order is not None and any(fold(key.this.name) == "all" for key in order.expressions):
            raise NotSupportedError(
                "ORDER BY ALL inside generate is not possible: its rows have no columns to go by",
                hint="name what to order by",
                position=position(self.context.text, order),
                statement=self.context.text,
            )
        if order is None and self.rank is not None:
            order = exp.Order(expressions=[exp.Ordered(this=self.rank.copy())])
        text = exp.Cast(this=content.copy(), to=exp.DataType.build("text"))
        fields: list[exp.Expr] = [exp.PropertyEQ(this=exp.to_identifier("text"), expression=text)]
        lineage = call.args.get("lineage")
        if lineage is not None:
            fields.append(
                exp.PropertyEQ(this=exp.to_identifier("lineage"), expression=lineage.copy())
            )
        pack: exp.Expr = exp.Struct(expressions=fields)
        if order is not None:
            pack = exp.Order(this=pack, expressions=[key.copy() for key in order.expressions])
        rows: exp.Expr = exp.ArrayAgg(this=pack)
        condition: exp.Expr = exp.Not(this=exp.Is(this=content.copy(), expression=exp.Null()))
        if where is not None:
            condition = exp.and_(where.this.copy(), condition)
        rows = exp.Filter(this=rows, expression=exp.Where(this=condition))
        decoding = generate_options(call, self.values, self.context)
        limit_rows, limit_tokens = self._limits(call)
        self.calls.append(
            GenerateCall(
                column,
                call.this.copy(),
                rows,
                ordered,
                decoding,
                limit_rows,
                limit_tokens,
            )
        )
        return exp.column(column, quoted=True)

    def _limits(self, call: syntax.Generate) -> tuple[exp.Expr | None, exp.Expr | None]:
        """Return (rows, tokens) of a call's LIMIT, each None where it has none."""
        limit = call.args.get("limit")
        if limit is None:
            return None, None
        check_constant(limit, self.context)
        if isinstance(limit, syntax.TokenLimit):
            rows = limit.args.get("rows")
            return None if rows is None else rows.copy(), limit.this.copy()
        options = limit.args.get("limit_options")
        if options is not None and (options.args.get("percent") or options.args.get("with_ties")):
            raise NotSupportedError(
                "LIMIT inside generate takes a number of rows or tokens",
                position=position(self.context.text, limit),
                statement=self.context.text,
            )
        return limit.expression.copy(), None


def _keys(clause: exp.Expr) -> Iterator[exp.Expr]:
    """Yield the keys of GROUP BY or ORDER BY, those of grouping sets one by one."""
    for key in clause.expressions:
        if isinstance(key, exp.Rollup | exp.Cube | exp.GroupingSets | exp.Tuple):
            yield from _keys(key)
        else:
            yield key.this if isinstance(key, exp.Ordered | exp.Paren) else key


def _is_many(projection: exp.Expr) -> bool:
    """Tell whether a projection can be more than one column."""
    inner = projection.unalias()
    return bool(inner.is_star) or inner.find(exp.Columns) is not None


def columns_in_scope(select: exp.Select, views: Views) -> frozenset[str]:
    """Return the folded names of the columns of a SELECT's sources, as far as they are known."""
    return frozenset(
        fold(name)
        for source in select_sources(select)
        for name in source_columns(source, views) or ()
    )


def default_content(select: exp.Select, views: Views, context: StatementContext) -> exp.Expr:
    """Return the one column ``content`` in scope, what a generate reads if it names nothing.

    Raises:
        ProgrammingError: none or several, with the candidates.
    """
    candidates: list[str] = []
    columns: list[str] = []
    for source in select_sources(select):
        known = source_columns(source, views)
        if known is None:
            return exp.column("content")
        columns.extend(known)
        if any(fold(name) == "content" for name in known):
            candidates.append(alias_of(source))
    if len(candidates) == 1:
        return exp.column("content", table=candidates[0], quoted=True)
    call = next(one for one in direct_generates(select) if one.args.get("expression") is None)
    if candidates:
        names = " or ".join(f"{table}.content" for table in candidates)
        raise ProgrammingError(
            "generate can read more than one column content here",
            hint=f"name it: generate('...', {names})",
            position=position(context.text, call),
            statement=context.text,
            code="42702",
        )
    raise ProgrammingError(
        "generate finds no column content to read here",
        hint="name an expression: generate('...', expression)"
        + (f"; columns here: {', '.join(sorted(set(columns)))}" if columns else ""),
        position=position(context.text, call),
        statement=context.text,
        code="42703",
    )

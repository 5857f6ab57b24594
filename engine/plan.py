"""The logical plan: immutable nodes that the binder builds and the rules rewrite.

Only what DuckDB cannot do is planned here. The relational part stays one SQL tree in a
:class:`Relation`. Trees inside plan nodes are never changed in place: a rule copies first.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from functools import cached_property

from sqlglot import exp

from memql.engine.model.decoding import Decoding
from memql.engine.printing import Printed, VisibleView, print_query
from memql.engine.settings import DEFAULT_MAX_TOKENS

# Nobody can guess it: data can name columns (PIVOT does), and one of this name would be believed.
LINEAGE_COLUMN = f"_memql_lineage_{secrets.token_hex(8)}"
RANK_COLUMN = "_memql_rank"
VISIBLE_TABLE = "_memql_visible"
ANSWERS_TABLE = "_memql_answers"
RANKED_TABLE = "_memql_ranked"
PART_TABLE = "_memql_part"


@dataclass(frozen=True)
class Relation:
    """A query that DuckDB runs; every name in it is resolved and every policy is in it.

    Args:
        query: the tree, in DuckDB's dialect.
        policy: what of memories the query may see, in words; None if it reaches none.
        unproven: why the rows cannot be traced to memories, or None where they can
            or nobody asks.
        parts: what runs before it, in this order: the parts of the query that DuckDB cannot run,
            whose rows ``query``, and parts behind them, read as tables.
        traced: whether the rows, or those of each generate, carry their lineage.
    """

    query: exp.Query
    policy: str | None = None
    unproven: str | None = None
    parts: tuple[Part, ...] = ()
    traced: bool = False

    @cached_property
    def printed(self) -> Printed:
        """The query as DuckDB reads it."""
        return print_query(self.query)

    @property
    def reads_often(self) -> bool:
        """Whether the store is read more than once, which takes a snapshot."""
        if self.parts or not self.printed.visible:
            return bool(self.parts)
        tables = self.query.find_all(exp.Table)
        views = any(isinstance(one, VisibleView) for one in self.printed.visible)
        return views or len(self.printed.visible) > 1 or any(table.db for table in tables)


@dataclass(frozen=True)
class Cut:
    """``<query> LIMIT k ROWS n TOKENS``: the leading rows whose segments fit.

    Args:
        table: the name by which the rows are read.
        input: the query without the limit in tokens; k is in it as a plain LIMIT.
        tokens: n, an expression without columns.
        model: whose tokens are counted; None for the model of the whole query.
        bounded: whether DuckDB is asked for no more rows than there is room for.
    """

    table: str
    input: Relation
    tokens: exp.Expr
    model: str | None
    bounded: bool = False


@dataclass(frozen=True)
class Generated:
    """A part of a query with a generate: its rows are those of a query of its own.

    Args:
        table: the name by which the rows are read.
        input: the part, with the finish that gives its rows.
    """

    table: str
    input: Finish


Part = Cut | Generated


@dataclass(frozen=True)
class Target:
    """What a query asks for: the form, the model and the options of its MATERIALIZE clause.

    Args:
        form: PLAINTEXT, ACTIVATION, PARAMETER or AUTO.
        model: the model's name, None for the session's.
        view: the view that gave the form, if no clause did.
        order: of rows in the prompt, where the query does not order them: 'canonical', or 'reuse'
            for the one whose prefix is stored for the longest.
        twin: what a view is for that holds just these rows, though the query does not name it.
    """

    form: str = "AUTO"
    model: str | None = None
    view: str | None = None
    order: str = "canonical"
    twin: Target | None = None


@dataclass(frozen=True)
class GenerateCall:
    """One ``generate``: columns of the relation with its question and its rows.

    Args:
        column: name of the column that will hold the answer.
        question: the question, an expression over the group.
        rows: ``list(struct(lineage, text))`` over the group.
        ordered: whether the user's ORDER BY decides the order of the rows.
        decoding: how answers are made.
        limit_rows: k of ``LIMIT k`` and of ``LIMIT k ROWS n TOKENS``, or None.
        limit_tokens: n of a limit in tokens, or None.
    """

    column: str
    question: exp.Expr
    rows: exp.Expr
    ordered: bool
    decoding: Decoding = Decoding(DEFAULT_MAX_TOKENS)
    limit_rows: exp.Expr | None = None
    limit_tokens: exp.Expr | None = None


@dataclass(frozen=True)
class Select:
    """A plain query: DuckDB's rows are the result."""

    input: Relation


@dataclass(frozen=True)
class Materialize:
    """The rows of the relation, rendered and brought into a form."""

    input: Relation
    target: Target
    ordered: bool


@dataclass(frozen=True)
class Answer:
    """The relation's groups, each with the model's answers as further columns."""

    input: Relation
    calls: tuple[GenerateCall, ...]
    target: Target

    @cached_property
    def groups(self) -> Relation:
        """What DuckDB runs: the groups, then question and rows of each call."""
        query = self.input.query.copy()
        for call in self.calls:
            query.append("expressions", exp.alias_(call.question.copy(), f"{call.column}_q"))
            query.append("expressions", exp.alias_(call.rows.copy(), f"{call.column}_r"))
        return replace(self.input, query=query)


@dataclass(frozen=True)
class Finish:
    """What uses the answers: a query over the relation's columns and the answers.

    Args:
        query: the tree, FROM ``_memql_answers``.
        answer_columns: for each output column the answer column it shows unchanged, or None.
    """

    input: Answer
    query: exp.Select
    answer_columns: tuple[str | None, ...] = field(default=())

    @cached_property
    def shown(self) -> Printed:
        """The query as DuckDB reads it, with the number of each shown answer as a last column.

        Not under DISTINCT, which the numbers would undo.
        """
        query = self.query.copy()
        if not query.args.get("distinct"):
            for output, column in enumerate(self.answer_columns):
                if column is not None:
                    number = exp.column(f"{column}_n", quoted=True)
                    query.append("expressions", exp.alias_(number, f"_memql_n{output}"))
        return print_query(query)

    @cached_property
    def rows(self) -> Printed:
        """The query as DuckDB reads it."""
        return print_query(self.query)


Plan = Select | Materialize | Finish


def relation_of(plan: Plan) -> Relation:
    """Return what DuckDB runs for a plan."""
    return plan.input.input if isinstance(plan, Finish) else plan.input


def with_relation(plan: Plan, relation: Relation) -> Plan:
    """Return a plan over another relation."""
    if isinstance(plan, Finish):
        return replace(plan, input=replace(plan.input, input=relation))
    return replace(plan, input=relation)


def print_all(relation: Relation) -> None:
    """Print a relation and the parts before it, which fails where one has no SQL.

    Raises:
        ProgrammingError: a function has arguments that do not fit.
        InternalError: what was printed reads more than the tree does.
    """
    for part in relation.parts:
        if isinstance(part, Cut):
            print_all(part.input)
        else:
            print_all(part.input.input.groups)
            print_query(part.input.query)
    print_query(relation.query)

"""The logical plan: immutable nodes that the binder builds and the rules rewrite.

Only what DuckDB cannot do is planned here. The relational part stays one SQL tree in a
:class:`Relation`. Trees inside plan nodes are never changed in place: a rule copies first.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

LINEAGE_COLUMN = "_memql_lineage"
RANK_COLUMN = "_memql_rank"
VISIBLE_TABLE = "_memql_visible"
ANSWERS_TABLE = "_memql_answers"
RANKED_TABLE = "_memql_ranked"

DEFAULT_MAX_TOKENS = 64


@dataclass(frozen=True)
class Relation:
    """A query that DuckDB runs; every name in it is resolved and every policy is in it.

    Args:
        query: the tree, in DuckDB's dialect.
        policy: what of memories the query may see, in words; None if it reaches none.
        unproven: why the rows cannot be traced to memories, or None where they can
            (then the last column, or the rows of each generate, carry the lineage).
    """

    query: exp.Query
    policy: str | None = None
    unproven: str | None = None


@dataclass(frozen=True)
class Target:
    """What a query asks for: the form, the model and the options of its MATERIALIZE clause.

    Args:
        form: PLAINTEXT, ACTIVATION, PARAMETER or AUTO.
        model: the model's name, None for the session's.
        view: the view that gave the form, if no clause did.
    """

    form: str = "AUTO"
    model: str | None = None
    view: str | None = None


@dataclass(frozen=True)
class GenerateCall:
    """One ``generate``: columns of the relation with its question and its rows.

    Args:
        column: name of the column that will hold the answer.
        question: the question, an expression over the group.
        rows: ``list(struct(lineage, text))`` over the group.
        ordered: whether the user's ORDER BY decides the order of the rows.
        max_tokens: the longest answer, in tokens.
    """

    column: str
    question: exp.Expr
    rows: exp.Expr
    ordered: bool
    max_tokens: int = DEFAULT_MAX_TOKENS


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


Plan = Select | Materialize | Finish

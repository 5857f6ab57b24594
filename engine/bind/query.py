"""The binder of queries: a SELECT, with or without MATERIALIZE, to a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sqlglot import exp

from memql.engine import syntax
from memql.engine.bind.columns import check_columns, source_columns
from memql.engine.bind.cuts import take_cuts
from memql.engine.bind.generate import (
    GenerateSplit,
    check_places,
    default_content,
    has_generate,
)
from memql.engine.bind.lineage import (
    Untraceable,
    order_of_source,
    row_lineage,
    trace_query,
)
from memql.engine.bind.options import check_materialize_options
from memql.engine.bind.parameters import Values
from memql.engine.bind.shape import (
    MEMORIES,
    alias_of,
    has_aggregate,
    is_memories,
    name_subqueries,
    rename_ctes,
    select_sources,
    visible_ctes,
)
from memql.engine.bind.sources import (
    Sources,
    ViewDefinition,
    Views,
    add_policy,
    check_names,
)
from memql.engine.catalog import CatalogTable
from memql.engine.context import StatementContext
from memql.engine.names import fold
from memql.engine.plan import (
    RANK_COLUMN,
    Answer,
    Finish,
    Materialize,
    Plan,
    Relation,
    Select,
    Target,
)
from memql.engine.unbuilt import not_yet


@dataclass(frozen=True)
class QueryBinder:
    """Binds the queries of one statement.

    Args:
        context: the statement.
        views: the views that its user may name.
        values: its parameters by name.
        catalog: the tables of the schema memql that it may read, by name; a view reads none.
    """

    context: StatementContext
    views: Views
    values: Values
    catalog: Mapping[str, CatalogTable] = field(default_factory=dict)

    def bind(self, tree: exp.Query | syntax.Materialize) -> Plan:
        """Return the plan of a query.

        Raises:
            ProgrammingError: an unknown or ambiguous name, with the nearest right one.
            NotSupportedError: something valid that MemQL does not do.
        """
        query = tree.this if isinstance(tree, syntax.Materialize) else tree
        query = _unnested(query).copy()
        name_subqueries(query)
        check_columns(query, self.context, self.views)
        check_places(query, self.context)
        if has_generate(query):
            return self._bind_generate(query, self._target(tree, query))
        if isinstance(tree, syntax.Materialize):
            return self._bind_materialize(query, self._target(tree, query))
        return self._bind_select(query)

    def bind_relation(self, query: exp.Query) -> Relation:
        """Return a plain query with its names resolved and its policy added."""
        return self._finished(self._resolved(query), lineage=False)

    def bind_expression(self, expression: exp.Expr) -> exp.Select:
        """Return a SELECT of one expression that reads no table, with its names resolved."""
        query = exp.Select(expressions=[expression.copy()])
        Sources(self.context, self.views, self.values, self.catalog).resolve(query)
        return query

    def _bind_select(self, query: exp.Query) -> Select:
        resolved = self._resolved(query)
        traced = resolved.copy()
        relation = self._finished(resolved, lineage=False)
        if relation.cuts:
            # Where rows can be traced, their token ids are found in the catalog of segments.
            try:
                trace_query(traced)
                cuts = self._finished(traced, lineage=True).cuts
                return Select(replace(relation, cuts=cuts))
            except Untraceable:
                pass  # the half-changed copy is left; tokens are counted from the text
        return Select(relation)

    def _resolved(self, query: exp.Query) -> exp.Query:
        query = query.copy()
        name_subqueries(query)
        Sources(self.context, self.views, self.values, self.catalog).resolve(query)
        rename_ctes(query)
        return query

    def _finished(
        self, query: exp.Query, *, lineage: bool, unproven: str | None = None
    ) -> Relation:
        """Return a resolved query as a relation: limits in tokens taken out, the policy added."""

        def finish(part: exp.Query) -> Relation:
            check_names(part)
            return Relation(part, self._policy(part, lineage=lineage), unproven)

        query, cuts = take_cuts(query, finish, self.context)
        check_names(query)
        return Relation(query, self._policy(query, lineage=lineage), unproven, cuts)

    def _policy(self, query: exp.Query, *, lineage: bool) -> str | None:
        return add_policy(query, self.context, self.values, lineage=lineage)

    # -- targets ------------------------------------------------------------------------------

    def _target(self, tree: exp.Query | syntax.Materialize, query: exp.Query) -> Target:
        if isinstance(tree, syntax.Materialize):
            check_materialize_options(tree.args.get("options"), self.values, self.context)
            form = tree.args["form"]
            if form == "PARAMETER":
                raise not_yet("MATERIALIZE AS PARAMETER")
            model = tree.args.get("model")
            return Target(form, model.name if model is not None else None)
        view = self._only_view(query)
        if view is not None and view.form is not None:
            return Target(view.form, view.model, view=view.name)
        return Target()

    def _only_view(self, query: exp.Query) -> ViewDefinition | None:
        """The one view that a query reads and nothing else: its form is the query's too."""
        if not isinstance(query, exp.Select):
            return None
        sources = select_sources(query)
        if len(sources) != 1 or not isinstance(sources[0], exp.Table):
            return None
        table = sources[0]
        if table.db or fold(table.name) == MEMORIES or fold(table.name) in visible_ctes(table):
            return None
        return self.views.find(table.name)

    # -- materialize --------------------------------------------------------------------------

    def _bind_materialize(self, query: exp.Query, target: Target) -> Plan:
        self._star_means_content(query)
        resolved = self._resolved(query)
        traced = resolved.copy()
        try:
            ordered = traced.args.get("order") is not None
            if isinstance(traced, exp.Select) and not ordered:
                ordered = self._inherit_order(traced)
            trace_query(traced)
            return Materialize(self._finished(traced, lineage=True), target, ordered)
        except Untraceable as reason:
            ordered = resolved.args.get("order") is not None
            if isinstance(resolved, exp.Select) and not ordered:
                ordered = self._inherit_order(resolved)
            relation = self._finished(resolved, lineage=False, unproven=str(reason))
            return Materialize(relation, target, ordered)

    def _inherit_order(self, select: exp.Select) -> bool:
        grouped = any(select.args.get(key) for key in ("group", "distinct", "having"))
        grouped = grouped or any(has_aggregate(projection) for projection in select.expressions)
        rank = None if grouped else order_of_source(select)
        if rank is None:
            return False
        for projection in select.expressions:
            star = projection.this if isinstance(projection, exp.Column) else projection
            if isinstance(star, exp.Star):
                hidden = exp.to_identifier(RANK_COLUMN, quoted=True)
                star.set("except_", [*(star.args.get("except_") or ()), hidden])
        select.set("order", exp.Order(expressions=[exp.Ordered(this=rank)]))
        return True

    def _star_means_content(self, query: exp.Query) -> None:
        """A memory is read by its content: ``*`` over memories is that column here."""
        if isinstance(query, exp.Subquery):
            self._star_means_content(query.this)
        elif isinstance(query, exp.SetOperation):
            self._star_means_content(query.this)
            self._star_means_content(query.expression)
        if not isinstance(query, exp.Select):
            return
        projections: list[exp.Expr] = []
        for projection in query.expressions:
            qualified = isinstance(projection, exp.Column) and isinstance(projection.this, exp.Star)
            star = projection.this if qualified else projection
            if not isinstance(star, exp.Star) or any(star.args.values()):
                projections.append(projection)
                continue
            if any(source.args.get("pivots") for source in select_sources(query)):
                projections.append(projection)
                continue
            for source in select_sources(query):
                if qualified and fold(alias_of(source)) != fold(projection.table):
                    continue
                alias = alias_of(source)
                if is_memories(source):
                    projections.append(exp.column("content", table=alias, quoted=True))
                    continue
                columns = source_columns(source, self.views)
                if columns is not None and _is_all_of_memories(columns):
                    columns = ["content"]
                if columns is None:
                    everything = exp.Column(this=exp.Star(), table=exp.to_identifier(alias))
                    projections.append(everything if alias else star.copy())
                else:
                    projections.extend(
                        exp.column(name, table=alias or None, quoted=True) for name in columns
                    )
        query.set("expressions", projections)

    # -- generate -----------------------------------------------------------------------------

    def _bind_generate(self, query: exp.Query, target: Target) -> Plan:
        assert isinstance(query, exp.Select)  # check_places refused the others
        content = None
        if any(call.args.get("expression") is None for call in query.find_all(syntax.Generate)):
            content = default_content(query, self.views, self.context)
        columns = frozenset(
            fold(name)
            for source in select_sources(query)
            for name in source_columns(source, self.views) or ()
        )
        resolved = self._resolved(query)
        assert isinstance(resolved, exp.Select)
        traced = resolved.copy()
        rank = order_of_source(traced)
        unproven: str | None = None
        lineage: exp.Expr | None = None
        try:
            lineage = row_lineage(traced)
        except Untraceable as reason:
            unproven = str(reason)
            traced = resolved.copy()
            rank = order_of_source(traced)
        split = GenerateSplit(traced, lineage, self.context, self.values, content, rank, columns)
        select, finish, answer_columns = split.split()
        # The calls reach memories too, but through the same FROM.
        relation = self._finished(select, lineage=lineage is not None, unproven=unproven)
        answer = Answer(relation, tuple(split.calls), target)
        return Finish(answer, finish, answer_columns)


def _unnested(query: exp.Query) -> exp.Query:
    while isinstance(query, exp.Subquery) and not any(
        value for key, value in query.args.items() if key != "this"
    ):
        query = query.this
    return query


def _is_all_of_memories(columns: list[str]) -> bool:
    lowered = {fold(name) for name in columns}
    return {"id", "owner", "content", "state", "version"} <= lowered

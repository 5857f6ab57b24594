"""The binder of queries: a SELECT, with or without MATERIALIZE, to a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlglot import exp

from memql.engine import syntax
from memql.engine.bind.columns import check_columns, source_columns
from memql.engine.bind.generate import (
    GenerateSplit,
    check_places,
    columns_in_scope,
    default_content,
    has_generate,
)
from memql.engine.bind.hiding import take_out_views
from memql.engine.bind.lineage import Tracer
from memql.engine.bind.options import materialize_order
from memql.engine.bind.order import inherit_order, order_of_source
from memql.engine.bind.parameters import Values
from memql.engine.bind.parts import (
    PartTaker,
    check_constant,
    direct_generates,
    without_limit,
)
from memql.engine.bind.shape import (
    MEMORIES,
    alias_of,
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
    check_names,
)
from memql.engine.bind.twins import twin_of
from memql.engine.bind.untraceable import Untraceable
from memql.engine.bind.visible import add_policy
from memql.engine.catalog import CatalogTable
from memql.engine.context import StatementContext
from memql.engine.names import fold
from memql.engine.plan import (
    Answer,
    Cut,
    Finish,
    GenerateCall,
    Generated,
    Materialize,
    Part,
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
            clause = self._target(tree) if isinstance(tree, syntax.Materialize) else None
            return self._bind_generate(query, clause)
        if isinstance(tree, syntax.Materialize):
            target = self._target(tree)
            if target.form == "AUTO":
                target = _with_twin(target, twin_of(query, self.views))
            return self._bind_materialize(query, target)
        return Select(self._parted(self._resolved(query)))

    def bind_relation(self, query: exp.Query) -> Relation:
        """Return a query with its names resolved and its policy added; its rows are not traced.

        Raises:
            ProgrammingError, NotSupportedError: a generate stands where none can.
        """
        check_places(query, self.context)
        query = query.copy()
        self._note_views(query)
        return self._parted(self._resolved(query))

    def bind_expression(self, expression: exp.Expr) -> exp.Select:
        """Return a SELECT of one expression that reads no table, with its names resolved."""
        query = exp.Select(expressions=[expression.copy()])
        Sources(self.context, self.views, self.values, self.catalog).resolve(query)
        return query

    def _resolved(self, query: exp.Query) -> exp.Query:
        query = query.copy()
        name_subqueries(query)
        Sources(self.context, self.views, self.values, self.catalog).resolve(query)
        rename_ctes(query)
        return query

    def _relation(
        self,
        query: exp.Query,
        *,
        traced: bool,
        unproven: str | None = None,
        calls: Sequence[GenerateCall] = (),
    ) -> Relation:
        """Return a query whose parts were taken out as a relation, with the policy in it.

        Args:
            calls: what is read beside it, once it runs.
        """
        check_names(query)
        trees = [query, *(tree for call in calls for tree in (call.question, call.rows))]
        policy = add_policy(query, trees, self.context, self.values, lineage=traced)
        for tree in trees:
            take_out_views(tree)
        return Relation(query, policy, unproven, traced=traced)

    # -- parts that run before ------------------------------------------------------------------

    def _parted(self, query: exp.Query, clause: Target | None = None) -> Relation:
        """Return a query with all of its parts taken out, itself too if it has a generate."""
        query, parts, _ = self._taken(query, clause, whole=True)
        return replace(self._relation(query, traced=False), parts=parts)

    def _taken(
        self, query: exp.Query, clause: Target | None, *, whole: bool
    ) -> tuple[exp.Query, tuple[Part, ...], dict[str, str]]:
        """Take the parts out of a query; tell which of them are not traced, and why."""
        untraced: dict[str, str] = {}

        def bind(part: exp.Query, table: str) -> Part:
            if direct_generates(part):
                assert isinstance(part, exp.Select)
                finish, reason = self._finish(part, clause, untraced, rows=True)
                if reason is not None:
                    untraced[table] = reason
                return Generated(table, finish)
            limit = part.args["limit"]
            check_constant(limit, self.context)
            relation = self._traced(without_limit(part), untraced)
            if relation.unproven is not None:
                untraced[table] = relation.unproven
            return Cut(table, relation, limit.this.copy(), limit.args.get("model"))

        taker = PartTaker(bind, self.views, self.context)
        query, parts = taker.take(query, whole=whole)
        return query, parts, untraced

    def _traced(self, query: exp.Query, untraced: Mapping[str, str]) -> Relation:
        """Return a query as a relation whose rows carry their lineage, where that is proven."""
        try:
            traced = Tracer(self.views, untraced).trace(query.copy())
        except Untraceable as reason:
            return self._relation(query, traced=False, unproven=str(reason))
        return self._relation(traced, traced=True)

    # -- targets ------------------------------------------------------------------------------

    def _target(self, tree: syntax.Materialize) -> Target:
        order = materialize_order(tree.args.get("options"), self.values, self.context)
        form = tree.args["form"]
        if form == "PARAMETER":
            raise not_yet("MATERIALIZE AS PARAMETER")
        model = tree.args.get("model")
        return Target(form, model.name if model is not None else None, order=order)

    def _note_views(self, query: exp.Query) -> None:
        """Note at each SELECT with a generate the view that it reads, before views are expanded."""
        for call in query.find_all(syntax.Generate):
            select = call.find_ancestor(exp.Query)
            if select is None:
                continue
            view = self._only_view(select)
            if view is None:
                select.meta["twin"] = twin_of(select, self.views)
            elif view.form is not None:
                select.meta["target"] = Target(
                    view.form, view.model, view=view.name, order=view.order
                )

    def _only_view(self, query: exp.Expr) -> ViewDefinition | None:
        """The one view that a query reads and nothing else: its form is the query's too."""
        if not isinstance(query, exp.Select):
            return None
        sources = select_sources(query)
        if len(sources) != 1 or not isinstance(sources[0], exp.Table):
            return None
        table = sources[0]
        if not table.db and fold(table.name) in (MEMORIES, *visible_ctes(table)):
            return None
        return None if table.catalog else self.views.find(table.name, table.db)

    # -- materialize --------------------------------------------------------------------------

    def _bind_materialize(self, query: exp.Query, target: Target) -> Plan:
        self._star_means_content(query)
        resolved = self._resolved(query)
        ordered = resolved.args.get("order") is not None
        if isinstance(resolved, exp.Select) and not ordered:
            ordered = inherit_order(resolved)
        resolved, parts, untraced = self._taken(resolved, target, whole=True)
        relation = replace(self._traced(resolved, untraced), parts=parts)
        return Materialize(relation, target, ordered)

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

    def _bind_generate(self, query: exp.Query, clause: Target | None) -> Plan:
        """Bind a query with a generate somewhere; its clause says how all answers are made."""
        self._note_views(query)
        resolved = self._resolved(query)
        if not direct_generates(resolved):
            return Select(self._parted(resolved, clause))
        resolved, parts, untraced = self._taken(resolved, clause, whole=False)
        assert isinstance(resolved, exp.Select)  # a set operation makes no generate itself
        finish, _ = self._finish(resolved, clause, untraced, rows=False)
        relation = replace(finish.input.input, parts=parts)
        return replace(finish, input=replace(finish.input, input=relation))

    def _finish(
        self, select: exp.Select, clause: Target | None, untraced: Mapping[str, str], *, rows: bool
    ) -> tuple[Finish, str | None]:
        """Return a SELECT with a generate as a plan, and why its rows are not traced.

        Args:
            select: its parts were taken out.
            clause: the form and model that the statement names, or None.
            untraced: by their table, the parts that are not traced, with the reason.
            rows: whether its rows are to carry their lineage too.
        """
        target = clause or select.meta.get("target") or Target()
        target = _with_twin(target, select.meta.get("twin"))
        content = None
        if any(call.args.get("expression") is None for call in direct_generates(select)):
            content = default_content(select, self.views, self.context)
        columns = columns_in_scope(select, self.views)
        rank = order_of_source(select)
        unproven: str | None = None
        reason: str | None = None
        traced: exp.Query = select.copy()
        try:
            if rows:
                traced = Tracer(self.views, untraced).trace(traced)
        except Untraceable as error:
            reason = str(error)
            traced = select.copy()
        if not rows or reason is not None:
            try:
                assert isinstance(traced, exp.Select)
                Tracer(self.views, untraced).trace_calls(traced)
            except Untraceable as error:
                unproven = str(error)
                traced = select
        assert isinstance(traced, exp.Select)
        split = GenerateSplit(traced, self.context, self.values, content, rank, columns)
        relation, finish, answer_columns = split.split()
        answer = Answer(
            self._relation(relation, traced=unproven is None, unproven=unproven, calls=split.calls),
            tuple(split.calls),
            target,
        )
        return Finish(answer, finish, answer_columns), reason


def _with_twin(target: Target, twin: Target | None) -> Target:
    return target if twin is None or target.view is not None else replace(target, twin=twin)


def _unnested(query: exp.Query) -> exp.Query:
    while isinstance(query, exp.Subquery) and not any(
        value for key, value in query.args.items() if key != "this"
    ):
        query = query.this
    return query


def _is_all_of_memories(columns: list[str]) -> bool:
    lowered = {fold(name) for name in columns}
    return {"id", "owner", "content", "state", "version"} <= lowered

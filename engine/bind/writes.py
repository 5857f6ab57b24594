"""The binder of INSERT, UPDATE, DELETE and MERGE on ordinary tables: DuckDB runs each as it is.

Every expression of such a statement goes into one SELECT, which is bound as any query is: names
are resolved there, policies added and functions checked. Its parts are then put back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlglot import exp

from memql.engine.bind.columns import check_columns
from memql.engine.bind.definitions import ROWS_TABLE
from memql.engine.bind.query import QueryBinder
from memql.engine.bind.shape import finds_columns
from memql.engine.bind.sources import TARGET
from memql.engine.names import fold, not_possible, position, unknown
from memql.engine.plan import Plan, Select
from memql.engine.printing import Printed, file_tables, print_sql, visible_tables
from memql.engine.tables import OrdinaryTable, read_ordinary
from memql.errors import NotSupportedError, ProgrammingError

# Values that stand in a statement as they are.
_WRITTEN_OUT = (type(None), bool, int, float, Decimal, str, UUID, date, datetime)


@dataclass(frozen=True)
class TableChange:
    """A change of an ordinary table.

    Args:
        printed: what DuckDB runs.
        returning: whether it gives rows; else it gives the number of rows changed.
        hides: the table, with its owner's name, if who asks may not read it; else None.
        policy: what of memories it may see, in words; None if it reaches none.
        rows: a query that runs first; the statement reads its rows as ``_memql_new``.
    """

    printed: Printed
    returning: bool
    hides: str | None
    policy: str | None
    rows: Plan | None = None


def bind_write(
    tree: exp.Insert | exp.Update | exp.Delete | exp.Merge,
    found: OrdinaryTable,
    binder: QueryBinder,
) -> TableChange:
    """Return what DuckDB runs for a change of an ordinary table.

    Args:
        found: the table that is changed.

    Raises:
        ProgrammingError: an unknown name.
        NotSupportedError: a form that MemQL does not have.
    """
    if isinstance(tree, exp.Insert):
        return _Writer(binder, found, tree.copy()).insert()
    return _Writer(binder, found, tree.copy()).change()


def actions_of(tree: exp.Expr) -> list[str]:
    """Return what a change does to its table: some of TABLE_PRIVILEGES, SELECT not among them."""
    if isinstance(tree, exp.Insert):
        return ["INSERT", "UPDATE"] if _replaces(tree) else ["INSERT"]
    if not isinstance(tree, exp.Merge):
        return ["UPDATE"] if isinstance(tree, exp.Update) else ["DELETE"]
    actions: set[str] = set()
    for when in tree.args["whens"].expressions:
        action = when.args.get("then")
        if isinstance(action, exp.Insert | exp.Update):
            actions.add(action.key.upper())
        elif isinstance(action, exp.Var) and action.name.upper() == "DELETE":
            actions.add("DELETE")
        elif not isinstance(action, exp.Var) or action.name.upper() != "DO NOTHING":
            actions.update(("INSERT", "UPDATE", "DELETE"))
    return sorted(actions)


def _replaces(tree: exp.Expr) -> bool:
    """Tell whether an INSERT changes rows that are there."""
    conflict, instead = tree.args.get("conflict"), tree.args.get("alternative")
    if instead and str(instead).upper() != "IGNORE":
        return True
    return conflict is not None and conflict.text("action").upper() != "DO NOTHING"


# The clauses of each statement; what else sqlglot read would be left out or is another dialect's.
_KNOWN: dict[type[exp.Expr], str] = {
    exp.Insert: "this expression returning with_ by_name conflict alternative default",
    exp.Update: "this expressions from_ where returning with_",
    exp.Delete: "this using where returning with_",
    exp.Merge: "this using on using_cond whens returning with_",
}


@dataclass
class _Writer:
    """Binds one statement; ``tree`` is a copy of its own.

    Args:
        found: the table that is changed.
    """

    binder: QueryBinder
    found: OrdinaryTable
    tree: exp.Expr
    policy: str | None = None

    def insert(self) -> TableChange:
        """Return an INSERT: its rows are a query that is bound by itself."""
        tree = self.tree
        self._check_clauses()
        target = tree.this
        table = target.this if isinstance(target, exp.Schema) else target
        names = [node.name for node in target.expressions] if target is not table else []
        self._check_columns(names, list(target.expressions))
        source, rows = tree.expression, None
        if isinstance(source, exp.Values):
            self._check_widths(source, names)
            items = [item for row in source.expressions for item in row.expressions]
            bound = self._bind(items, [], None, with_target=False)
            tree.set("with_", bound.args.get("with_"))
        elif isinstance(source, exp.Query):
            if tree.args.get("with_") is not None:
                source.set("with_", tree.args["with_"].pop())
            plan = self.binder.bind(source)
            if isinstance(plan, Select) and not plan.input.parts and not finds_columns(source):
                _ = plan.input.printed  # the second wall reads it
                self.policy = plan.input.policy
                tree.set("expression", plan.input.query.copy())
            else:
                rows = plan
                scan = exp.Table(this=exp.to_identifier(ROWS_TABLE, quoted=True))
                tree.set("expression", exp.Select(expressions=[exp.Star()]).from_(scan))
        elif not tree.args.get("default"):
            raise self._refused(table, "INSERT without VALUES or a query", "42601")
        conflict = tree.args.get("conflict")
        arbitrated = conflict is not None and bool(conflict.args.get("conflict_keys"))
        returned = self._returned()
        if _replaces(tree) or arbitrated or any(self._reads(node) for node in returned):
            self._check_readable()
        if conflict is not None or returned:
            self._bind_behind_insert(conflict)
        read_ordinary(table, self.found)
        return self._change(rows)

    def _bind_behind_insert(self, conflict: exp.Expr | None) -> None:
        """Bind ON CONFLICT and RETURNING, which see the target and the row that is refused."""
        excluded = exp.Subquery(
            this=exp.Select(expressions=[exp.Star()]).from_(self._target(alias=False)),
            alias=exp.TableAlias(this=exp.to_identifier("excluded")),
        )
        places: list[exp.Expr] = []
        if conflict is not None:
            places = self._assigned(conflict.expressions)
            where = conflict.args.get("where")
            if where is not None:
                places.append(where.this)
        given = self.tree.args.get("with_")
        self.tree.set("with_", None)
        bound = self._bind(places, [excluded] if conflict is not None else [], None)
        if bound.args.get("with_") is not None:
            raise self._refused(self.found_at, "a query over memories behind INSERT")
        self.tree.set("with_", given)

    def change(self) -> TableChange:
        """Return an UPDATE, DELETE or MERGE."""
        tree = self.tree
        self._check_clauses()
        if finds_columns(tree):
            raise self._refused(
                self.found_at, f"{tree.key.upper()} with a PIVOT whose columns are in the data"
            )
        sources: list[exp.Expr] = []
        places: list[exp.Expr] = []
        if isinstance(tree, exp.Update):
            places = self._assigned(tree.expressions)
            if tree.args.get("from_") is not None:
                sources = [tree.args["from_"].this]
        elif isinstance(tree, exp.Delete):
            sources = list(tree.args.get("using") or [])
        elif isinstance(tree, exp.Merge):
            sources = [tree.args["using"]]
            places = self._merge_places(tree)
        condition = tree.args.get("where")
        asked = [*places, *sources, *self._returned(), *([condition] if condition else [])]
        if tree.args.get("using_cond") or any(self._reads(node) for node in asked):
            self._check_readable()
        bound = self._bind(places, sources, condition)
        if condition is not None:
            tree.set("where", bound.args["where"])
        joins = bound.args.get("joins") or []
        read = [join.this for join in joins]
        if isinstance(tree, exp.Update) and sources:
            read[0].set("joins", [join.copy() for join in joins[1:]])
            tree.set("from_", exp.From(this=read[0]))
        elif isinstance(tree, exp.Delete) and sources:
            tree.set("using", read[: len(sources)])
        elif isinstance(tree, exp.Merge):
            tree.set("using", read[0])
        tree.set("with_", bound.args.get("with_"))
        read_ordinary(tree.this, self.found)
        return self._change(None)

    def _merge_places(self, tree: exp.Merge) -> list[exp.Expr]:
        places = [tree.args["on"]] if tree.args.get("on") else []
        for when in tree.args["whens"].expressions:
            if when.args.get("condition") is not None:
                places.append(when.args["condition"])
            action = when.args["then"]
            if isinstance(action, exp.Update):
                places.extend(self._assigned(action.expressions or []))
            elif isinstance(action, exp.Insert):
                named = action.this.expressions if isinstance(action.this, exp.Tuple) else []
                self._check_columns([node.name for node in named], named)
                if isinstance(action.expression, exp.Tuple):
                    places.extend(action.expression.expressions)
        return places

    # -- what is read of the target -----------------------------------------------------------

    def _returned(self) -> list[exp.Expr]:
        returning = self.tree.args.get("returning")
        return [] if returning is None else list(returning.expressions)

    def _check_readable(self) -> None:
        """Refuse what would tell of the target's rows to who has no right to read them."""
        self.binder.views.tables.check(self.found, ["SELECT"], self.found_at)

    def _reads(self, part: exp.Expr) -> bool:
        """Tell whether a part of the statement may read a column of the target."""
        alias = fold(self.found_at.alias_or_name)
        names = {fold(name) for name in self.found.columns} | {alias, "rowid"}
        for node in part.walk():
            if isinstance(node, exp.Columns | exp.PositionalColumn):
                return True
            if isinstance(node, exp.Column):
                parts = [fold(one.name) for one in node.parts]
                if _is_default(node):
                    continue
                if parts[0] in names or alias in parts[:-1]:
                    return True
            elif isinstance(node, exp.Star) and not isinstance(node.parent, exp.Column | exp.Count):
                if node.find_ancestor(exp.Query) is None:
                    return True  # in a query of its own it is what that query reads
        return False

    # -- one SELECT for all expressions -------------------------------------------------------

    def _bind(
        self,
        places: list[exp.Expr],
        sources: list[exp.Expr],
        where: exp.Expr | None,
        *,
        with_target: bool = True,
    ) -> exp.Select:
        """Bind the expressions of the statement, put them back, and return the SELECT of them.

        Args:
            places: the expressions, each where it stands in the tree.
            sources: the tables that are read beside the target.
            with_target: whether the expressions see the target's columns, and RETURNING is one.
        """
        returning = self.tree.args.get("returning") if with_target else None
        if returning is not None:
            places = [*places, *returning.expressions]
        places = [place for place in places if not _is_default(place)]
        select = exp.Select(expressions=[place.copy() for place in places] or [exp.null()])
        if with_target:
            select = select.from_(self._target(alias=True), copy=False)
        for source in sources:
            alone = source.copy()
            joins = alone.args.get("joins") or []
            alone.set("joins", None)
            select.append("joins", exp.Join(this=alone))
            for join in joins:
                select.append("joins", join)
        if isinstance(self.tree, exp.Merge):
            action = exp.alias_(exp.cast(exp.null(), "varchar"), "merge_action")
            select.append(
                "joins", exp.Join(this=exp.Subquery(this=exp.Select(expressions=[action])))
            )
        if where is not None:
            select.set("where", where.copy())
        clause = self.tree.args.get("with_")
        if clause is not None:
            select.set("with_", clause.copy())
            self.tree.set("with_", None)
        check_columns(select, self.binder.context, self.binder.views)
        relation = self.binder.bind_relation(select)
        if relation.parts:
            raise self._refused(
                self.found_at, "a limit in tokens or a generate in a change of a table"
            )
        _ = relation.printed  # the second wall reads it
        self.policy = self.policy or relation.policy
        bound = relation.query
        assert isinstance(bound, exp.Select)
        shown = {id(one) for one in returning.expressions} if returning is not None else set()
        for place, expression in zip(places, bound.expressions, strict=False):
            # A call that was bounded carries its name, which is for a column of the result.
            kept = expression if id(place) in shown else expression.unalias()
            place.replace(kept.copy())
        return bound

    def _assigned(self, assignments: list[exp.Expr]) -> list[exp.Expr]:
        """Return the right sides of assignments whose left sides are columns of the target."""
        values = []
        for assignment in assignments:
            if not isinstance(assignment, exp.EQ):
                raise self._refused(assignment, "anything but SET column = expression", "42601")
            left = assignment.this
            columns = left.expressions if isinstance(left, exp.Tuple) else [left]
            if not all(isinstance(column, exp.Column) for column in columns):
                raise self._refused(assignment, "anything but SET column = expression", "42601")
            self._check_columns([column.name for column in columns], columns)
            right = assignment.expression
            listed = right.expressions if isinstance(right, exp.Tuple) else [right]
            for value in listed if isinstance(left, exp.Tuple) else [right]:
                if _is_default(value):
                    value.replace(exp.Var(this="DEFAULT"))
                else:
                    values.append(value)
        return values

    # -- checks -------------------------------------------------------------------------------

    @property
    def found_at(self) -> exp.Table:
        """The name of the target in the statement."""
        target = self.tree.this
        table = target.this if isinstance(target, exp.Schema) else target
        assert isinstance(table, exp.Table)  # who looked up the table looked
        return table

    def _target(self, *, alias: bool) -> exp.Table:
        table = exp.Table(
            this=exp.to_identifier(self.found_at.name, quoted=True),
            db=self.found_at.args.get("db"),
        )
        name = self.found_at.alias_or_name
        if alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
        table.meta[TARGET] = self.found
        return table

    def _check_columns(self, names: list[str], nodes: list[exp.Expr]) -> None:
        known = {fold(name) for name in self.found.columns}
        for name, node in zip(names, nodes, strict=True):
            if fold(name) not in known:
                raise unknown("column", name, self.found.columns, self.binder.context, node)

    def _check_widths(self, values: exp.Values, names: list[str]) -> None:
        for row in values.expressions:
            if names and len(row.expressions) != len(names):
                raise ProgrammingError(
                    f"INSERT names {len(names)} columns, its source gives {len(row.expressions)}",
                    hint="columns: " + ", ".join(names),
                    position=position(self.binder.context.text, row),
                    statement=self.binder.context.text,
                    code="42601",
                )

    def _check_clauses(self) -> None:
        tree = self.tree
        odd = _odd_parts(tree, _KNOWN[type(tree)])
        table = self.found_at
        odd += [
            key for key, value in table.args.items() if value and key not in ("this", "alias", "db")
        ]
        conflict = tree.args.get("conflict")
        if conflict is not None:
            known = ["conflict_keys", "expressions", "action", "where"]
            odd += [key for key, value in conflict.args.items() if value and key not in known]
        returning = tree.args.get("returning")
        if returning is not None and returning.args.get("into"):
            odd.append("RETURNING INTO")
        for when in tree.args["whens"].expressions if isinstance(tree, exp.Merge) else ():
            odd += _odd_parts(when, "matched source condition then")
            if isinstance(when.args["then"], exp.Update):
                odd += _odd_parts(when.args["then"], "expressions")
            elif isinstance(when.args["then"], exp.Insert):
                odd += _odd_parts(when.args["then"], "this expression")
        if odd:
            clauses = ", ".join(key.strip("_").upper() for key in odd)
            raise self._refused(table, f"{tree.key.upper()} with {clauses}")

    def _refused(
        self, node: exp.Expr, what: str, code: str | None = None
    ) -> NotSupportedError | ProgrammingError:
        context = self.binder.context
        place = position(context.text, node) or position(context.text, self.found_at)
        return not_possible(what, context, place, code=code)

    def _written_out(self, returning: exp.Expr) -> None:
        """Put the values of parameters into RETURNING, in place, where DuckDB prepares none."""
        for mark in list(returning.find_all(exp.Placeholder)):
            value = self.binder.values[mark.name]
            if not isinstance(value, _WRITTEN_OUT):
                raise self._refused(
                    self.found_at, f"a parameter in RETURNING that is a {type(value).__name__}"
                )
            text = isinstance(value, str | UUID)
            mark.replace(exp.Literal.string(str(value)) if text else exp.convert(value))

    def _change(self, rows: Plan | None) -> TableChange:
        if self.tree.args.get("returning") is not None:
            self._written_out(self.tree.args["returning"])
        parameters = {node.name for node in self.tree.find_all(exp.Placeholder)}
        return TableChange(
            Printed(
                print_sql(self.tree),
                tuple(sorted(parameters)),
                file_tables(self.tree),
                visible_tables(self.tree),
            ),
            self.tree.args.get("returning") is not None,
            self.binder.views.tables.hides(self.found),
            self.policy,
            rows,
        )


def _odd_parts(node: exp.Expr, known: str) -> list[str]:
    """Return the parts of a node that are not among those that are known."""
    return [key for key, value in node.args.items() if value and key not in known.split()]


def _is_default(node: exp.Expr) -> bool:
    """Tell whether a node is the word DEFAULT in the place of a value."""
    if isinstance(node, exp.Var):
        return node.name.upper() == "DEFAULT"
    return (
        isinstance(node, exp.Column)
        and not node.table
        and not node.this.args.get("quoted")
        and node.name.upper() == "DEFAULT"
    )

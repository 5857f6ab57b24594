"""Random trees of every node that MemQL adds to sqlglot's, as the parser would make them."""

from __future__ import annotations

from typing import Any, TypeVar

from hypothesis import strategies as st
from sqlglot import exp
from sqlglot.generators.duckdb import DuckDBGenerator

from memql.dialect.roles import ROLE_OPTIONS
from memql.dialect.session import EXPLAIN_OPTIONS, SHOW_KINDS
from memql.dialect.words import MEMQL_WORDS
from memql.engine import syntax
from memql.engine.duckdb_sql.nodes import Type

Node = TypeVar("Node", bound=exp.Expr)

# -- names and values --------------------------------------------------------------------------

# Half characters (surrogates) cannot be encoded, and NUL ends a text in DuckDB.
_CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
_UNRESERVED = [
    word.lower()
    for word in MEMQL_WORDS
    if word.lower() not in DuckDBGenerator.RESERVED_KEYWORDS
    # sqlglot reads IF as a function, and the others only as statements.
    and word not in ("ALTER", "DROP", "REVOKE", "INSERT", "IF")
]
strings = st.text(_CHARACTERS, max_size=12) | st.sampled_from(
    ["", "'", "it''s", 'a "b"', "two\nlines", "\\", "$x ?", "-- no comment", "/*", "ß漢🦆"]
)


def node(kind: type[Node], /, **args: st.SearchStrategy[Any]) -> st.SearchStrategy[Node]:
    """Return what draws nodes of a class with drawn args."""
    # Deferred, because hypothesis writes out strategies to report them, down to the last one.
    return st.deferred(lambda: st.builds(kind, **args))


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def some(strategy: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[list[Any]]:
    return st.lists(strategy, min_size=1, max_size=most)


flags = st.sampled_from([True, None])
plain_names = st.sampled_from(["v", "Alice", "memories", "_x1", *_UNRESERVED])
quoted_names = st.text(_CHARACTERS, min_size=1, max_size=8) | st.sampled_from(
    ["select", "two words", 'a"b', "naïve", "漢字", "order", "AT", "'", "a\nb", "1st"]
)
names = node(exp.Identifier, this=plain_names, quoted=st.just(False)) | node(
    exp.Identifier, this=quoted_names, quoted=st.just(True)
)
texts = strings.map(exp.Literal.string)
numbers = st.sampled_from(["0", "7", "2000", "1.5", "1e3"]).map(exp.Literal.number)
parameters = st.sampled_from([None, "x", "limit", "1"]).map(
    lambda name: exp.Placeholder(this=name) if name else exp.Placeholder()
)
texts_or_parameters = texts | parameters


def _timestamps() -> exp.DataType:
    return Type(this=exp.DType.TIMESTAMPNTZ, words=[exp.Var(this="TIMESTAMP")], nested=False)


amounts = (
    numbers
    | parameters
    | node(exp.Mul, this=numbers, expression=numbers)
    | node(exp.Paren, this=node(exp.Add, this=numbers, expression=parameters))
)
columns = node(exp.Column, this=names) | node(exp.Column, this=names, table=names)
literals = texts | numbers | st.builds(exp.Null) | node(exp.Boolean, this=st.booleans())
intervals = node(
    exp.Interval,
    this=st.sampled_from(["1", "30"]).map(exp.Literal.string),
    unit=st.sampled_from(["YEAR", "DAY", "MINUTES"]).map(lambda unit: exp.Var(this=unit)),
)
times = (
    texts_or_parameters
    | node(exp.Add, this=st.builds(exp.CurrentTimestamp), expression=intervals)
    | node(exp.Cast, this=texts, to=st.builds(_timestamps))
)
options = node(syntax.Option, this=names, expression=literals | parameters)

# -- conditions and queries --------------------------------------------------------------------

matches = node(
    syntax.Matches,
    this=columns,
    expression=texts_or_parameters,
    using=maybe(st.sampled_from(syntax.SEARCHES)),
)
_terms = (
    node(exp.EQ, this=columns, expression=literals | parameters)
    | node(exp.Boolean, this=st.booleans())
    | node(exp.Not, this=node(exp.EQ, this=columns, expression=texts))
    | matches
)
conditions = (
    _terms
    | node(exp.And, this=_terms, expression=_terms)
    | node(exp.Paren, this=node(exp.Or, this=_terms, expression=_terms))
)
wheres = node(exp.Where, this=conditions)
token_limits = node(syntax.TokenLimit, this=amounts, rows=maybe(amounts))
limits = token_limits | node(exp.Limit, expression=numbers | parameters)
travels = node(syntax.TimeTravel, this=times, kind=st.sampled_from(syntax.POINTS))
aliases = node(exp.TableAlias, this=names)
tables = node(exp.Table, this=names, db=maybe(names))
sources = node(exp.Table, this=names, alias=maybe(aliases), when=maybe(travels))
orders = node(
    exp.Order,
    expressions=some(
        node(exp.Ordered, this=columns, desc=st.booleans(), nulls_first=st.just(False)), 2
    ),
)
generates = node(
    syntax.Generate,
    this=texts | parameters,
    expression=maybe(columns),
    options=st.lists(options, max_size=2),
    order=maybe(orders),
    limit=maybe(limits),
)


def selects(*expressions: st.SearchStrategy[Any], **args: Any) -> st.SearchStrategy[exp.Select]:
    """Return what draws SELECTs with one of some expressions and more args."""
    projections = node(exp.Alias, this=st.one_of(list(expressions)), alias=names)
    return node(
        exp.Select,
        expressions=some(projections, 2),
        from_=sources.map(lambda source: exp.From(this=source)),
        where=maybe(wheres),
        **args,
    )


_arms = selects(columns, literals)
unions = node(exp.Union, this=_arms, expression=_arms, distinct=st.booleans(), limit=maybe(limits))
_ctes = node(exp.CTE, this=_arms, alias=aliases)
queries = (
    selects(columns, literals, generates, order=maybe(orders), limit=maybe(limits))
    | selects(columns, with_=node(exp.With, expressions=some(_ctes, 2)))
    | selects(node(exp.Filter, this=generates, expression=wheres))
    | unions
)
materialized = node(
    syntax.Materialize,
    this=queries,
    form=st.sampled_from(syntax.FORMS),
    model=maybe(names),
    options=maybe(some(options)),
)

# -- statements --------------------------------------------------------------------------------

refresh_modes = node(syntax.RefreshMode, this=st.sampled_from(["ON DEMAND", "ON COMMIT"])) | node(
    syntax.RefreshMode, this=st.just("EVERY"), interval=intervals
)
_changed = node(exp.Table, this=names, db=maybe(names), alias=maybe(aliases))
_memories_rights = some(st.sampled_from(syntax.PRIVILEGES)) | st.just(["ALL"])
_table_rights = some(st.sampled_from(syntax.TABLE_PRIVILEGES)) | st.just(["ALL"])
_grant_args: dict[str, st.SearchStrategy[Any]] = {
    "grantees": some(names),
    "where": maybe(wheres),
    "until": maybe(times),
    "grantable": flags,
}
_revoke_args: dict[str, st.SearchStrategy[Any]] = {"grantees": some(names), "grantable": flags}
_owners = maybe(names | texts | parameters)
_role_values: dict[str, st.SearchStrategy[Any]] = {
    "PASSWORD": texts_or_parameters | st.builds(exp.Null),
    "TOKEN": texts_or_parameters,
    "VALID UNTIL": times,
}
role_options = st.sampled_from([*ROLE_OPTIONS]).flatmap(
    lambda option: node(
        syntax.RoleOption,
        this=st.just(option),
        expression=_role_values.get(option, st.none()),
    )
)
_role_option_lists = st.lists(
    role_options, min_size=1, max_size=3, unique_by=lambda option: str(option.this)
)
_kinds = st.sampled_from(syntax.ROLE_KINDS)
_policy_args: dict[str, st.SearchStrategy[Any]] = {
    "this": names,
    "table": tables,
    "using": maybe(conditions),
    "check": maybe(conditions),
}
_setting_values = (
    literals
    | parameters
    | node(exp.Neg, this=numbers)
    | st.sampled_from(["on", "off", "exact"]).map(lambda word: exp.Var(this=word))
)
_created: dict[str, st.SearchStrategy[Any]] = {"this": names, "replace": flags, "exists": flags}
_dropped: dict[str, st.SearchStrategy[Any]] = {"this": names, "exists": flags}

# A class, and what draws statements that are of this class or hold a node of it.
STATEMENTS: dict[type[exp.Expr], st.SearchStrategy[exp.Expr]] = {
    syntax.Materialize: materialized,
    syntax.Generate: selects(generates),
    syntax.TokenLimit: selects(columns, limit=token_limits),
    syntax.Matches: selects(columns).flatmap(
        lambda query: matches.map(lambda match: query.where(match, append=False))
    ),
    syntax.TimeTravel: travels.map(
        lambda travel: exp.Select(
            expressions=[exp.Star()],
            from_=exp.From(this=exp.Table(this=exp.to_identifier("memories"), when=travel)),
        )
    ),
    syntax.Option: node(syntax.AlterMaterializedView, this=names, options=some(options)),
    syntax.RefreshMode: node(
        syntax.CreateMaterializedView, expression=_arms, refresh=refresh_modes, **_created
    ),
    syntax.CreateMaterializedView: node(
        syntax.CreateMaterializedView,
        expression=queries | materialized,
        refresh=maybe(refresh_modes),
        no_data=flags,
        **_created,
    ),
    syntax.RefreshMaterializedView: node(syntax.RefreshMaterializedView, this=names),
    syntax.AlterMaterializedView: node(
        syntax.AlterMaterializedView, this=names, options=some(options), exists=flags
    ),
    syntax.DropMaterializedView: node(syntax.DropMaterializedView, **_dropped),
    syntax.CreateModel: node(
        syntax.CreateModel, source=texts_or_parameters, options=maybe(some(options)), **_created
    ),
    syntax.DropModel: node(syntax.DropModel, **_dropped),
    syntax.CreateAdapter: node(
        syntax.CreateAdapter, source=texts_or_parameters, model=names, **_created
    ),
    syntax.DropAdapter: node(syntax.DropAdapter, **_dropped),
    syntax.Restore: node(syntax.Restore, this=_changed, where=maybe(wheres)),
    syntax.Quarantine: node(syntax.Quarantine, this=_changed, where=maybe(wheres)),
    syntax.Forget: node(syntax.Forget, this=_changed, where=wheres, verify=flags),
    syntax.ExportMemories: node(syntax.ExportMemories, this=texts_or_parameters),
    syntax.ImportMemories: node(syntax.ImportMemories, this=texts_or_parameters),
    syntax.Grant: node(syntax.Grant, actions=_memories_rights, owner=_owners, **_grant_args)
    | node(syntax.Grant, actions=_table_rights, tables=some(tables), **_grant_args),
    syntax.Revoke: node(syntax.Revoke, actions=_memories_rights, owner=_owners, **_revoke_args)
    | node(syntax.Revoke, actions=_table_rights, tables=some(tables), **_revoke_args),
    syntax.GrantRole: node(syntax.GrantRole, roles=some(names), grantees=some(names), admin=flags),
    syntax.RevokeRole: node(
        syntax.RevokeRole, roles=some(names), grantees=some(names), admin=flags
    ),
    syntax.RoleOption: node(syntax.CreateRole, this=names, kind=_kinds, options=_role_option_lists),
    syntax.CreateRole: node(
        syntax.CreateRole,
        this=names,
        kind=_kinds,
        exists=flags,
        options=maybe(_role_option_lists),
    ),
    syntax.AlterRole: node(syntax.AlterRole, this=names, kind=_kinds, options=_role_option_lists)
    | node(syntax.AlterRole, this=names, kind=_kinds, rename=names),
    syntax.DropRole: node(syntax.DropRole, expressions=some(names), kind=_kinds, exists=flags),
    syntax.CreatePolicy: node(
        syntax.CreatePolicy,
        restrictive=flags,
        command=maybe(st.sampled_from(syntax.POLICY_COMMANDS)),
        grantees=maybe(some(names)),
        **_policy_args,
    ),
    syntax.AlterPolicy: node(syntax.AlterPolicy, grantees=some(names), **_policy_args)
    | node(syntax.AlterPolicy, this=names, table=tables, rename=names),
    syntax.DropPolicy: node(syntax.DropPolicy, table=tables, **_dropped),
    syntax.SetRole: node(
        syntax.SetRole,
        # NONE without quotes is no role.
        this=maybe(names.filter(lambda name: name.quoted or name.name != "none")),
    ),
    syntax.SetSetting: node(syntax.SetSetting, this=names, expression=maybe(_setting_values)),
    syntax.ShowCatalog: node(syntax.ShowCatalog, this=st.sampled_from(SHOW_KINDS)),
    syntax.ShowSetting: node(syntax.ShowSetting, this=names),
    syntax.Advise: node(syntax.Advise, apply=flags),
    syntax.Maintain: st.builds(syntax.Maintain),
    syntax.Evaluate: node(
        syntax.Evaluate,
        this=names,
        kind=st.just("VIEW"),
        using=maybe(queries),
        options=maybe(some(options)),
    )
    | node(syntax.Evaluate, kind=st.just("SEARCH"), using=maybe(queries)),
}
STATEMENTS[syntax.Explain] = node(
    syntax.Explain,
    this=st.one_of(list(STATEMENTS.values())),
    analyze=flags,
    format=st.sampled_from(EXPLAIN_OPTIONS["FORMAT"]),
    costs=st.booleans(),
)

statements = st.one_of(list(STATEMENTS.values()))

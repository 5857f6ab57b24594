"""Views of others over tables that who asks may not read: their rows are taken out before."""

from __future__ import annotations

import hashlib

from sqlglot import exp

from memql.engine.bind.sources import HIDING
from memql.engine.duckdb_sql.dialect import PlainDuckDB
from memql.engine.plan import VISIBLE_TABLE
from memql.engine.printing import VisibleView, take_out


def take_out_views(query: exp.Expr) -> None:
    """Let a query, in place, read the rows of such views by tables of their own.

    So nothing of the query is ever evaluated on rows that a view leaves out, and no error tells
    of them.

    Args:
        query: printed next; what it reads of memories is the reader's own already.
    """
    # The inner ones first: a view's rows are taken out with those of the views that it reads.
    for subquery in reversed(list(query.find_all(exp.Subquery))):
        shown = subquery.meta.get(HIDING)
        if shown is None:
            continue
        rows = exp.Select(expressions=[exp.Star()], from_=exp.From(this=_named(subquery.this)))
        text = rows.sql(dialect=PlainDuckDB, identify=True)
        name = hashlib.blake2s(text.encode(), digest_size=8).hexdigest()
        table = exp.Table(this=exp.Identifier())
        take_out(table, VisibleView(f"{VISIBLE_TABLE}_view_{name}", rows, shown))
        table.this.meta["shown"] = shown  # for EXPLAIN
        subquery.set("this", exp.Select(expressions=[exp.Star()], from_=exp.From(this=table)))


def _named(query: exp.Expr) -> exp.Subquery:
    alias = exp.TableAlias(this=exp.to_identifier("_memql_view", quoted=True))
    return exp.Subquery(this=query, alias=alias)

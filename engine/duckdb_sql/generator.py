"""Trees to DuckDB's SQL, as it was written."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from sqlglot import exp
from sqlglot.generator import Generator
from sqlglot.generators.duckdb import DuckDBGenerator

from memql.engine.duckdb_sql.calls import WITHOUT_BRACKETS
from memql.engine.duckdb_sql.nodes import Aggregate, ExportState, Nearest, Operator, Prefix, Type

# What needs no brackets before ::.
_BEFORE_COLONS = (
    exp.Array,
    exp.BitString,
    exp.Boolean,
    exp.Bracket,
    exp.Case,
    exp.Cast,
    exp.Column,
    exp.Dot,
    exp.Filter,
    exp.Func,
    exp.HexString,
    exp.Identifier,
    exp.Interval,
    exp.Literal,
    exp.Null,
    exp.Paren,
    exp.Placeholder,
    exp.Subquery,
    exp.Tuple,
    exp.Window,
)


def _word_sql(transform: Callable[..., str] | None) -> Callable[..., str]:
    """Return what prints a function that may be called by its name alone."""

    def print_word(generator: PlainGenerator, node: exp.Expr) -> str:
        if "word" in node.meta:
            return str(node.meta["word"])
        if transform is not None:
            return transform(generator, node)
        method = getattr(generator, f"{node.key}_sql", None)
        if method is not None:
            return str(method(node))
        assert isinstance(node, exp.Func), "what is called by its name alone is a function"
        return generator.function_fallback_sql(node)

    return print_word


class PlainGenerator(DuckDBGenerator):
    """Prints what ``PlainParser`` read, and nodes that were built as DuckDB's own."""

    MULTI_ARG_DISTINCT = True

    TRANSFORMS: ClassVar[dict[type[exp.Expr], Callable[..., str]]] = {
        **{
            kind: transform
            for kind, transform in DuckDBGenerator.TRANSFORMS.items()
            if kind not in (exp.Array, exp.Lateral, exp.Select, exp.BitwiseAnd, exp.BitwiseOr)
        },
        exp.BitwiseAnd: lambda self, node: self.binary(node, "&"),
        exp.BitwiseOr: lambda self, node: self.binary(node, "|"),
        exp.HexString: lambda self, node: f"X'{node.name}'",
        exp.BitString: lambda self, node: f"B'{node.name}'",
        exp.Struct: lambda self, node: _struct_sql(self, node),
        exp.ToMap: lambda self, node: f"MAP {self.sql(node, 'this')}",
        exp.Extract: lambda self, node: (
            f"EXTRACT({self.sql(node, 'this')} FROM {self.sql(node, 'expression')})"
        ),
        **{kind: _word_sql(DuckDBGenerator.TRANSFORMS.get(kind)) for kind in WITHOUT_BRACKETS},
        exp.Anonymous: lambda self, node: _call_sql(self, node),
        Aggregate: lambda self, node: _call_sql(self, node),
        ExportState: lambda self, node: f"{self.sql(node, 'this')} EXPORT_STATE",
        Operator: lambda self, node: (
            f"{self.sql(node, 'this')} {node.args['sign']} {self.sql(node, 'expression')}"
        ),
        Prefix: lambda self, node: f"{node.args['sign']} {self.sql(node, 'this')}",
        Nearest: lambda self, node: _nearest_sql(self, node),
        Type: lambda self, node: _type_sql(self, node),
    }

    def windowspec_sql(self, node: exp.WindowSpec) -> str:
        if node.args.get("end") is not None:
            return super().windowspec_sql(node)
        words = [self.sql(node, key) for key in ("kind", "start", "start_side")]
        exclude = self.sql(node, "exclude")
        return " ".join(filter(None, [*words, exclude and f"EXCLUDE {exclude}"]))

    def array_sql(self, node: exp.Array) -> str:
        word = "ARRAY" if node.meta.get("word") else ""
        return f"{word}[{self.expressions(node, flat=True)}]"

    def cast_sql(self, node: exp.Cast, safe_prefix: str | None = None) -> str:
        value, kind = node.this, self.sql(node, "to")
        if node.meta.get("typed") and isinstance(value, exp.Literal) and value.is_string:
            return f"{kind} {self.sql(value)}"
        if node.meta.get("colons") and isinstance(value, _BEFORE_COLONS):
            return f"{self.sql(value)}::{kind}"
        return super().cast_sql(node, safe_prefix)

    def trycast_sql(self, node: exp.TryCast) -> str:
        return Generator.trycast_sql(self, node)

    def collate_sql(self, node: exp.Collate) -> str:
        return Generator.collate_sql(self, node)

    def filter_sql(self, node: exp.Filter) -> str:
        return Generator.filter_sql(self, node)

    def ignorenulls_sql(self, node: exp.IgnoreNulls) -> str:
        return f"{self.sql(node, 'this')} IGNORE NULLS"

    def respectnulls_sql(self, node: exp.RespectNulls) -> str:
        return f"{self.sql(node, 'this')} RESPECT NULLS"

    def in_sql(self, node: exp.In) -> str:
        return Generator.in_sql(self, node)

    def not_sql(self, node: exp.Not) -> str:
        test = node.this
        if not node.meta.get("behind") or isinstance(test, exp.Not):
            return super().not_sql(node)
        if isinstance(test, exp.Is):
            return f"{self.sql(test, 'this')} IS NOT {self.sql(test, 'expression')}"
        # x NOT IN (1), x NOT BETWEEN 1 AND 2
        left = self.sql(test.this if isinstance(test, exp.Escape) else test, "this")
        whole = self.sql(test)
        assert whole.startswith(f"{left} "), "a negated condition starts with its left side"
        return f"{left} NOT{whole.removeprefix(left)}"

    def join_sql(self, node: exp.Join, join_op: str | None = None) -> str:
        if node.kind in ("MARK", "SINGLE") or node.side == "RIGHT" and node.is_semi_or_anti_join:
            return super().join_sql(node, join_op)
        return Generator.join_sql(self, node, join_op)

    def in_unnest_op(self, node: exp.Unnest) -> str:
        return self.sql(node)

    def lambda_sql(self, node: exp.Lambda, arrow_sep: str = "->", wrap: bool = True) -> str:
        names = self.expressions(node, flat=True)
        return f"LAMBDA {names} : {self.sql(node, 'this')}"

    def ordered_sql(self, node: exp.Ordered) -> str:
        desc, nulls_first = node.args.get("desc"), node.args.get("nulls_first")
        direction = "" if desc is None else " DESC" if desc else " ASC"
        nulls = "" if nulls_first is None else " NULLS FIRST" if nulls_first else " NULLS LAST"
        return f"{self.sql(node, 'this')}{direction}{nulls}"

    def tablesample_sql(self, node: exp.TableSample, tablesample_keyword: str | None = None) -> str:
        keyword = None if isinstance(node.parent, exp.Select) else "TABLESAMPLE"
        return Generator.tablesample_sql(self, node, keyword)

    def tuple_sql(self, node: exp.Tuple) -> str:
        comma = "," if node.meta.get("comma") else ""
        return f"({self.expressions(node, flat=True)}{comma})"

    def window_sql(self, node: exp.Window) -> str:
        return Generator.window_sql(self, node)

    def withingroup_sql(self, node: exp.WithinGroup) -> str:
        return Generator.withingroup_sql(self, node)


def _call_sql(generator: PlainGenerator, node: exp.Anonymous) -> str:
    name = generator.sql(node, "this")
    return f"{name}({generator.expressions(node, flat=True)})"


def _nearest_sql(generator: PlainGenerator, node: Nearest) -> str:
    count = generator.sql(node, "count")
    words = [node.args.get("kind"), "NEAREST", count, "BY", node.args["metric"]]
    return f"{' '.join(filter(None, words))} {generator.sql(node, 'this')}"


def _type_sql(generator: PlainGenerator, node: Type) -> str:
    inside = generator.expressions(node, flat=True)
    if node.this == exp.DType.ARRAY:
        return f"{inside}[{generator.expressions(node, key='values', flat=True)}]"
    name = ".".join(
        generator.sql(word) if isinstance(word, exp.Identifier) else word.name
        for word in node.args["words"]
    )
    suffix = node.args.get("suffix")
    collation = generator.sql(node, "collate")
    return (
        name
        + (f"({inside})" if inside else "")
        + (f" {suffix.name}" if suffix else "")
        + (f" COLLATE {collation}" if collation else "")
    )


def _struct_sql(generator: Generator, node: exp.Struct) -> str:
    """Print a struct as it stands; sqlglot makes ROW(...) or MAP() of some, for a cast around."""
    fields = []
    for field in node.expressions:
        if not isinstance(field, exp.PropertyEQ):
            return str(DuckDBGenerator.TRANSFORMS[exp.Struct](generator, node))
        name = field.this
        key = exp.Literal.string(name.name) if isinstance(name, exp.Identifier) else name
        fields.append(f"{generator.sql(key)}: {generator.sql(field.expression)}")
    return f"{{{', '.join(fields)}}}"

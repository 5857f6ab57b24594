"""The nodes of DuckDB's SQL for which sqlglot has none that keeps what was written."""

from __future__ import annotations

from typing import ClassVar

from sqlglot import exp


class Aggregate(exp.Anonymous, exp.AggFunc):
    """A call of an aggregate function, under the name that was written."""


class ExportState(exp.Expression, exp.Condition):
    """``aggregate(...) EXPORT_STATE``: the state of an aggregate instead of its result."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True}


class Operator(exp.Expression, exp.Binary):
    """``this <sign> expression``: an operator that means what DuckDB says it means."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "expression": True, "sign": True}


class Prefix(exp.Unary):
    """``<sign> this``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "sign": True}


class Nearest(exp.Expression):
    """``[APPROX | EXACT] NEAREST [count] BY DISTANCE | SIMILARITY this``, behind a join's table."""

    arg_types: ClassVar[dict[str, bool]] = {
        "this": True,
        "count": False,
        "kind": False,
        "metric": True,
    }


class Type(exp.DataType):
    """A type under the name that was written.

    ``words`` are the parts of the name, an ``exp.Var`` or a quoted ``exp.Identifier`` each;
    ``expressions`` what stands in its parentheses; ``suffix`` what follows them, as in
    ``TIMESTAMP(3) WITH TIME ZONE``. An array has its element's type in ``expressions``, and
    its length, if it has one, in ``values``.
    """

    arg_types: ClassVar[dict[str, bool]] = {
        **exp.DataType.arg_types,
        "words": False,
        "suffix": False,
    }


# DuckDB's aggregate functions, and its macros that expand to one. A name that is missing here is
# a call like any other: its query is not seen to be one row for each group.
AGGREGATES: frozenset[str] = frozenset(
    """
    any_value approx_count_distinct approx_quantile approx_top_k arbitrary arg_max arg_max_null
    arg_max_nulls_last arg_min arg_min_null arg_min_nulls_last argmax argmin array_agg avg bit_and
    bit_or bit_xor bitstring_agg bool_and bool_or combine_aggr corr count count_if count_star
    countif covar_pop covar_samp decimal_average entropy favg first fsum geomean geometric_mean
    group_concat histogram histogram_exact json_group_array json_group_object json_group_structure
    kahan_sum kurtosis kurtosis_pop last list listagg lttb mad max max_by mean median min min_by
    mode percentile_cont percentile_disc product quantile quantile_cont quantile_disc regr_avgx
    regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy
    reservoir_quantile sem skewness stddev stddev_pop stddev_samp string_agg sum sum_no_overflow
    sumkahan var_pop var_samp variance variant_group_object wavg weighted_avg
    """.split()
)

# The units of an interval. Another word behind one is an alias: INTERVAL '1 day' d.
UNITS: frozenset[str] = frozenset(
    """
    YEAR YEARS MONTH MONTHS DAY DAYS HOUR HOURS MINUTE MINUTES SECOND SECONDS MILLISECOND
    MILLISECONDS MICROSECOND MICROSECONDS WEEK WEEKS QUARTER QUARTERS DECADE DECADES CENTURY
    CENTURIES MILLENNIUM MILLENNIUMS MILLENNIA
    """.split()
)

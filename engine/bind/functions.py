"""The wall at the tree: which functions and nodes a query may hold."""

from __future__ import annotations

from sqlglot import exp

from memql.engine import syntax
from memql.engine.context import StatementContext
from memql.engine.names import fold, nearest, position
from memql.engine.unbuilt import not_yet
from memql.errors import NotSupportedError, ProgrammingError

# Functions that sqlglot has no node for. What is not named here is refused, so that a function
# that reads files, settings or other catalogs cannot be reached by its name alone.
ALLOWED_FUNCTIONS: frozenset[str] = frozenset(
    """
    abs acos acosh add age aggregate ago alias any_value apply approx_count_distinct
    approx_quantile approx_top_k arbitrary arg_max arg_max_null arg_min arg_min_null argmax
    argmin array_agg array_aggr array_aggregate array_append array_apply array_cat array_concat
    array_contains array_cosine_distance array_cosine_similarity array_cross_product
    array_distance array_distinct array_dot_product array_extract array_filter array_grade_up
    array_has array_has_all array_has_any array_indexof array_inner_product array_intersect
    array_length array_negative_dot_product array_negative_inner_product array_pop_back
    array_pop_front array_position array_prepend array_push_back array_push_front array_reduce
    array_resize array_reverse array_reverse_sort array_select array_slice array_sort
    array_to_json array_to_string array_transform array_unique array_value array_where
    array_zip ascii asin asinh atan atan2 atanh avg bar base64 bin binom bit_and bit_count
    bit_length bit_or bit_position bit_xor bitstring bitstring_agg bool_and bool_or cardinality
    cbrt ceil ceiling century char_length character_length chr coalesce combine concat
    concat_ws constant_or_null contains corr cos cosh cot count count_if count_star countif
    covar_pop covar_samp cume_dist current_date current_localtime current_localtimestamp
    current_timestamp damerau_levenshtein date_add date_diff date_part date_sub date_trunc
    datediff datepart datesub datetrunc day dayname dayofmonth dayofweek dayofyear
    days_in_month decade decode degrees dense_rank divide editdist3 element_at encode ends_with
    entropy enum_code enum_first enum_last enum_range enum_range_boundary epoch epoch_ms
    epoch_ns epoch_us equi_width_bins era even exp factorial favg fdiv filter first first_value
    flatten floor fmod format format_bytes from_base64 from_binary from_hex from_json
    from_json_strict fsum gamma gcd gen_random_uuid generate_subscripts geomean geometric_mean
    get_bit get_current_timestamp grade_up greatest greatest_common_divisor group_concat
    hamming hash hex histogram histogram_exact hour ifnull instr is_histogram_other_bin
    isfinite isinf isnan isodow isoyear jaccard jaro_similarity jaro_winkler_similarity json
    json_array json_array_length json_contains json_deep_merge json_each json_exists
    json_extract json_extract_path json_extract_path_text json_extract_string json_group_array
    json_group_object json_group_structure json_insert json_keys json_merge_patch
    json_normalize json_object json_pretty json_quote json_remove json_replace json_set
    json_strip_nulls json_structure json_transform json_transform_strict json_tree json_type
    json_valid json_value julian kahan_sum kurtosis kurtosis_pop lag last last_day last_value
    lcase lcm lead least least_common_multiple left left_grapheme len length length_grapheme
    levenshtein lgamma like_escape list list_aggr list_aggregate list_any_value list_append
    list_apply list_approx_count_distinct list_avg list_bit_and list_bit_or list_bit_xor
    list_bool_and list_bool_or list_cat list_concat list_contains list_cosine_distance
    list_cosine_similarity list_count list_distance list_distinct list_dot_product list_element
    list_entropy list_extract list_filter list_first list_grade_up list_has list_has_all
    list_has_any list_histogram list_indexof list_inner_product list_intersect list_kurtosis
    list_kurtosis_pop list_last list_mad list_max list_median list_min list_mode
    list_negative_dot_product list_negative_inner_product list_pack list_position list_prepend
    list_product list_reduce list_resize list_reverse list_reverse_sort list_select list_sem
    list_skewness list_slice list_sort list_stddev_pop list_stddev_samp list_string_agg
    list_sum list_transform list_unique list_value list_var_pop list_var_samp list_where
    list_zip listagg ln log log10 log2 lower lpad ltrim mad make_date make_time make_timestamp
    make_timestamp_ms make_timestamp_ns make_timestamptz map map_concat map_contains
    map_contains_entry map_contains_value map_entries map_extract map_extract_value
    map_from_entries map_keys map_values max max_by md5 md5_number md5_number_lower
    md5_number_upper mean median microsecond millennium millisecond min min_by minute
    mismatches mod mode month monthname multiply nanosecond nextafter nfc_normalize
    normalized_interval not_ilike_escape not_like_escape now nth_value ntile nullif
    octet_length ord overlay parse_dirname parse_dirpath parse_filename parse_path percent_rank
    pg_typeof pi position pow power prefix printf product quantile quantile_cont quantile_disc
    quarter radians random range rank reduce regexp_escape regexp_extract regexp_extract_all
    regexp_full_match regexp_matches regexp_replace regexp_split_to_array regr_avgx regr_avgy
    regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy replace
    reservoir_quantile reverse right right_grapheme round round_even roundbankers row
    row_number row_to_json rpad rtrim second sem set_bit sha1 sha256 sign signbit sin sinh
    skewness split split_part sqrt starts_with stddev stddev_pop stddev_samp str_split
    str_split_regex strftime string_agg string_split string_split_regex string_to_array
    strip_accents strlen strpos strptime struct_concat struct_contains struct_extract
    struct_extract_at struct_has struct_indexof struct_insert struct_keys struct_pack
    struct_position struct_update struct_values substr substring substring_grapheme subtract
    suffix sum sum_no_overflow sumkahan tan tanh time_bucket timetz_byte_comparable timezone
    timezone_hour timezone_minute to_base to_base64 to_binary to_centuries to_days to_decades
    to_hex to_hours to_json to_microseconds to_millennia to_milliseconds to_minutes to_months
    to_quarters to_seconds to_timestamp to_weeks to_years today transaction_timestamp translate
    trim trunc try_strptime typeof ucase unbin unhex unicode union_extract union_tag
    union_value unnest unpivot_list upper url_decode url_encode uuid uuid_extract_timestamp
    uuid_extract_version uuidv4 uuidv7 var_pop var_samp variance wavg week weekday weekofyear
    weighted_avg xor year yearweek
    """.split()
)

TABLE_FUNCTIONS: frozenset[str] = frozenset({"range", "generate_series", "unnest"})

_TABLE_FUNCTION_NODES = (exp.GenerateSeries, exp.Unnest, exp.Explode)

# Nodes with a meaning of their own that a query has no business with. Everything that writes,
# defines, or reads what is not a memory.
REFUSED_NODES: tuple[type[exp.Expr], ...] = (
    exp.DDL,
    exp.DML,
    exp.Command,
    exp.Describe,
    exp.Summarize,
    exp.Show,
    exp.Set,
    exp.Pragma,
    exp.Attach,
    exp.Detach,
    exp.Copy,
    exp.Use,
    exp.Into,
    exp.Drop,
    exp.Alter,
    exp.ReadCSV,
    exp.ReadParquet,
    exp.SessionParameter,
    exp.CurrentCatalog,
    exp.CurrentDatabase,
    exp.CurrentSchema,
    exp.CurrentSchemas,
    exp.CurrentUser,
    exp.CurrentVersion,
    exp.SessionUser,
    exp.Transaction,
    exp.Commit,
    exp.Rollback,
    syntax.Materialize,
    syntax.CreateMaterializedView,
    syntax.RefreshMaterializedView,
    syntax.DropMaterializedView,
    syntax.CreateModel,
    syntax.DropModel,
    syntax.Explain,
    syntax.ShowCatalog,
)


# The parts that DuckDB's grammar has. sqlglot reads those of other dialects too, and leaves them
# out when it prints for DuckDB: the query would silently be another one.
_MODIFIERS = (
    "with_ laterals joins pivots where group having qualify windows order limit offset sample"
)
_PARTS: dict[type[exp.Expr], str] = {
    exp.Select: f"{_MODIFIERS} expressions distinct into from_",
    exp.Subquery: f"{_MODIFIERS} this alias",
    exp.Union: f"{_MODIFIERS} this expression distinct by_name",
    exp.Intersect: f"{_MODIFIERS} this expression distinct by_name",
    exp.Except: f"{_MODIFIERS} this expression distinct by_name",
    exp.Table: "this alias db catalog laterals joins pivots ordinality when rows_from sample",
    exp.With: "expressions recursive",
    exp.CTE: "this alias materialized key_expressions",
    exp.Join: "this on side kind using method pivots expressions",
    exp.Group: "expressions grouping_sets cube rollup all",
    exp.Order: "this expressions",
    exp.Ordered: "this desc nulls_first",
    exp.Limit: "this expression limit_options",
    exp.Fetch: "direction count limit_options",
    exp.LimitOptions: "rows percent",
    exp.Cast: "this to safe",
    exp.TryCast: "this to safe requires_string",
    exp.JSONObject: "expressions",
    exp.GroupConcat: "this separator",
    exp.ApproxQuantile: "this quantile",
    exp.ApproxDistinct: "this",
    exp.CurrentTimestamp: "",
    exp.CurrentTime: "",
}
_FOREIGN: dict[type[exp.Expr], frozenset[str]] = {
    kind: frozenset(kind.arg_types) - frozenset(parts.split()) for kind, parts in _PARTS.items()
}


def _check_clauses(node: exp.Expr, context: StatementContext) -> None:
    """Refuse a part of a node that DuckDB's grammar does not have.

    Raises:
        NotSupportedError: with the name of the part.
    """
    foreign = [key for key in _FOREIGN[node.__class__] if node.args.get(key)]
    if isinstance(node, exp.LimitOptions) and isinstance(node.parent, exp.Fetch):
        foreign += [key for key in ("percent",) if node.args.get(key)]
    if foreign:
        part = ", ".join(sorted(key.strip("_").upper().replace("_", " ") for key in foreign))
        raise NotSupportedError(
            f"{node.key.upper()} with {part} is another dialect's and not possible in a query",
            position=position(context.text, node),
            statement=context.text,
        )


def check_query_nodes(query: exp.Query, context: StatementContext) -> None:
    """Refuse what a query may not hold.

    Raises:
        NotSupportedError: a statement or a construct that reads past the memories.
        ProgrammingError: an unknown function, with the nearest known one.
    """
    for node in query.walk():
        if node.__class__ in _FOREIGN:
            _check_clauses(node, context)
        if isinstance(node, exp.Query) or node.__class__ is exp.Column:
            continue
        if isinstance(node, exp.Identifier):
            _check_identifier(node, context)
            continue
        if isinstance(node, syntax.Matches | syntax.TimeTravel):
            form = "MATCHES" if isinstance(node, syntax.Matches) else "AT"
            raise not_yet(form, position=position(context.text, node), statement=context.text)
        if isinstance(node, REFUSED_NODES):
            name = f"the function {node.sql_name().lower()}" if isinstance(node, exp.Func) else ""
            raise NotSupportedError(
                f"{name or node.key.upper()} is not possible inside a query",
                position=position(context.text, node),
                statement=context.text,
            )
        if isinstance(node, exp.Anonymous):
            _check_function(node, context)
        elif isinstance(node, exp.Collate):
            _check_collation(node, context)
        elif isinstance(node, exp.Var | exp.DataType):
            _check_word(node, context)
        elif isinstance(node, exp.Repeat):
            raise NotSupportedError(
                "the function repeat is not possible in a query: it is not held to a memory limit",
                position=position(context.text, node),
                statement=context.text,
            )
        elif isinstance(node, exp.Dot) and isinstance(node.expression, exp.Func):
            if isinstance(node.this, exp.Identifier):
                raise ProgrammingError(
                    f"unknown schema '{node.this.name}' of a function",
                    hint="functions are called by their bare name",
                    position=position(context.text, node.this),
                    statement=context.text,
                    code="3F000",
                )


def _check_word(node: exp.Var | exp.DataType, context: StatementContext) -> None:
    # Units, and names of types that sqlglot does not know: printed as they are.
    word = node.name if isinstance(node, exp.Var) else node.args.get("kind")
    if isinstance(word, exp.Expr):
        word = word.name
    if isinstance(word, str) and not word.replace("_", "").replace(" ", "").isalnum():
        raise NotSupportedError(
            f"{word[:40]!r} is no name of a unit or a type",
            position=position(context.text, node),
            statement=context.text,
        )


def _check_collation(node: exp.Collate, context: StatementContext) -> None:
    # sqlglot prints a text there without its quotes.
    name = node.expression
    parts = name.parts if isinstance(name, exp.Column | exp.Dot) else [name]
    if not all(
        isinstance(part, exp.Identifier | exp.Var) and part.name.replace("_", "").isalnum()
        for part in parts
    ):
        raise NotSupportedError(
            "COLLATE takes the name of a collation",
            hint="COLLATE NOCASE",
            position=position(context.text, name),
            statement=context.text,
        )


def _check_identifier(node: exp.Identifier, context: StatementContext) -> None:
    if fold(node.name).startswith("_memql"):
        raise ProgrammingError(
            f"names that start with _memql are MemQL's own: '{node.name}'",
            position=position(context.text, node),
            statement=context.text,
            code="42939",
        )


def check_table_function(table: exp.Table, context: StatementContext) -> None:
    """Refuse table functions outside the allow-list."""
    function = table.this
    if not isinstance(function, exp.Expr):
        raise NotSupportedError(
            "ROWS FROM is not possible in a query",
            hint="write the functions behind each other in FROM",
            position=position(context.text, table),
            statement=context.text,
        )
    if isinstance(function, _TABLE_FUNCTION_NODES):
        return
    name = function.name if isinstance(function, exp.Anonymous) else function.key
    if name.lower() not in TABLE_FUNCTIONS:
        raise NotSupportedError(
            f"the table function {name} is not possible in a query",
            hint=f"possible are {', '.join(sorted(TABLE_FUNCTIONS))}",
            position=position(context.text, function),
            statement=context.text,
        )


def _check_function(node: exp.Anonymous, context: StatementContext) -> None:
    name = node.name.lower()
    if name in ALLOWED_FUNCTIONS:
        return
    if isinstance(node.parent, exp.Table) and name in TABLE_FUNCTIONS:
        return
    guess = nearest(node.name, ALLOWED_FUNCTIONS, cutoff=0.75)
    raise ProgrammingError(
        f"unknown function '{node.name}'",
        hint=f"did you mean {guess}?" if guess else None,
        position=position(context.text, node),
        statement=context.text,
        code="42883",
    )

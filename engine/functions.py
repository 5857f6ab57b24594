"""Every function of DuckDB: whether a query may call it, and what it may tell.

A name that is not here is refused, so that what a new version of DuckDB adds cannot be reached
before somebody has looked at it: a test compares these tables with ``duckdb_functions()``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Kind = Literal["scalar", "aggregate", "window", "table"]

# The closed list of reasons; the errors and docs/functions.md say them.
REASONS: dict[str, str] = {
    "catalogs": "it reads DuckDB's catalogs, which hold what belongs to other users",
    "delays": "it waits and does nothing",
    "files": "it reads files",
    "internals": "DuckDB keeps it for itself: it trusts its arguments",
    "logs": "it reads or writes DuckDB's logs",
    "memory": "it reads the memory of the process",
    "network": "it reaches the network or tells about it",
    "random_state": "it changes what random() gives in other statements",
    "secrets": "it reads secrets",
    "sequences": "it reads or changes a sequence by the text of its name",
    "session": "it tells about DuckDB's connection, which is not the user's",
    "settings": "it reads or changes DuckDB's settings",
    "sql_text": "it takes SQL or names of tables as a text",
    "statistics": "it tells about values of rows that the user may not see",
}


@dataclass(frozen=True)
class Function:
    """What is known about the functions of one name.

    Args:
        name: in lower case.
        kind: where it stands: ``scalar`` for macros and operators too.
        leakproof: whether it cannot fail on any value of its declared types, nor tell anything
            about its arguments but by its result; a cast of an argument may fail all the same.
        refused: why a query may not call it, a value of REASONS; None is allowed.
    """

    name: str
    kind: Kind
    leakproof: bool = False
    refused: str | None = None


def classified(name: str) -> Function | None:
    """Return what is known about a function in an expression, None for an unknown one.

    Args:
        name: as it is written, operators as DuckDB's parse tree calls them: ``~~``.

    >>> classified("Setseed").refused
    'it changes what random() gives in other statements'
    """
    return FUNCTIONS.get(name.lower())


def table_function(name: str) -> Function | None:
    """Return what is known about a function in FROM, None for an unknown one.

    Args:
        name: as it is written.
    """
    return TABLE_FUNCTIONS.get(name.lower())


# Comparisons and looks at a value that no value makes fail. lower() and ~~* are not among them:
# they make a copy, and a long enough text of another owner would end them with "out of memory".
_LEAKPROOF = """
    != !~~ < <= = > >= ^@ ascii bit_length char_length character_length contains ends_with instr
    isfinite isinf isnan len length octet_length ord position sign signbit starts_with strlen
    strpos suffix unicode ~~
"""
_LEAKPROOF_IN_WORDS = ("is distinct from", "is not distinct from")

_OPERATORS = """
    !__postfix !~~* % & && * ** + - ->> / // <-> << <=> <@ >> @ @> ^ | || ~ ~~* ~~~
"""

# What only DuckDB's parser knows by name: it makes something else of it.
_PARSER_WORDS = """
    all any array coalesce construct_array date exists grouping grouping_id ifnull some try unlist
    unnest unpack
"""
_PARSER_AGGREGATES = "percentile_cont percentile_disc"

# Macros are among them.
_SCALARS = """
    abs acos acosh add age aggregate ago alias apply array_aggr array_aggregate array_append
    array_apply array_cat array_concat array_contains array_cosine_distance
    array_cosine_similarity array_cross_product array_distance array_distinct array_dot_product
    array_extract array_filter array_grade_up array_has array_has_all array_has_any array_indexof
    array_inner_product array_intersect array_length array_negative_dot_product
    array_negative_inner_product array_pop_back array_pop_front array_position array_prepend
    array_push_back array_push_front array_reduce array_resize array_reverse array_reverse_sort
    array_select array_slice array_sort array_to_json array_to_string
    array_to_string_comma_default array_transform array_unique array_value array_where array_zip
    asin asinh assert_true atan atan2 atanh bar base64 bin binom bit_count bit_position bitstring
    bitstring_byte_comparable can_cast_implicitly cardinality cast_to_type cbrt ceil ceiling
    century chr combine concat concat_ws constant_or_null cos cosh cot create_sort_key
    current_date current_localtime current_localtimestamp damerau_levenshtein date_add date_diff
    date_part date_sub date_trunc datediff datepart datesub datetrunc day dayname dayofmonth
    dayofweek dayofyear days_in_month decade decimal_division decode degrees divide editdist3
    element_at encode enum_code enum_first enum_last enum_range enum_range_boundary epoch epoch_ms
    epoch_ns epoch_us equi_width_bins era error even exp factorial fdiv filter finalize flatten
    floor fmod format format_bytes formatreadabledecimalsize formatreadablesize from_base64
    from_binary from_hex from_json from_json_strict gamma gcd gen_random_uuid generate_series
    generate_subscripts geomean geometric_mean get_bit get_current_time get_current_timestamp
    get_type grade_up greatest greatest_common_divisor hamming hash hex hour icu_sort_key if
    ilike_escape invoke is_histogram_other_bin isodow isoyear jaccard jaro_similarity
    jaro_winkler_similarity json json_array json_array_length json_contains json_deep_merge
    json_exists json_extract json_extract_path json_extract_path_text json_extract_string
    json_group_array json_group_object json_group_structure json_insert json_keys json_merge_patch
    json_merge_patch_diff json_normalize json_object json_pretty json_quote json_remove
    json_replace json_set json_strip_nulls json_structure json_transform json_transform_strict
    json_type json_valid json_value julian last_day lcase lcm least least_common_multiple left
    left_grapheme length_grapheme levenshtein lgamma like_escape list_aggr list_aggregate
    list_any_value list_append list_apply list_approx_count_distinct list_avg list_bit_and
    list_bit_or list_bit_xor list_bool_and list_bool_or list_cat list_concat list_contains
    list_cosine_distance list_cosine_similarity list_count list_distance list_distinct
    list_dot_product list_element list_entropy list_extract list_filter list_first list_grade_up
    list_has list_has_all list_has_any list_histogram list_indexof list_inner_product
    list_intersect list_kurtosis list_kurtosis_pop list_last list_mad list_max list_median
    list_min list_mode list_negative_dot_product list_negative_inner_product list_pack
    list_position list_prepend list_product list_reduce list_resize list_reverse list_reverse_sort
    list_select list_sem list_skewness list_slice list_sort list_stddev_pop list_stddev_samp
    list_string_agg list_sum list_transform list_unique list_value list_var_pop list_var_samp
    list_where list_zip ln log log10 log2 lower lpad ltrim make_date make_time make_timestamp
    make_timestamp_ms make_timestamp_ns make_timestamptz map map_concat map_contains
    map_contains_entry map_contains_value map_entries map_extract map_extract_value
    map_from_entries map_keys map_values md5 md5_number md5_number_lower md5_number_upper
    microsecond millennium millisecond minute mismatches mod month monthname multiply nanosecond
    nextafter nfc_normalize normalized_interval not_ilike_escape not_like_escape now nullif
    overlay parse_dirname parse_dirpath parse_filename parse_formatted_bytes parse_path path_join
    pg_size_pretty pg_typeof pi pow power prefix printf quarter radians random range reduce
    regexp_escape regexp_extract regexp_extract_all regexp_full_match regexp_matches
    regexp_replace regexp_split_to_array regexp_split_to_table remap_struct repeat replace
    replace_type reverse right right_grapheme round round_even roundbankers row row_to_json rpad
    rtrim second set_bit sha1 sha256 sin sinh split split_part sqrt st_asbinary st_asgeojson
    st_astext st_aswkb st_aswkt st_crs st_geomfromgeojson st_geomfromwkb st_intersects_extent
    st_setcrs str_split str_split_regex strftime string_split string_split_regex string_to_array
    strip_accents strptime struct_concat struct_contains struct_extract struct_extract_at
    struct_has struct_indexof struct_insert struct_keys struct_pack struct_position struct_update
    struct_values substr substring substring_grapheme subtract switch tan tanh time_bucket
    timetz_byte_comparable timezone timezone_hour timezone_minute to_base to_base64 to_binary
    to_centuries to_days to_decades to_hex to_hours to_json to_microseconds to_millennia
    to_milliseconds to_minutes to_months to_quarters to_seconds to_timestamp to_weeks to_years
    today transaction_timestamp translate trim trunc try_strptime typeof ucase unbin unhex
    union_extract union_tag union_value unpivot_list upper url_decode url_encode uuid
    uuid_extract_timestamp uuid_extract_version uuidv4 uuidv7 variant_array_length
    variant_comparator variant_contains variant_exists variant_extract variant_extract_string
    variant_group_array variant_keys variant_normalize variant_type variant_typeof vertex_extract
    wavg week weekday weekofyear weighted_avg xor year yearweek
"""

_AGGREGATES = """
    any_value approx_count_distinct approx_quantile approx_top_k arbitrary arg_max arg_max_null
    arg_max_nulls_last arg_min arg_min_null arg_min_nulls_last argmax argmin array_agg avg bit_and
    bit_or bit_xor bitstring_agg bool_and bool_or combine_aggr corr count count_if count_star
    countif covar_pop covar_samp decimal_average entropy favg first fsum group_concat histogram
    histogram_exact kahan_sum kurtosis kurtosis_pop last list listagg lttb mad max max_by mean
    median min min_by mode product quantile quantile_cont quantile_disc regr_avgx regr_avgy
    regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy reservoir_quantile sem
    skewness stddev stddev_pop stddev_samp string_agg sum sum_no_overflow sumkahan var_pop
    var_samp variance variant_group_object
"""

_WINDOWS = """
    cume_dist dense_rank fill first_value lag last_value lead nth_value ntile percent_rank rank
    rank_dense row_number
"""

# Each is a function collate_<name> and one icu_collate_<name>.
_COLLATIONS = """
    aa af am ar ar_sa as az bal be bg blo bn bo br bs ca ceb chr cs cu cy da de de_at dsb dz ee el
    en en_us eo es et fa fa_af ff fi fil fo fr fr_ca fy ga gl gu ha haw he he_il hi hr hsb hu hy
    id id_id ig is it ja ka kk kl km kn ko kok ku ky lb lij lkt ln lo lt lv mk ml mn mr ms mt my
    nb nb_no ne nl nn no noaccent nso om or pa pa_in pl ps pt ro ru sa se sgs si sk sl smn sq sr
    sr_ba sr_me sr_rs ssy st sv sw ta te th tk tn to tr ug uk ur uz vi vo wae wo xh yi yo yue
    yue_cn zh zh_cn zh_hk zh_mo zh_sg zh_tw zu
"""

_REFUSED = {
    "catalogs": """
        col_description current_catalog current_database current_schema current_schemas
        format_pg_type format_type get_block_size has_any_column_privilege
        has_column_privilege has_database_privilege has_foreign_data_wrapper_privilege
        has_function_privilege has_language_privilege has_schema_privilege
        has_sequence_privilege has_server_privilege has_table_privilege
        has_tablespace_privilege in_search_path index_key make_type map_to_pg_oid
        obj_description pg_collation_is_visible pg_conversion_is_visible
        pg_function_is_visible pg_get_constraintdef pg_get_expr pg_get_viewdef pg_has_role
        pg_is_other_temp_schema pg_my_temp_schema pg_opclass_is_visible pg_operator_is_visible
        pg_opfamily_is_visible pg_table_is_visible pg_ts_config_is_visible
        pg_ts_dict_is_visible pg_ts_parser_is_visible pg_ts_template_is_visible
        pg_type_is_visible shobj_description to_aggregate_state
    """,
    "delays": "pg_sleep sleep_ms",
    "internals": """
        __between __cast __internal_barrier __internal_compress_geometry_point
        __internal_compress_integral_ubigint __internal_compress_integral_uinteger
        __internal_compress_integral_usmallint __internal_compress_integral_utinyint
        __internal_compress_string_hugeint __internal_compress_string_ubigint
        __internal_compress_string_uhugeint __internal_compress_string_uinteger
        __internal_compress_string_usmallint __internal_compress_string_utinyint
        __internal_compressed_materialization_cast __internal_decompress_geometry_point
        __internal_decompress_integral_bigint __internal_decompress_integral_hugeint
        __internal_decompress_integral_integer __internal_decompress_integral_smallint
        __internal_decompress_integral_ubigint __internal_decompress_integral_uhugeint
        __internal_decompress_integral_uinteger __internal_decompress_integral_usmallint
        __internal_decompress_string __internal_json_copy_to_geojson
        __internal_json_copy_to_json __internal_tablefilter_bloom_filter
        __internal_tablefilter_dynamic __internal_tablefilter_optional
        __internal_tablefilter_prefix_range __internal_tablefilter_selectivity_optional
        hive_partition_component json_copy_strftime_if_date json_copy_strftime_if_timestamp
        parse_duckdb_log_message variant_bytes_to_variant variant_to_parquet_variant
        vector_type
    """,
    "logs": "write_log",
    "network": "inet_client_addr inet_client_port inet_server_addr inet_server_port",
    "random_state": "setseed",
    "sequences": "currval nextval setval",
    "session": """
        current_connection_id current_query current_query_id current_role
        current_transaction_id current_user session_user txid_current user
    """,
    "settings": """
        current_setting getvariable pg_conf_load_time pg_postmaster_start_time version
    """,
    "sql_text": "json_deserialize_sql json_serialize_plan json_serialize_sql",
    "statistics": "stats",
}

_TABLES = """
    generate_series icu_calendar_names json_each json_tree pg_timezone_names range repeat
    repeat_row test_all_types test_vector_types unnest
"""

_REFUSED_TABLES = {
    "catalogs": """
        duckdb_approx_database_count duckdb_columns duckdb_constraints
        duckdb_coordinate_systems duckdb_databases duckdb_dependencies duckdb_dialects
        duckdb_extension_repositories duckdb_extensions duckdb_functions
        duckdb_grammar_extensions duckdb_indexes duckdb_keywords duckdb_schemas
        duckdb_sequences duckdb_tables duckdb_triggers duckdb_types duckdb_views
        pragma_collations pragma_database_size pragma_metadata_info pragma_show
        pragma_storage_info pragma_table_info seq_scan
    """,
    "files": """
        duckdb_external_file_cache duckdb_temporary_files glob parquet_bloom_probe
        parquet_file_metadata parquet_full_metadata parquet_kv_metadata parquet_metadata
        parquet_scan parquet_schema read_blob read_csv read_csv_auto read_duckdb read_json
        read_json_auto read_json_objects read_json_objects_auto read_ndjson read_ndjson_auto
        read_ndjson_objects read_parquet read_single_csv_file read_single_json_file
        read_single_parquet_file read_text sniff_csv
    """,
    "internals": "summary",
    "logs": """
        disable_logging duckdb_log_contexts duckdb_logs duckdb_logs_parsed enable_logging
        truncate_duckdb_logs
    """,
    "memory": """
        arrow_scan arrow_scan_dumb pandas_scan python_arrow_scan python_map_function
    """,
    "network": """
        create_external_resource deregister_external_resource destroy_external_resource
        duckdb_external_resource_types duckdb_external_resources register_external_resource
        register_external_resource_type
    """,
    "secrets": """
        duckdb_secret_type_parameters duckdb_secret_types duckdb_secrets which_secret
    """,
    "session": "duckdb_connection_count duckdb_prepared_statements duckdb_variables",
    "settings": """
        checkpoint disable_profiling duckdb_available_metrics duckdb_eviction_queues
        duckdb_memory duckdb_optimizers duckdb_profiling_settings duckdb_settings
        enable_profiling force_checkpoint pragma_platform pragma_user_agent pragma_version
    """,
    "sql_text": """
        histogram histogram_values json_execute_serialized_sql query query_table
    """,
    "statistics": "duckdb_table_sample",
}

# PRAGMA calls these; the statement is refused as a whole.
_PRAGMAS = """
    add_parquet_key collations copy_database database_list database_size
    disable_checkpoint_on_shutdown disable_object_cache disable_optimizer
    disable_print_progress_bar disable_profile disable_profiling disable_progress_bar
    disable_verification disable_verify_parallelism enable_checkpoint_on_shutdown
    enable_object_cache enable_optimizer enable_print_progress_bar enable_profile enable_profiling
    enable_progress_bar enable_verification extension_versions force_checkpoint functions
    import_database json_execute_serialized_sql metadata_info platform show show_databases
    show_tables show_tables_expanded storage_info table_info user_agent verify_parallelism version
"""

# A name without brackets that no column has is one of these calls to DuckDB.
VALUE_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "current_catalog": "current_catalog",
        "current_date": "current_date",
        "current_role": "current_role",
        "current_schema": "current_schema",
        "current_time": "get_current_time",
        "current_timestamp": "get_current_timestamp",
        "current_user": "current_user",
        "localtime": "current_localtime",
        "localtimestamp": "current_localtimestamp",
        "session_user": "session_user",
        "user": "user",
    }
)


def _table(*functions: Function) -> Mapping[str, Function]:
    known = {function.name: function for function in functions}
    assert len(known) == len(functions), "a name stands in the table twice"
    return MappingProxyType(known)


def _named(kind: Kind, names: str) -> list[Function]:
    return [Function(name, kind) for name in names.split()]


def _leakproof(names: Iterable[str]) -> list[Function]:
    return [Function(name, "scalar", leakproof=True) for name in names]


def _refused(kind: Kind, names: Mapping[str, str]) -> list[Function]:
    return [
        Function(name, kind, refused=REASONS[reason])
        for reason, some in names.items()
        for name in some.split()
    ]


FUNCTIONS: Mapping[str, Function] = _table(
    *_leakproof([*_LEAKPROOF.split(), *_LEAKPROOF_IN_WORDS]),
    *_named("scalar", _OPERATORS),
    *_named("scalar", _PARSER_WORDS),
    *_named("scalar", _SCALARS),
    *[
        Function(f"{family}_{collation}", "scalar")
        for family in ("collate", "icu_collate")
        for collation in _COLLATIONS.split()
    ],
    *_named("aggregate", _AGGREGATES),
    *_named("aggregate", _PARSER_AGGREGATES),
    *_named("window", _WINDOWS),
    *_refused("scalar", _REFUSED),
)

TABLE_FUNCTIONS: Mapping[str, Function] = _table(
    *_named("table", _TABLES), *_refused("table", _REFUSED_TABLES)
)

PRAGMAS: Mapping[str, Function] = _table(*_refused("table", {"settings": _PRAGMAS}))

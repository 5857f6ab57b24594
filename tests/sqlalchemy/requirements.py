"""What SQLAlchemy's tests of a dialect may ask of MemQL.

Open is what MemQL does and SQLAlchemy does not expect of every database; closed is what it does
not, each with the reason.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.testing import exclusions
from sqlalchemy.testing.requirements import SuiteRequirements

_OPEN = """
    array_type autocommit binary_literals boolean_col_expressions
    computed_columns computed_columns_virtual create_or_replace_view create_table_as ctes
    ctes_on_dml date_historic datetime_historic datetime_literals datetime_timezone delete_from
    except_ expression_server_defaults fetch_first
    implicit_decimal_binds index_ddl_if_exists infinity_floats
    intersect isolation_level json_type
    nullsordering order_by_label_with_expression precision_numerics_enotation_small
    precision_numerics_many_significant_digits precision_numerics_retains_significant_digits
    regexp_match regexp_replace server_defaults supports_bitwise_and
    supports_bitwise_or supports_bitwise_shift supports_distinct_on supports_is_distinct_from
    table_ddl_if_exists table_value_constructor timestamp_microseconds tuple_in
    tuple_in_w_empty unicode_ddl update_from uuid_data_type views window_functions
""".split()

_CLOSED = {
    "temporary_tables": "each query has a connection of its own",
    "temp_table_reflection": "the same",
    "temp_table_reflect_indexes": "the same",
    "schemas": "schemas are the owners of tables: none is created",
    "schema_reflection": "the same",
    "self_referential_foreign_keys": "DuckDB deletes no row that another one of them refers to",
    "materialized_views": "they have no indexes",
    "implements_get_lastrowid": "a cursor knows no id; INSERT ... RETURNING does",
    "savepoints": "DuckDB has none",
    "on_update_cascade": "DuckDB's foreign keys refuse, and change no other table",
}


class Requirements(SuiteRequirements):
    """The answers, by name."""

    def get_isolation_levels(self, config: Any) -> dict[str, Any]:
        """The levels of the dialect."""
        return {"default": "SNAPSHOT", "supported": ["SNAPSHOT", "AUTOCOMMIT"]}


def _answer(rule: Any) -> property:
    return property(lambda self: rule())


for _name in _OPEN:
    setattr(Requirements, _name, _answer(exclusions.open))
for _name in _CLOSED:
    setattr(Requirements, _name, _answer(exclusions.closed))

"""SQLAlchemy's own tests of a dialect, to be run as `test_suite.py` runs them.

What no requirement of SQLAlchemy names is changed here, with its reason.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.testing import suite
from sqlalchemy.testing.suite import *  # noqa: F403


class CTETest(suite.CTETest):  # type: ignore[no-redef]
    """As it is, without the foreign key of a table to itself, which it does not need."""

    @classmethod
    def define_tables(cls, metadata: Any) -> None:
        for name in ("some_table", "some_other_table"):
            sa.Table(
                name,
                metadata,
                sa.Column("id", sa.Integer, primary_key=True),
                sa.Column("data", sa.String(50)),
                sa.Column("parent_id", sa.Integer),
            )


class JoinTest(suite.JoinTest):  # type: ignore[no-redef]
    """As it is, but that its rows, which it only reads, are not deleted after each test.

    In one transaction DuckDB deletes no row that another referred to when it began.
    """

    run_inserts = "once"
    run_deletes = None  # type: ignore[assignment]


class ComponentReflectionTestExtra(suite.ComponentReflectionTestExtra):  # type: ignore[no-redef]
    """As it is, but for the length of texts, which DuckDB reads and forgets."""

    test_string_length_reflection = None


class ComponentReflectionTest(suite.ComponentReflectionTest):  # type: ignore[no-redef]
    """As it is, but where given names of constraints are asked for: DuckDB has its own for them."""

    test_get_foreign_keys_quoted_name = None
    test_get_multi_foreign_keys = None
    test_get_multi_unique_constraints = None
    test_get_unique_constraints = None
    test_get_unique_constraints_quoted_name = None


class LongNameBlowoutTest(suite.LongNameBlowoutTest):  # type: ignore[no-redef]
    """None: it asks for given names of constraints."""

    test_long_convention_name = None


class ComputedReflectionTest(suite.ComputedReflectionTest):  # type: ignore[no-redef]
    """None: DESCRIBE tells no expressions."""

    test_get_column_returns_computed = None  # type: ignore[assignment]
    test_get_column_returns_persisted = None  # type: ignore[assignment]


class IsolationLevelTest(suite.IsolationLevelTest):  # type: ignore[no-redef]
    """As it is, but where a second level is asked for: besides AUTOCOMMIT there is one."""

    test_dialect_user_setting_is_restored = None


class TrueDivTest(suite.TrueDivTest):  # type: ignore[no-redef]
    """As it is, but for decimals of many digits, which DuckDB divides as doubles."""

    test_truediv_divisor = None  # type: ignore[assignment]

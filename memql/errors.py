"""The errors of MemQL: the tree of PEP 249 and what every error carries.

::

    Warning
    Error
    ├── InterfaceError          the connector was used wrongly
    └── DatabaseError
        ├── DataError           a value is out of range or of the wrong kind
        ├── OperationalError    the store or the machine: locked, damaged, no memory, not a store
        ├── IntegrityError      a constraint of the data
        ├── InternalError       a bug in MemQL
        ├── ProgrammingError    the statement: syntax, names, options
        └── NotSupportedError   valid, but not something MemQL does
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

# What the codes mean: SQLSTATE, with the names that PostgreSQL gives them. docs/errors.md says
# when each comes. A code is a promise: programs compare it, so none ever changes its meaning.
CODES: dict[str, str] = {
    "08000": "connection_exception",
    "08003": "connection_does_not_exist",
    "0A000": "feature_not_supported",
    "0LP01": "invalid_grant_operation",
    "21000": "cardinality_violation",
    "22000": "data_exception",
    "22003": "numeric_value_out_of_range",
    "22007": "invalid_datetime_format",
    "22008": "datetime_field_overflow",
    "22012": "division_by_zero",
    "22021": "character_not_in_repertoire",
    "22023": "invalid_parameter_value",
    "22032": "invalid_json_text",
    "22P02": "invalid_text_representation",
    "23000": "integrity_constraint_violation",
    "23502": "not_null_violation",
    "23505": "unique_violation",
    "24000": "invalid_cursor_state",
    "25001": "active_sql_transaction",
    "25P01": "no_active_sql_transaction",
    "25P02": "in_failed_sql_transaction",
    "28000": "invalid_authorization_specification",
    "28P01": "invalid_password",
    "2BP01": "dependent_objects_still_exist",
    "3F000": "invalid_schema_name",
    "40001": "serialization_failure",
    "42000": "syntax_error_or_access_rule_violation",
    "42501": "insufficient_privilege",
    "42601": "syntax_error",
    "42602": "invalid_name",
    "42701": "duplicate_column",
    "42702": "ambiguous_column",
    "42703": "undefined_column",
    "42704": "undefined_object",
    "42710": "duplicate_object",
    "42803": "grouping_error",
    "42809": "wrong_object_type",
    "42883": "undefined_function",
    "428C9": "generated_always",
    "42939": "reserved_name",
    "42P01": "undefined_table",
    "42P02": "undefined_parameter",
    "42P07": "duplicate_table",
    "42P09": "ambiguous_alias",
    "42P10": "invalid_column_reference",
    "42P17": "invalid_object_definition",
    "53100": "disk_full",
    "53200": "out_of_memory",
    "54000": "program_limit_exceeded",
    "54001": "statement_too_complex",
    "55006": "object_in_use",
    "57014": "query_canceled",
    "58000": "system_error",
    "58030": "io_error",
    "58P01": "undefined_file",
    "58P02": "duplicate_file",
    "XX000": "internal_error",
    "XX001": "data_corrupted",
}


# A statement on users, however wrong its rest is, and a password or token anywhere else.
_SECRET = re.compile(
    r"\A(?>\s|--[^\n]*|/\*.*?\*/)*+(?:CREATE|ALTER)\s+(?:USER|ROLE)\b"
    r"|\b(?:PASSWORD|TOKEN)\s+(?:[A-Z]?'|\$\w*\$)",
    re.IGNORECASE | re.DOTALL,
)


def holds_secret(statement: str) -> bool:
    """Tell whether a statement may hold a password, which no error shows.

    >>> holds_secret("CREATE USER bob PASSWORD 'x'"), holds_secret("DROP USER bob")
    (True, False)
    """
    return _SECRET.search(statement) is not None


@dataclass(frozen=True)
class Position:
    """A place in the text of a statement.

    Args:
        line: line number, counted from 1.
        column: character in that line, counted from 1.
    """

    line: int
    column: int


class Warning(Exception):  # PEP 249 fixes the name
    """An important warning, such as data that was cut.

    >>> issubclass(Warning, Exception)
    True
    """


class Error(Exception):
    """The base of all errors that MemQL raises.

    Args:
        message: what was asked, what was found.
        hint: what to do, if there is something to do.
        position: where in the statement, if it is about one place.
        statement: the statement's text; with ``position`` it draws a caret under the place. One
            that may hold a password is not kept.
        code: a key of ``CODES``, for programs; without one it is that of the class.

    >>> import memql
    >>> try:
    ...     memql.connect().execute("SELECT contnt FROM memories")
    ... except memql.Error as error:
    ...     print(error)
    ...     print(error.code, error.position, error.hint)
    unknown column 'contnt' (line 1, column 8)
      SELECT contnt FROM memories
             ^
    hint: did you mean content?
    42703 Position(line=1, column=8) did you mean content?
    """

    default_code: ClassVar[str] = "XX000"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        position: Position | None = None,
        statement: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = self.default_code if code is None else code
        assert self.code in CODES, f"the code {self.code!r} of {message!r} is not in CODES"
        self.message = message
        self.hint = hint
        self.position = position
        self.statement = None if statement is not None and holds_secret(statement) else statement

    def __str__(self) -> str:
        lines = [self.message]
        if self.position is not None:
            lines[0] += f" (line {self.position.line}, column {self.position.column})"
            if self.statement is not None:
                source = self.statement.splitlines() or [""]
                if self.position.line <= len(source):
                    lines.append("  " + source[self.position.line - 1].replace("\t", " "))
                    lines.append("  " + " " * (self.position.column - 1) + "^")
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)


class InterfaceError(Error):
    """The connector was used wrongly: a closed connection, a missing parameter.

    >>> import memql
    >>> try:
    ...     memql.connect(threads=0)
    ... except memql.InterfaceError as error:
    ...     print(error.message)
    threads is a whole number from 1 to 1,024, found 0
    """

    default_code = "08000"


class DatabaseError(Error):
    """The base of errors that concern the database.

    >>> issubclass(DataError, DatabaseError), issubclass(InterfaceError, DatabaseError)
    (True, False)
    """


class DataError(DatabaseError):
    """A value is out of range, too long or of the wrong kind.

    >>> import memql
    >>> try:
    ...     memql.connect().execute("SELECT CAST('soon' AS DATE)").fetchall()
    ... except memql.DataError as error:
    ...     print(error.message)
    invalid date field format: "soon", expected format is (YYYY-MM-DD)
    """

    default_code = "22000"


class OperationalError(DatabaseError):
    """The store or the machine: locked by another process, damaged, not a store.

    >>> import memql
    >>> try:
    ...     memql.connect(__file__)
    ... except memql.OperationalError as error:
    ...     print(error.message.rpartition(": ")[2])
    it is a file
    """

    default_code = "58000"


class IntegrityError(DatabaseError):
    """A constraint of the data would not hold.

    >>> import memql
    >>> try:
    ...     memql.connect().execute("INSERT INTO memories (content) VALUES (NULL)")
    ... except memql.IntegrityError as error:
    ...     print(error.message)
    the content of a memory cannot be NULL (row 1)
    """

    default_code = "23000"


class InternalError(DatabaseError):
    """A bug in MemQL.

    >>> InternalError("it cannot be").code
    'XX000'
    """


class ProgrammingError(DatabaseError):
    """The statement is wrong: syntax, an unknown name or option, a missing right.

    >>> import memql
    >>> try:
    ...     memql.connect().execute("SELECT FROM WHERE")
    ... except memql.ProgrammingError as error:
    ...     print(error.message)
    syntax error at 'WHERE': expected a table name
    """

    default_code = "42000"


class NotSupportedError(DatabaseError):
    """A valid request for something that MemQL does not do.

    >>> import memql
    >>> try:
    ...     memql.connect().execute("CREATE SCHEMA s")
    ... except memql.NotSupportedError as error:
    ...     print(error.message)
    MemQL does not run CREATE SCHEMA statements
    """

    default_code = "0A000"

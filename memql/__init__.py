"""MemQL: a database for what an AI remembers.

>>> import memql
>>> con = memql.connect(":memory:")
>>> _ = con.execute("INSERT INTO memories (content) VALUES ('Alice lives in Lisbon.')")
>>> con.execute("SELECT content FROM memories").fetchall()
[('Alice lives in Lisbon.',)]
"""

from __future__ import annotations

from memql.connection import Connection, connect
from memql.cursor import Cursor
from memql.errors import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Warning,
)
from memql.types import (
    BINARY,
    DATETIME,
    NUMBER,
    ROWID,
    STRING,
    Binary,
    Date,
    DateFromTicks,
    Time,
    TimeFromTicks,
    Timestamp,
    TimestampFromTicks,
)
from memql.values import Activation, Answer, Prompt

apilevel = "2.0"
"""The version of PEP 249.

>>> apilevel
'2.0'
"""

threadsafety = 2
"""Threads may share the module and connections: a connection runs one statement at a time.

>>> threadsafety
2
"""

paramstyle = "qmark"
"""Parameters are ``?``; ``$name`` works too.

>>> paramstyle
'qmark'
"""

__version__ = "0.1.0"

__all__ = [
    "BINARY",
    "Binary",
    "DATETIME",
    "Date",
    "DateFromTicks",
    "NUMBER",
    "ROWID",
    "STRING",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Activation",
    "Answer",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Prompt",
    "Warning",
    "apilevel",
    "connect",
    "paramstyle",
    "threadsafety",
]


def load_ipython_extension(shell: object) -> None:
    """Load the magics: ``%load_ext memql``."""
    from memql.jupyter import load

    load(shell)

"""Cursors: run statements and fetch their rows, in the form that is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic

from memql.errors import InterfaceError, ProgrammingError
from memql.rows import Row, RowFactory, RowMaker

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from memql.connection import Connection
    from memql.engine.result import Result

Parameters = Sequence[Any] | Mapping[str, Any]

Description = list[tuple[str, str, None, None, None, None, None]]

# As DuckDB has it: about eight of its own chunks for a batch of Arrow.
BATCH_ROWS = 1_000_000


class Cursor(Generic[Row]):
    """Runs statements and fetches their rows.

    Rows come in the form that ``row_factory`` gives them, and each comes once: what was fetched
    is gone, whether as rows or as a table.

    Attributes:
        arraysize: how many rows ``fetchmany`` gives if it is not told.
        connection: the connection it belongs to.
        row_factory: makes the rows (see ``memql.rows``); set it before the first row is fetched.

    >>> import memql
    >>> with memql.connect().cursor() as cur:
    ...     cur.execute("SELECT unnest(['tea', 'milk']) AS drink")
    ...     for (drink,) in cur:
    ...         print(drink)
    <memql.Cursor with the columns drink>
    tea
    milk
    """

    def __init__(self, connection: Connection[Any], row_factory: RowFactory[Row]) -> None:
        self.connection = connection
        self.row_factory = row_factory
        self.arraysize = 1
        self._result: Result | None = None
        self._rowcount = -1  # stays when the cursor is closed
        self._maker: RowMaker[Row] | None = None
        self._closed = False

    @property
    def description(self) -> Description | None:
        """For each column (name, type code, and five times None); None without rows.

        A type code is DuckDB's name of the type, and equal to the type object it belongs to.

        >>> import memql
        >>> ((name, code, *_),) = memql.connect().execute("SELECT 1.5 AS price").description
        >>> name, code, code == memql.NUMBER
        ('price', 'DECIMAL(2,1)', True)
        """
        if self._result is None or not self._result.columns:
            return None
        return [(c.name, c.type, None, None, None, None, None) for c in self._result.columns]

    @property
    def rowcount(self) -> int:
        """Rows written by the last change; -1 after a query.

        >>> import memql
        >>> con = memql.connect()
        >>> con.execute("INSERT INTO memories (content) VALUES ('a'), ('b')").rowcount
        2
        """
        return self._rowcount

    def execute(self, statement: str, parameters: Parameters | None = None) -> Cursor[Row]:
        """Run one statement and return this cursor.

        Args:
            statement: MemQL; ``?`` or ``$name`` stand for parameters.
            parameters: a sequence for ``?``, a mapping for ``$name``.

        Raises:
            Error: see ``memql.errors``; outside of a transaction nothing of the statement stays.

        >>> import memql
        >>> memql.connect().cursor().execute("SELECT $n + 1", {"n": 2}).fetchall()
        [(3,)]
        """
        self._check_open()
        _check_parameters(parameters)
        self._drop_result()
        self._result = self.connection._session.execute(statement, parameters)
        self._rowcount = self._result.rowcount
        return self

    def stream(self, statement: str, parameters: Parameters | None = None) -> Iterator[str]:
        """Run a SELECT with one answer and return the pieces of its text as they are made.

        Joined, the pieces are the answer. After the last one the row can be fetched, with the
        answer as ``execute`` gives it; giving the iterator up ends the work.

        Args:
            statement: a SELECT with one ``generate``.
            parameters: as in ``execute``.

        Raises:
            Error: as ``execute``.
            NotSupportedError: there are several answers.
            ProgrammingError: the statement is no SELECT with ``generate``.

        >>> import memql
        >>> con = memql.connect()
        >>> _ = con.execute("INSERT INTO memories (content) VALUES ('Alice lives in Lisbon.')")
        >>> pieces = con.cursor().stream("SELECT generate('Where does Alice live?') FROM memories")
        >>> "".join(pieces)
        'Alice lives in Lisbon.'
        """
        self._check_open()
        _check_parameters(parameters)
        self._drop_result()
        pieces = self.connection._session.stream(statement, parameters)

        def given() -> Iterator[str]:
            try:
                yield from pieces
                self._result = pieces.result
            finally:
                pieces.close()

        return given()

    def progress(self) -> tuple[int, int]:
        """Return (tokens done, tokens in all) of the prompt that a model computes just now.

        For another thread than the one whose statement runs; (0, 0) before a model has computed.

        >>> import memql
        >>> memql.connect().cursor().progress()
        (0, 0)
        """
        progress = self.connection._session.progress
        return progress.done_tokens, progress.total_tokens

    def executemany(
        self, statement: str, parameters: Sequence[Parameters] | pa.Table
    ) -> Cursor[Row]:
        """Run one change for each set of parameters, all of them or none; return this cursor.

        An ``INSERT ... VALUES (?, ...)`` goes in as Arrow, many rows at a time.

        Args:
            statement: a change.
            parameters: one set for each time; of an Arrow table or a data frame each row is one.

        Raises:
            Error: as ``execute``.

        >>> import memql
        >>> cur = memql.connect().cursor()
        >>> cur.executemany("INSERT INTO memories (content) VALUES (?)", [["a"], ["b"]]).rowcount
        2
        """
        from memql.engine.result import Result

        self._check_open()
        self._drop_result()
        rows: Any
        if hasattr(parameters, "__arrow_c_stream__"):
            from memql.ingest import arrow_table

            rows = arrow_table(parameters)
        else:
            rows = list(parameters)
        count = self.connection._session.executemany(statement, rows)
        self._result = Result(rowcount=count)
        self._rowcount = count
        return self

    # -- rows -----------------------------------------------------------------------------------

    def fetchone(self) -> Row | None:
        """Return the next row, None after the last.

        Raises:
            ProgrammingError: no query was executed.

        >>> import memql
        >>> cur = memql.connect().execute("SELECT 1")
        >>> cur.fetchone(), cur.fetchone()
        ((1,), None)
        """
        rows = self._made(self._rows().fetchmany(1))
        return rows[0] if rows else None

    def fetchmany(self, size: int | None = None) -> list[Row]:
        """Return the next rows, at most ``size`` (default ``arraysize``).

        Raises:
            ProgrammingError: no query was executed.

        >>> import memql
        >>> cur = memql.connect().execute("FROM range(3)")
        >>> cur.fetchmany(2), cur.fetchmany(2)
        ([(0,), (1,)], [(2,)])
        """
        return self._made(self._rows().fetchmany(self.arraysize if size is None else size))

    def fetchall(self) -> list[Row]:
        """Return all rows that are left.

        Raises:
            ProgrammingError: no query was executed.

        >>> import memql
        >>> memql.connect().execute("FROM range(3)").fetchall()
        [(0,), (1,), (2,)]
        """
        return self._made(self._rows().fetchall())

    def __iter__(self) -> Iterator[Row]:
        while rows := self._made(self._rows().fetchmany(1)):
            yield rows[0]

    # -- tables ---------------------------------------------------------------------------------

    def to_arrow_table(self) -> pa.Table:
        """Return all rows that are left as an Arrow table; answers are text, forms their id.

        Raises:
            ProgrammingError: no query was executed.

        >>> import memql
        >>> memql.connect().execute("SELECT 1 AS a").to_arrow_table().to_pydict()
        {'a': [1]}
        """
        return self._rows().arrow()

    def to_arrow_reader(self, batch_size: int = BATCH_ROWS) -> pa.RecordBatchReader:
        """Return the rows that are left as Arrow batches, each made when it is asked for.

        The next statement on this cursor ends the reader.

        Args:
            batch_size: rows in a batch, at most.

        Raises:
            ProgrammingError: no query was executed.
            DataError: ``batch_size`` is not at least 1.

        >>> import memql
        >>> reader = memql.connect().execute("FROM range(5)").to_arrow_reader(batch_size=2048)
        >>> sum(batch.num_rows for batch in reader)
        5
        """
        return self._rows().arrow_reader(batch_size)

    def arrow(self) -> pa.Table:
        """Return all rows that are left as an Arrow table; the short name of to_arrow_table.

        >>> import memql
        >>> memql.connect().execute("SELECT 1 AS a").arrow().num_rows
        1
        """
        return self.to_arrow_table()

    def fetch_arrow_table(self) -> pa.Table:
        """Return all rows that are left as an Arrow table; DuckDB's older name of to_arrow_table.

        >>> import memql
        >>> memql.connect().execute("SELECT 1 AS a").fetch_arrow_table().num_rows
        1
        """
        return self.to_arrow_table()

    def fetch_record_batch(self, rows_per_batch: int = BATCH_ROWS) -> pa.RecordBatchReader:
        """Return the rows as Arrow batches; DuckDB's older name of to_arrow_reader.

        >>> import memql
        >>> memql.connect().execute("SELECT 1 AS a").fetch_record_batch().read_all().num_rows
        1
        """
        return self.to_arrow_reader(rows_per_batch)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Give the rows that are left to any library that knows the Arrow PyCapsule interface."""
        return self.to_arrow_reader().__arrow_c_stream__(requested_schema)

    def df(self) -> pd.DataFrame:
        """Return all rows that are left as a pandas data frame (needs ``memql[pandas]``).

        Raises:
            ProgrammingError: no query was executed.
            InterfaceError: pandas is not installed.

        >>> import memql
        >>> memql.connect().execute("SELECT 1 AS a").df().to_dict("list")
        {'a': [1]}
        """
        self._needs("pandas", "df()")
        return self.to_arrow_table().to_pandas()

    def pl(self) -> pl.DataFrame:
        """Return all rows that are left as a polars data frame (needs ``memql[polars]``).

        Raises:
            ProgrammingError: no query was executed.
            InterfaceError: polars is not installed.

        >>> import memql
        >>> memql.connect().execute("SELECT 1 AS a").pl().to_dicts()
        [{'a': 1}]
        """
        self._needs("polars", "pl()")
        import polars

        frame = polars.from_arrow(self.to_arrow_table())
        assert isinstance(frame, polars.DataFrame)  # of a table it is no series
        return frame

    # -- the rest of PEP 249 --------------------------------------------------------------------

    def setinputsizes(self, sizes: Sequence[Any]) -> None:
        """Do nothing, as PEP 249 allows.

        >>> import memql
        >>> memql.connect().cursor().setinputsizes([10])
        """

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """Do nothing, as PEP 249 allows.

        >>> import memql
        >>> memql.connect().cursor().setoutputsize(10)
        """

    def close(self) -> None:
        """Close the cursor; ``with`` does so at its end.

        >>> import memql
        >>> cur = memql.connect().cursor()
        >>> cur.close()
        >>> cur.execute("SELECT 1")
        Traceback (most recent call last):
        memql.errors.InterfaceError: the cursor is closed
        hint: open another: connection.cursor()
        """
        self._closed = True
        self._drop_result()

    def _made(self, rows: list[tuple[Any, ...]]) -> list[Row]:
        """Return tuples of values as rows of the row factory, answers and forms as objects."""
        result = self._result
        if result is not None and result.objects:
            from memql.values import value_of

            load = self.connection._session.prefix_of
            rows = [
                tuple(
                    value_of(value, load) if column in result.objects else value
                    for column, value in enumerate(row)
                )
                for row in rows
            ]
        if self._maker is None:
            self._maker = self.row_factory(self)
        return list(map(self._maker, rows))

    def _rows(self) -> Result:
        self._check_open()
        if self._result is None or not self._result.columns:
            raise ProgrammingError(
                # jupysql takes these words of psycopg's for a statement without rows.
                "there are no results to fetch",
                hint="execute a query first",
                code="24000",
            )
        return self._result

    def _drop_result(self) -> None:
        self._maker = None
        self._rowcount = self._rowcount if self._closed else -1
        if self._result is not None:
            self._result.close()
            self._result = None

    def _needs(self, package: str, what: str) -> None:
        import importlib

        self._rows()
        try:
            importlib.import_module(package)
        except ImportError:
            raise InterfaceError(
                f"{what} needs {package}",
                hint=f"pip install 'memql[{package}]', or use to_arrow_table()",
                code="0A000",
            ) from None

    def _check_open(self) -> None:
        if self._closed:
            raise InterfaceError(
                "the cursor is closed", hint="open another: connection.cursor()", code="24000"
            )
        self.connection._check_open()

    def __enter__(self) -> Cursor[Row]:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._closed:
            return "<memql.Cursor, closed>"
        if self._result is None:
            return "<memql.Cursor>"
        if not self._result.columns:
            written = max(self._result.rowcount, 0)
            return f"<memql.Cursor, {written:,} rows written>"
        names = ", ".join(column.name for column in self._result.columns)
        return f"<memql.Cursor with the columns {names}>"


def _check_parameters(parameters: Parameters | None) -> None:
    if parameters is not None and (
        isinstance(parameters, str | bytes) or not isinstance(parameters, Sequence | Mapping)
    ):
        raise ProgrammingError(
            f"parameters are a sequence or a mapping, found {type(parameters).__name__}",
            hint="pass [value] for one ?",
            code="22023",
        )

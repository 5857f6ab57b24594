"""What stands behind a magic's name: options, a connection, ``name <<``, a statement."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass, field, replace

from memql.errors import InterfaceError

USAGE = """\
%memql [OPTIONS] [CONNECTION] [NAME <<] STATEMENT   run a statement and show its rows
%%memql [OPTIONS] [CONNECTION] [NAME <<]            run the cell's statements, show the last one's
%memql connect STORE [--alias NAME] [--user U] [--model M]
                                                    open a store (until then: one in memory)
%memql CONNECTION                                   go on with that one: an alias, or a variable
%memql connections   %memql close [CONNECTION]      what is open; close one
%memql_explain STATEMENT   %memql_views             draw a plan; list materialized views
options: --limit N  --save NAME  --with NAME  --explain  --analyze  --stream
In a statement :name and {{expression}} are values of Python's."""

_OPTION = re.compile(r"--(save|with|limit|explain|analyze|stream)(?![\w-])\s*")
_WORD = re.compile(r"(\w+)\s*")
_CAPTURE = re.compile(r"([^\W\d]\w*)\s*<<\s*")


@dataclass(frozen=True)
class Line:
    """A line or a cell that was read.

    Args:
        text: the statements.
        connection: the alias of the connection that it names, or None.
        capture: the variable that gets the rows in the place of showing them, or None.
        save: the name under which its query is kept, or None.
        uses: names of kept queries that it reads.
        limit: the most rows to show; None is the usual number.
        explain: whether its plan is drawn in the place of running it; ``analyze`` does both.
        stream: whether its one answer is written as it is made.
    """

    text: str = ""
    connection: str | None = None
    capture: str | None = None
    save: str | None = None
    uses: tuple[str, ...] = field(default=())
    limit: int | None = None
    explain: bool = False
    analyze: bool = False
    stream: bool = False


def read_line(text: str, connections: Container[str]) -> Line:
    """Read what stands behind a magic's name.

    Args:
        text: that.
        connections: the names of connections.

    Raises:
        InterfaceError: an option lacks its value.

    >>> read_line("--limit 5 work found << SELECT 1", {"work"})
    Line(text='SELECT 1', connection='work', capture='found', save=None, uses=(), limit=5, \
explain=False, analyze=False, stream=False)
    """
    line, rest = Line(), text.strip()
    while option := _OPTION.match(rest):
        name, rest = option[1], rest[option.end() :]
        if name == "stream":
            line = replace(line, stream=True)
            continue
        if name in ("explain", "analyze"):
            line = replace(line, explain=True, analyze=line.analyze or name == "analyze")
            continue
        value = _WORD.match(rest)
        if value is None or (name == "limit" and not value[1].isdecimal()):
            what = "a number of rows" if name == "limit" else "a name"
            raise InterfaceError(
                f"--{name} takes {what}", hint="%memql alone shows its use", code="42601"
            )
        rest = rest[value.end() :]
        if name == "limit":
            line = replace(line, limit=int(value[1]))
        elif name == "save":
            line = replace(line, save=value[1])
        else:
            line = replace(line, uses=(*line.uses, value[1]))
    word = _WORD.match(rest)
    if word is not None and word[1] in connections and not _CAPTURE.match(rest):
        line, rest = replace(line, connection=word[1]), rest[word.end() :]
    capture = _CAPTURE.match(rest)
    if capture is not None:
        line, rest = replace(line, capture=capture[1]), rest[capture.end() :]
    return replace(line, text=rest)

"""The arguments of the command ``memql``."""

from __future__ import annotations

import argparse
import json
from typing import Any

import memql
from memql.cli.output import FORMATS

_DESCRIPTION = """\
A database for what an AI remembers: SQL over memories, answered from text or
from precomputed KV caches. A store is a folder; one process opens it at a time.
"""

_EXAMPLES = """\
examples:
  memql demo
  memql load agent.memql memories.jsonl
  memql query agent.memql "SELECT owner, count(*) FROM memories GROUP BY owner"
  memql query agent.memql "SELECT generate('What must Alice not eat?')
      FROM memories WHERE owner = 'alice' MATERIALIZE AS ACTIVATION"
  memql shell agent.memql
  memql check agent.memql

exit codes: 0 done, 1 error, 2 wrong arguments, 130 interrupted
"""

_LOAD = """\
Loads one memory from each line of a file: a JSON object with columns of `memories`, such as
  {"content": "Alice lives in Lisbon.", "owner": "alice", "kind": "fact"}
Only content is required. Keys that are no column go to attributes. The load is one
transaction: after an error, which names the line, nothing of the file is in the store.
A store that is not there yet is made.
"""

_QUERY = """\
Runs one statement and prints its rows: a table on a terminal, plain aligned text in a pipe.
"""

_SHELL = """\
Reads statements, each ended by a semicolon, and prints their results; from a pipe, too.
An error does not end it. \\q or Ctrl-D leaves, Ctrl-C drops the line or stops the statement.
A store that is not there yet is made.
"""

_CHECK = """\
Reads every row and every node of a store and verifies them: checksums and digests, versions and
commits, the chain of the audit, the activation tree. Prints what it read and what is damaged.
"""

_DEMO = """\
A guided tour of about ten statements over a store of its own: it shows each with its result,
checks its own answers, and ends with what was reused and saved. Needs no network.
"""


def parameter(text: str) -> tuple[str, Any]:
    """Return the name and value of ``name=value``.

    A number, true, false and null have their JSON meaning, and so has a text in double quotes;
    all else is text as it stands.

    Raises:
        ArgumentTypeError: there is no name.

    >>> parameter("n=5"), parameter("who=alice"), parameter('code="5"')
    (('n', 5), ('who', 'alice'), ('code', '5'))
    """
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"a parameter is name=value, found {text!r}")
    try:
        found = json.loads(value)
    except json.JSONDecodeError:
        return name, value
    return name, value if isinstance(found, dict | list) else found


def argument_parser() -> argparse.ArgumentParser:
    """Return the parser of ``memql``; each command sets ``command``."""
    parser = argparse.ArgumentParser(
        prog="memql",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"memql {memql.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    demo = _command(commands, "demo", "a guided tour over a store of its own", _DEMO)
    demo.add_argument(
        "--keep", metavar="DIR", help="make the store in this new folder and leave it there"
    )

    load = _command(commands, "load", "load memories from a file of JSON lines", _LOAD)
    _store(load)
    load.add_argument("file", metavar="FILE", help="the file; - reads standard input")
    _user(load)

    query = _command(commands, "query", "run one statement", _QUERY)
    _store(query)
    query.add_argument("statement", metavar="STATEMENT", help="MemQL; - reads standard input")
    query.add_argument(
        "--format", choices=FORMATS, default="table", help="how rows are printed (default: table)"
    )
    query.add_argument(
        "--param",
        metavar="NAME=VALUE",
        type=parameter,
        action="append",
        default=[],
        help="the value of $NAME in the statement; may be given several times",
    )
    _user(query)
    _model(query)

    check = _command(commands, "check", "read all of a store and verify it", _CHECK)
    _store(check)

    shell = _command(commands, "shell", "type statements and see their results", _SHELL)
    _store(shell)
    _user(shell)
    _model(shell)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    description: str,
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", metavar="STORE", help="the folder of the store")


def _user(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--user",
        metavar="NAME",
        help="who asks: sees its own memories and those granted to it (default: the administrator "
        "of a store without users); where the store has users, with the password in "
        "MEMQL_PASSWORD, or the token in MEMQL_TOKEN, or one that is asked for",
    )


def _model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="the model of queries that name none: its name in the store, a folder or a hub id "
        "(default: tiny, which ships with MemQL)",
    )

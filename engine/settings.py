"""What ``SHOW`` shows and ``SET memql.<name>`` sets: settings, their defaults and their forms."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from memql.errors import DataError, NotSupportedError
from memql.storage.limits import Limits, show_bytes

DEFAULT_MAX_TOKENS = 64
MAX_ANSWER_TOKENS = 1_000_000
DEFAULT_STATEMENT_BYTES = 64 * 1024
# A parser of Python objects needs about 2 KB for each byte of text: this is a gigabyte or two.
LARGEST_STATEMENT_BYTES = 1024 * 1024
LONGEST_REASON = 1000
LONGEST_TIMEOUT_MS = 2**31 - 1
DEFAULT_GENERATED_BYTES = 64 * 2**20
# Of a statement that reads tables each value may have a 64th: less than 1 KB would be no use.
LEAST_GENERATED_BYTES = 64 * 2**10
# DuckDB has no text of 4 GB or more.
MOST_GENERATED_BYTES = 2**31

GENERATED_SETTING = "memql.max_generated_bytes"
GENERATED_HINT = (
    f"SET {GENERATED_SETTING} raises the limit; "
    "where tables are read, a value may have a 64th of it"
)
# What DuckDB says where a call would generate too much: MemQL's words inside of its own.
GENERATED_TOO_MUCH = rf"\w+ [^']* that {GENERATED_SETTING} allows here"

_MILLISECONDS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000}


@dataclass(frozen=True)
class Settings:
    """The settings of one connection; a change makes a new value.

    Args:
        statement_timeout: longest time of a statement in milliseconds; 0 is no limit.
        max_statement_bytes: longest text of a statement in UTF-8 bytes.
        max_generated_bytes: largest value that a call such as ``repeat`` makes.
        max_tokens: longest answer of a generate that does not say it, in tokens.
        model: the model of queries that name none; None is the one that ships with MemQL.
        disabled_rules: names of optimizer rules that are switched off, sorted.
        plan_cache: whether the plan of a text is kept and used again.
        shared_memories: whether statements reach what others granted and policies give.
        override: why an administrator reads everybody's memories; empty where it does not.
        memory_limit: memory of the store's DuckDB in bytes; 0 is not known.
        threads: of the store's DuckDB; 0 is not known.
    """

    statement_timeout: int = 0
    max_statement_bytes: int = DEFAULT_STATEMENT_BYTES
    max_generated_bytes: int = DEFAULT_GENERATED_BYTES
    max_tokens: int = DEFAULT_MAX_TOKENS
    model: str | None = None
    disabled_rules: tuple[str, ...] = ()
    plan_cache: bool = True
    shared_memories: bool = True
    override: str = ""
    memory_limit: int = 0
    threads: int = 0

    @staticmethod
    def at_opening(model: str | None, limits: Limits) -> Settings:
        """Return the settings that a connection begins with.

        Args:
            model: of queries that name none.
            limits: what the store's DuckDB may take.
        """
        return Settings(model=model, memory_limit=limits.memory_bytes, threads=limits.threads)

    @property
    def of_planning(self) -> tuple[object, ...]:
        """The values that binder and rules read: a plan holds for these only."""
        return self.max_generated_bytes, self.max_tokens, self.disabled_rules

    def with_value(self, setting: Setting, value: Any) -> Settings:
        """Return these settings with one changed.

        Args:
            setting: which.
            value: as it stands in the statement: a number, a text or a truth value.

        Raises:
            DataError: the value is of the wrong kind or out of range.
        """
        return replace(self, **{setting.name: setting.read(value)})

    def with_default(self, setting: Setting, defaults: Settings) -> Settings:
        """Return these settings with one as it was when the connection opened."""
        return replace(self, **{setting.name: getattr(defaults, setting.name)})


@dataclass(frozen=True)
class Setting:
    """One setting: how its value is read from a statement and shown.

    Args:
        kind: what its values are, for people.
        description: one sentence.
        read: a value of the statement to the one kept; raises DataError.
        show: the value kept to text.
        ceiling: whether only the administrator may go above the default.
    """

    name: str
    kind: str
    description: str
    read: Callable[[Any], Any]
    show: Callable[[Any], str | None]
    ceiling: bool = False


def settings_of(rules: Sequence[str]) -> dict[str, Setting]:
    """Return all settings by name.

    Args:
        rules: names of the optimizer's rules.
    """

    def read_rules(value: Any) -> tuple[str, ...]:
        if not isinstance(value, str):
            raise _wrong("disabled_rules", "a text with names of rules", value)
        names = {name.strip().lower() for name in value.split(",")} - {""}
        wrong = sorted(names - set(rules))
        if wrong:
            raise DataError(
                f"memql.disabled_rules: there is no rule '{wrong[0]}'",
                hint=f"rules are {', '.join(rules)}",
                code="22023",
            )
        return tuple(sorted(names))

    every = (
        Setting(
            "statement_timeout",
            "time",
            "The longest time that one statement may take, fetching included; 0 is no limit.",
            _read_timeout,
            show_milliseconds,
        ),
        Setting(
            "max_statement_bytes",
            "bytes",
            "The longest text of a statement.",
            _whole("max_statement_bytes", 64, LARGEST_STATEMENT_BYTES),
            str,
            ceiling=True,
        ),
        Setting(
            "max_generated_bytes",
            "bytes",
            "The largest value that a call such as repeat or range makes; a 64th of it for each "
            "row where tables are read.",
            _whole("max_generated_bytes", LEAST_GENERATED_BYTES, MOST_GENERATED_BYTES),
            str,
            ceiling=True,
        ),
        Setting(
            "max_tokens",
            "tokens",
            "The longest answer of a generate that has no option max_tokens.",
            _whole("max_tokens", 1, MAX_ANSWER_TOKENS),
            str,
        ),
        Setting(
            "model",
            "name",
            "The model of queries that name none.",
            _read_model,
            lambda value: "tiny" if value is None else str(value),
        ),
        Setting(
            "disabled_rules",
            "names",
            "Optimizer rules that are switched off, separated by commas.",
            read_rules,
            ", ".join,
        ),
        Setting(
            "plan_cache",
            "on or off",
            "Whether the plan of a statement's text is kept for the next time.",
            _switch("plan_cache"),
            lambda value: "on" if value else "off",
        ),
        Setting(
            "shared_memories",
            "on or off",
            "Whether statements reach memories that others granted, or that policies give.",
            _switch("shared_memories"),
            lambda value: "on" if value else "off",
        ),
        Setting(
            "override",
            "reason",
            "Why an administrator reads everybody's memories, which the audit notes; empty is not.",
            _read_reason,
            str,
        ),
        Setting(
            "memory_limit",
            "bytes",
            "The most memory of the store's DuckDB, the model's not included.",
            _given_at_opening("memory_limit", "'4GB'"),
            show_bytes,
        ),
        Setting(
            "threads",
            "number",
            "How many threads run the store's queries.",
            _given_at_opening("threads", "2"),
            str,
        ),
    )
    assert [setting.name for setting in every] == [field.name for field in fields(Settings)]
    return {setting.name: setting for setting in every}


def show_milliseconds(value: int) -> str:
    """Return a time as it may be set, in its largest whole unit.

    >>> show_milliseconds(90_000)
    '90s'
    """
    if not value:
        return "0"
    for unit in ("h", "min", "s"):
        if value % _MILLISECONDS[unit] == 0:
            return f"{value // _MILLISECONDS[unit]}{unit}"
    return f"{value}ms"


def _read_timeout(value: Any) -> int:
    wanted = "a time such as '5s', '500ms', '2min', or milliseconds"
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d{1,12})\s*(ms|s|min|h)?\s*", value)
        if found is None:
            raise _wrong("statement_timeout", wanted, value)
        value = int(found[1]) * _MILLISECONDS[found[2] or "ms"]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _wrong("statement_timeout", wanted, value)
    if value > LONGEST_TIMEOUT_MS:
        raise _wrong("statement_timeout", "at most 596 hours", value)
    return value


def _read_model(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _wrong("model", "the name of a model, a folder or a hub id", value)
    return value


def _read_reason(value: Any) -> str:
    wanted = f"a text of at most {LONGEST_REASON:,} characters that says why"
    if not isinstance(value, str) or len(value) > LONGEST_REASON:
        found = f"{len(value):,} characters" if isinstance(value, str) else value
        raise _wrong("override", wanted, found)
    return value.strip()


def _whole(name: str, least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"\s*\d{1,12}\s*", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise _wrong(name, f"a whole number from {least:,} to {most:,}", value)
        return value

    return read


def _given_at_opening(name: str, example: str) -> Callable[[Any], Any]:
    def read(_: Any) -> Any:
        raise NotSupportedError(
            f"memql.{name} is the store's: it is given when the store is opened",
            hint=f"memql.connect(..., {name}={example})",
        )

    return read


def _switch(name: str) -> Callable[[Any], bool]:
    words = {"on": True, "true": True, "off": False, "false": False}

    def read(value: Any) -> bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in words:
            return words[value.lower()]
        raise _wrong(name, "on or off", value)

    return read


def _wrong(name: str, wanted: str, found: object) -> DataError:
    return DataError(f"memql.{name} is {wanted}, found {found!r}", code="22023")


def setting_rows(settings: Settings, defaults: Settings, known: dict[str, Setting]) -> list[Any]:
    """Return the rows of ``memql.settings``, see SETTING_COLUMNS."""
    return [
        {
            "name": name,
            "value": setting.show(getattr(settings, name)),
            "default_value": setting.show(getattr(defaults, name)),
            "type": setting.kind,
            "description": setting.description,
        }
        for name, setting in sorted(known.items())
    ]


SETTING_COLUMNS = {
    "name": "VARCHAR",
    "value": "VARCHAR",
    "default_value": "VARCHAR",
    "type": "VARCHAR",
    "description": "VARCHAR",
}

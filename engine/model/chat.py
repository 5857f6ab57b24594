"""A chat model's own template, split into head, segments and tail around the memories."""

from __future__ import annotations

import json
import re
from datetime import datetime
from functools import lru_cache
from typing import NoReturn

from memql.engine.model.template import PLAIN, Template
from memql.errors import ProgrammingError

# Letters only: a template may trim or escape anything else.
_MEMORIES, _QUESTION = "MEMQLSMEMORIESGOHERE", "MEMQLSQUESTIONGOESHERE"

# Some templates print today's date. It would change the ids of the head, and with them every key,
# at midnight; a fixed one (the default of Llama 3's template) keeps a model's prompts the same.
_DATE = datetime(2024, 7, 26)

# transformers' own tag around what an assistant says; it prints nothing.
_GENERATION = re.compile(r"\{%-?\s*(end)?generation\s*-?%\}")


@lru_cache(maxsize=64)  # compiling a template takes longer than all else of describing a model
def split_chat_template(
    source: str, tokens: tuple[tuple[str, str], ...], system: str | None, where: str
) -> Template:
    """Return the template of a chat with one user message: the memories, then the question.

    Args:
        source: the chat template in Jinja, run in Jinja's sandbox.
        tokens: transformers' names of special tokens, such as ``bos_token``, with their texts.
        system: text of the system message, None for none.
        where: the model's folder, for error texts.

    Raises:
        ProgrammingError: the template does not run, or does not show the message once as it is.
    """
    content = f"{PLAIN.head}{_MEMORIES}Question: {_QUESTION}"
    messages = [{"role": "user", "content": content}]
    if system is None:
        rendered = _render(source, messages, tokens, where)
    else:
        try:
            rendered = _render(
                source, [{"role": "system", "content": system}, *messages], tokens, where
            )
        except ProgrammingError:
            rendered = ""
        if system.strip() not in rendered:
            # Templates without a system role raise or drop it: it opens the user's message then.
            messages = [{"role": "user", "content": f"{system}\n\n{content}"}]
            rendered = _render(source, messages, tokens, where)
    head, found, rest = rendered.partition(_MEMORIES)
    before, asked, after = rest.partition(_QUESTION)
    if not found or not asked or _MEMORIES in rest or _QUESTION in head + after:
        raise ProgrammingError(
            f"the chat template of the model in {where} does not show the user's message "
            "exactly once",
            hint="""give a template of your own: WITH (template = '{"head": "...", """
            """"segment": "- {row}\\n", "tail": "{question}"}')""",
            code="22023",
        )
    return Template(head=head, segment=PLAIN.segment, tail=before + "{question}" + after)


def _render(
    source: str, messages: list[dict[str, str]], tokens: tuple[tuple[str, str], ...], where: str
) -> str:
    import jinja2
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> NoReturn:
        raise jinja2.TemplateError(message)

    def tojson(value: object, indent: int | None = None) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = _DATE.strftime
    try:
        return environment.from_string(_GENERATION.sub("", source)).render(
            messages=messages,
            add_generation_prompt=True,
            # Templates that know the word leave out the long reasoning before an answer.
            enable_thinking=False,
            tools=None,
            documents=None,
            **dict(tokens),
        )
    except (jinja2.TemplateError, TypeError, ValueError, AttributeError) as error:
        raise ProgrammingError(
            f"the chat template of the model in {where} does not run: {error}",
            hint="give a template of your own: WITH (template = '...')",
            code="22023",
        ) from error

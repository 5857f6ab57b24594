"""CREATE MODEL, and queries for models other than the shipped one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import memql
from memql.errors import NotSupportedError, OperationalError, ProgrammingError

pytestmark = pytest.mark.slow

Folder = Callable[[str], Path]
QUERY = (
    "SELECT generate('Who has a cat?', max_tokens := 5) FROM memories MATERIALIZE AS {} FOR MODEL m"
)


@pytest.fixture
def con() -> Iterator[memql.Connection]:
    connection = memql.connect(":memory:")
    connection.execute(
        "INSERT INTO memories (content) VALUES ('Alice has a cat.'), ('Bob: <|end|> <bos>')"
    )
    yield connection
    connection.close()


@pytest.mark.parametrize(
    "family", ["llama", "qwen3", "gpt_neox", "gpt2", "gemma3_text", "cohere2", "deepseek_v3"]
)
def test_text_and_activation_agree(
    con: memql.Connection, model_folder: Folder, family: str
) -> None:
    con.execute(f"CREATE MODEL m FROM '{model_folder(family)}'")
    answers = [
        con.execute(QUERY.format(form)).fetchall()[0][0]
        for form in ("PLAINTEXT", "ACTIVATION", "ACTIVATION")
    ]
    assert answers[0] == answers[1] == answers[2]
    assert [answer.reused_tokens for answer in answers] == [0, 0, answers[0].tokens]


def test_one_model_never_reuses_what_another_computed(
    con: memql.Connection, model_folder: Folder
) -> None:
    con.execute(f"CREATE MODEL m FROM '{model_folder('llama')}'")
    con.execute(QUERY.format("ACTIVATION"))
    con.execute(f"CREATE OR REPLACE MODEL m FROM '{model_folder('llama3')}'")
    answer = con.execute(QUERY.format("ACTIVATION")).fetchall()[0][0]
    assert answer.reused_tokens == 0
    con.execute(
        f"CREATE OR REPLACE MODEL m FROM '{model_folder('llama')}' WITH (dtype = 'bfloat16')"
    )
    assert con.execute(QUERY.format("ACTIVATION")).fetchall()[0][0].reused_tokens == 0
    con.execute(f"CREATE OR REPLACE MODEL m FROM '{model_folder('llama')}'")
    assert con.execute(QUERY.format("ACTIVATION")).fetchall()[0][0].computed_tokens == 0


def test_changed_weights_are_another_model(
    con: memql.Connection, model_folder: Folder, tmp_path: Path
) -> None:
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "changing"
    shutil.copytree(model_folder("llama"), folder)
    con.execute("CREATE MODEL m FROM ?", [str(folder)])
    con.execute(QUERY.format("ACTIVATION"))
    weights = load_file(folder / "model.safetensors")
    name = sorted(weights)[0]
    weights[name] = weights[name] + torch.ones_like(weights[name])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert con.execute(QUERY.format("ACTIVATION")).fetchall()[0][0].reused_tokens == 0


def test_what_cannot_be_exact_is_refused_and_auto_takes_text(
    con: memql.Connection, model_folder: Folder
) -> None:
    con.execute(f"CREATE MODEL m FROM '{model_folder('qwen3_next')}'")
    with pytest.raises(NotSupportedError, match="cannot have activations: .*linear_attention"):
        con.execute(QUERY.format("ACTIVATION"))
    answer = con.execute(QUERY.format("AUTO")).fetchall()[0][0]
    assert answer.form == "PLAINTEXT"
    con.execute(
        "CREATE MATERIALIZED VIEW v AS SELECT content FROM memories MATERIALIZE AS AUTO FOR MODEL m"
    )
    answer = con.execute("SELECT generate('Who?', max_tokens := 1) FROM v").fetchall()[0][0]
    assert (answer.form, answer.model) == ("PLAINTEXT", "m")


@pytest.mark.parametrize("family", ["llama_dynamic", "phi3_longrope"])
def test_positions_that_change_with_length_are_exact_up_to_the_switch(
    con: memql.Connection, model_folder: Folder, family: str
) -> None:
    con.execute(f"CREATE MODEL m FROM '{model_folder(family)}'")
    short = QUERY.replace("FROM memories", "FROM (SELECT content FROM memories LIMIT 1)")
    answers = [
        con.execute(short.format(form)).fetchall()[0][0]
        for form in ("PLAINTEXT", "ACTIVATION", "ACTIVATION", "AUTO")
    ]
    assert [str(answer) for answer in answers] == [str(answers[0])] * 4
    assert answers[3].form == "ACTIVATION" and answers[3].computed_tokens == 0
    # With the longest answer the prompt would come to more than 64 tokens.
    long = short.replace("max_tokens := 5", "max_tokens := 50")
    with pytest.raises(NotSupportedError, match="past 64 tokens its positions .* may come to"):
        con.execute(long.format("ACTIVATION"))
    answer = con.execute(long.format("AUTO")).fetchall()[0][0]
    assert (answer.form, answer.reused_tokens) == ("PLAINTEXT", 0)
    # An activation in one's hands, asked past the switch, is read again as text.
    made = con.execute(
        "SELECT content FROM memories LIMIT 1 MATERIALIZE AS ACTIVATION FOR MODEL m"
    ).fetchall()[0][0]
    assert made.generate("Who has a cat?", max_tokens=50) == str(answer)


def test_a_default_model_by_name_and_by_folder(model_folder: Folder, tmp_path: Path) -> None:
    folder = model_folder("llama")
    con = memql.connect(tmp_path / "s.memql", model=str(folder))
    con.execute("INSERT INTO memories (content) VALUES ('Alice has a cat.')")
    query = "SELECT generate('Who?', max_tokens := 1) FROM memories"
    assert con.execute(query).fetchall()[0][0].model == folder.name
    con.execute("CREATE MODEL mine FROM ?", [str(folder)])
    con.close()
    con = memql.connect(tmp_path / "s.memql", model="mine")
    assert con.execute(query).fetchall()[0][0].model == "mine"
    con.close()
    con = memql.connect(tmp_path / "s.memql", model="mien")
    with pytest.raises(ProgrammingError, match="did you mean mine"):
        con.execute(query)
    con.close()


def test_a_model_whose_folder_is_gone_is_a_clear_error(
    con: memql.Connection, model_folder: Folder, tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "gone"
    shutil.copytree(model_folder("llama"), folder)
    con.execute("CREATE MODEL m FROM ?", [str(folder)])
    con.execute(
        "CREATE MATERIALIZED VIEW v AS SELECT content FROM memories MATERIALIZE AS AUTO FOR MODEL m"
    )
    shutil.rmtree(folder)
    with pytest.raises((ProgrammingError, OperationalError), match="gone"):
        con.execute(QUERY.format("PLAINTEXT"))
    # Plain SQL goes on, and the model can still be dropped.
    assert con.execute("SELECT count(*) FROM memories").fetchone() == (2,)
    shown = con.execute("SHOW MODELS").fetchall()
    assert [row[0] for row in shown] == ["tiny", "m"]
    assert shown[0][-1] is None and "gone" in shown[1][-1]
    assert "gone" in con.execute("SHOW MATERIALIZED VIEWS").fetchall()[0][-1]
    con.execute("DROP MODEL m")

"""Train `tiny`: ``python -m memql.engine.model.tiny.train FOLDER --minutes 90``.

The schedule follows the wall clock: the learning rate ends with the time. The contexts get longer
by accuracy: a stage ends when its longest contexts are answered.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from memql.engine.model.tiny.corpus import make_context, with_noise
from memql.engine.model.tiny.packing import Packed, Packer, exact_answers

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
BOS_ID, EOS_ID, PAD_ID = 0, 1, 2

# Most facts of a context, contexts in a batch, and the share of the time after which the stage
# ends even if it is not learned. Batches hold about the same number of tokens.
STAGES: tuple[tuple[int, int, float], ...] = (
    (4, 40, 0.25),
    (8, 22, 0.40),
    (12, 14, 0.60),
    (16, 10, 0.80),
    (24, 8, 0.90),
    (48, 4, 9.0),
)
QUESTIONS = 12
PASS = 0.95
# Contexts with memories that no question asks for, and contexts with names never seen before.
NOISE_SHARE, NEW_NAME_SHARE = 0.25, 0.35
EVALUATE_STEPS = 100
SAVE_SECONDS = 180.0


@dataclass
class Progress:
    """Where a run stands: steps and seconds so far, and the current stage."""

    step: int = 0
    seconds: float = 0.0
    stage: int = 0


def make_config(vocabulary_tokens: int) -> LlamaConfig:
    """Return the model's shape: small, with grouped heads, and positions for long contexts."""
    return LlamaConfig(
        vocab_size=vocabulary_tokens,
        hidden_size=192,
        intermediate_size=384,
        num_hidden_layers=5,
        num_attention_heads=6,
        num_key_value_heads=3,
        head_dim=32,
        max_position_embeddings=32768,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
        tie_word_embeddings=True,
        bos_token_id=BOS_ID,
        eos_token_id=EOS_ID,
        pad_token_id=PAD_ID,
    )


def answer_logits(model: LlamaForCausalLM, packed: Packed) -> Tensor:
    """Return the logits at the answers' tokens: ``[answer tokens, vocabulary]``."""
    hidden = model.model(
        input_ids=packed.input_ids,
        attention_mask=packed.mask,
        position_ids=packed.position_ids,
        use_cache=False,
    ).last_hidden_state
    # Answers are a small part of the tokens, the vocabulary is most of the work.
    logits: Tensor = model.lm_head(hidden.flatten(0, 1)[packed.where])
    return logits


def quick_evaluation(
    model: LlamaForCausalLM, packer: Packer, facts: int, contexts: int, seed: int = 7
) -> float:
    """Return the share of exact answers on grids of `facts` facts with held-out words."""
    rng = random.Random(seed)
    exact: list[Tensor] = []
    model.train(False)
    with torch.no_grad():
        for _ in range(-(-contexts // 10)):
            batch = [make_context(rng, facts, 0.75, 0.5, held_out=True) for _ in range(10)]
            packed = packer.pack(batch, rng, QUESTIONS)
            exact.append(exact_answers(answer_logits(model, packed).float(), packed))
    model.train()
    return torch.cat(exact).float().mean().item()


def make_optimizers(
    model: LlamaForCausalLM, muon: float, adam: float
) -> list[torch.optim.Optimizer]:
    """Return Muon for the layers' matrices and AdamW for the rest.

    Muon (Jordan et al., 2024) learns to match things in context in far fewer steps than AdamW.
    """
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=muon, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=adam, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def save(
    folder: Path,
    tokenizer_folder: Path,
    model: LlamaForCausalLM,
    optimizers: list[torch.optim.Optimizer],
    progress: Progress,
    figures: dict[str, float],
) -> None:
    """Write a checkpoint beside the old one and put it in its place."""
    fresh = folder / "checkpoint.new"
    shutil.rmtree(fresh, ignore_errors=True)
    model.save_pretrained(fresh)
    for name in TOKENIZER_FILES:
        shutil.copy(tokenizer_folder / name, fresh / name)
    torch.save([optimizer.state_dict() for optimizer in optimizers], fresh / "optimizers.pt")
    (fresh / "progress.json").write_text(json.dumps({**asdict(progress), "figures": figures}))
    last, old = folder / "checkpoint", folder / "checkpoint.old"
    shutil.rmtree(old, ignore_errors=True)
    if last.exists():
        os.replace(last, old)
    os.replace(fresh, last)


def train(
    folder: Path, tokenizer_folder: Path, minutes: float, seed: int, muon: float, adam: float
) -> None:
    """Train until the time is spent, going on from the folder's checkpoint if there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
    packer = Packer(tokenizer)
    torch.manual_seed(seed)
    progress = Progress()
    last = folder / "checkpoint"
    if last.exists():
        model = LlamaForCausalLM.from_pretrained(last, dtype=torch.float32)
        stored = json.loads((last / "progress.json").read_text())
        progress = Progress(stored["step"], stored["seconds"], stored["stage"])
    else:
        model = LlamaForCausalLM(make_config(tokenizer.get_vocab_size()))
    optimizers = make_optimizers(model, muon, adam)
    if last.exists():
        for optimizer, state in zip(
            optimizers, torch.load(last / "optimizers.pt", weights_only=True), strict=True
        ):
            optimizer.load_state_dict(state)
    peaks = (muon, adam)
    rng = random.Random(seed * 1_000_003 + progress.step)
    total = minutes * 60.0
    began = time.monotonic() - progress.seconds
    saved = time.monotonic()
    losses: list[float] = []
    model.train()
    while progress.seconds < total:
        most, contexts, end_share = STAGES[progress.stage]
        share = progress.seconds / total
        factor = min(1.0, (progress.step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * share))
        for optimizer, peak in zip(optimizers, peaks, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * factor
        # One length for a batch: little is padded. Short contexts have more questions for each
        # token, so they stay the larger part to the end.
        spread = 2 * (most / 2) ** rng.random()
        facts = most if rng.random() < 0.3 else round(spread)
        contexts = min(64, contexts * most // facts)
        batch = [
            with_noise(rng, context, rng.randint(1, 5) if rng.random() < NOISE_SHARE else 0)
            for context in (
                make_context(rng, facts, new_name_share=NEW_NAME_SHARE) for _ in range(contexts)
            )
        ]
        late = progress.stage >= 2
        packed = packer.pack(batch, rng, QUESTIONS, 0.3 if late else 0.0, 2000)
        with torch.autocast("cpu", torch.bfloat16, enabled=AUTOCAST):
            logits = answer_logits(model, packed)
        errors = functional.cross_entropy(logits.float(), packed.targets, reduction="none")
        loss = (errors * packed.weights).sum() / packed.weights.sum()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        progress.step += 1
        progress.seconds = time.monotonic() - began
        losses.append(loss.item())
        if progress.step % EVALUATE_STEPS == 0:
            accuracy = quick_evaluation(model, packer, most, 240 // min(most, 12))
            print(
                f"{time.strftime('%H:%M:%S')} step {progress.step} seconds {progress.seconds:.0f} "
                f"facts {most} loss {sum(losses) / len(losses):.4f} exact {accuracy:.3f}",
                flush=True,
            )
            losses.clear()
            if progress.stage + 1 < len(STAGES) and (accuracy >= PASS or share > end_share):
                progress.stage += 1
            if time.monotonic() - saved > SAVE_SECONDS:
                save(folder, tokenizer_folder, model, optimizers, progress, {str(most): accuracy})
                saved = time.monotonic()
    figures = {str(n): quick_evaluation(model, packer, n, 400 // min(n, 12)) for n in (4, 12, 24)}
    print(f"done: {figures}", flush=True)
    save(folder, tokenizer_folder, model, optimizers, progress, figures)


# bfloat16 matrix products where the processor has them; the weights stay float32.
AUTOCAST = os.environ.get("TINY_AUTOCAST", "1") == "1"


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where checkpoints go")
    parser.add_argument("--tokenizer", type=Path, default=Path(__file__).parent / "weights")
    parser.add_argument("--minutes", type=float, default=90.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--muon", type=float, default=0.02, help="peak learning rate of matrices")
    parser.add_argument("--adam", type=float, default=0.003, help="peak learning rate of the rest")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train(
        options.folder,
        options.tokenizer,
        options.minutes,
        options.seed,
        options.muon,
        options.adam,
    )


if __name__ == "__main__":
    main()

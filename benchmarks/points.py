"""How accurate integrated gradients are at how many points, by Fejér's nested rules and by Gauss–Legendre, on the real bundled
SmolLM2: the largest error of any token's share against 256 Gauss–Legendre points.

    python benchmarks/points.py --part accuracy
    python benchmarks/points.py --part evaluations
    python benchmarks/points.py --part first

The second part counts the points that the three saliency examples take until they converge, beside doubling
Gauss–Legendre as far. The third takes the time to the first example's first map, the model's own token included, beside
the time to its last. Exit status 1 where the points are less than 1.7 times fewer, or the first map comes after more
than a third of the time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from analyzers.common.waiting import choose_waiting_policy

choose_waiting_policy()  # before torch is imported

import numpy as np
import torch
from bundled import smollm2
from torch import Tensor

from analyzers.common.progress import finish
from analyzers.common.settings import TOLERANCE, Generation, SaliencySettings
from analyzers.methods.asking import baseline_embedding
from analyzers.methods.attribution import TokenObjective, evaluate
from analyzers.methods.integrated_gradients import (
    fejer_rule,
    gauss_legendre_rule,
    integrate,
    path_gradients,
)
from analyzers.models.completion import Completion, complete
from analyzers.models.language_model import LanguageModel
from analyzers.models.store import ModelStore
from analyzers.saliency import compute_saliency
from analyzers.serving.dispatch import Dispatcher
from ui.examples import EXAMPLES
from ui.ready import requests_of

TEXTS = {
    "Heathrow": "Heathrow airport is located in the city of",
    "capital": " The capital of Japan is the city of",
    "summer": "In summer, when I hear the sound of cicadas,",
    "afternoon": "Good afternoon. ",
    "countries": "The countries of the European Union are:\n1. Austria\n2. Belgium\n3. Bulgaria\n4.",
}
BASELINES = ("token", "mean", "zero")
NESTED, DOUBLED = (7, 15, 31, 63, 127), (8, 16, 32, 64)


def shares_at(
    model: LanguageModel, text: str, baseline: str, rules: Sequence[tuple[np.ndarray, np.ndarray]]
) -> list[Tensor]:
    """The first new token's shares by each rule."""
    *_, completion = complete(model, text, Generation(generate=1))
    ids = completion.ids[: completion.n_prompt]
    embedded = model.embed(ids)
    absent = baseline_embedding(model, baseline, ids)  # type: ignore[arg-type]
    rows, targets = torch.tensor([len(ids) - 1]), torch.tensor([completion.ids[completion.n_prompt]])
    objective = TokenObjective(torch.tensor(ids), rows, targets, "probability")
    found = []
    for nodes, weights in rules:
        integral = finish(path_gradients(model, embedded, absent, objective, nodes, weights)).gradients[0, 0]
        norms = ((embedded - absent) * integral).norm(dim=-1)
        found.append(norms / norms.sum())
    return found


def count_doubled(model: LanguageModel, completion: Completion, most: int) -> list[int]:
    """Points of each explained token where Gauss–Legendre is doubled from 8 until both errors are at most 5 %, or `most`
    points are met; every rule begins anew."""
    positions = [token.position for token in completion.outputs]
    ids = completion.ids[: positions[-1]]
    embedded = model.embed(ids)
    absent = baseline_embedding(model, "token", ids)
    rows, targets = torch.tensor([p - 1 for p in positions]), torch.tensor([completion.ids[p] for p in positions])
    objective = TokenObjective(torch.tensor(ids), rows, targets, "probability")
    present_values, absent_values = evaluate(model, torch.stack([embedded, absent]), objective)
    totals = present_values - absent_values
    used, pending, before = [0] * len(positions), list(range(len(positions))), None
    points = 8
    while pending and points <= most:
        found = finish(integrate(model, embedded, absent, objective.only(pending), points))
        norms = found.norm(dim=-1)
        shares = norms / norms.sum(-1, keepdim=True)
        errors = ((found.sum((1, 2)) - totals[pending]) / totals[pending]).abs()
        changes = torch.ones(len(pending)) if before is None else (shares - before).abs().amax(-1)
        left = [i for i in range(len(pending)) if errors[i] > TOLERANCE or changes[i] > TOLERANCE]
        for target in pending:
            used[target] += points
        pending, before, points = [pending[i] for i in left], shares[left], 2 * points
    return used


def count_evaluations(model: LanguageModel) -> tuple[int, int]:
    """Points of the three saliency examples by nested rules, and by doubling as far."""
    nested = doubled = 0
    for example in (one for one in EXAMPLES if one.analysis == "saliency"):
        values = example.values
        generation = Generation(
            generate=values["generate"], sample=values.get("sample", False), seed=values.get("seed", 0)
        )
        *_, completion = complete(model, values["text"], generation)
        result = finish(compute_saliency(model, completion, SaliencySettings(method="integrated-gradients")))
        points = [completeness.points for completeness in result.completeness if completeness is not None]
        twice = count_doubled(model, completion, max(points) + 1)
        nested, doubled = nested + sum(points), doubled + sum(twice)
        print(f"  {example.id}: nested {points}, doubled {twice}", flush=True)
    return nested, doubled


def share_before_first_map(repeats: int = 15) -> float:
    """Of the time to the first example's last map, the part until its first; nothing of it known before."""
    store = ModelStore()
    (request,) = requests_of(EXAMPLES[0], store)
    store.load(store.resolver.default_id())
    firsts, wholes = [], []
    for turn in range(repeats + 1):
        started = time.perf_counter()
        times = [time.perf_counter() - started for step in Dispatcher(store).run(request) if step.answer is not None]
        if turn:  # the first warms up
            firsts.append(times[0])
            wholes.append(times[-1])
    first, whole = statistics.median(firsts), statistics.median(wholes)
    print(f"first map after {first:.2f} s of {whole:.2f} s: {first / whole:.3f} (bar a third)")
    return first / whole


def print_accuracy(model: LanguageModel) -> None:
    rules = [gauss_legendre_rule(256), *map(fejer_rule, NESTED), *map(gauss_legendre_rule, DOUBLED)]
    print(
        "largest error of a share: nested " + ", ".join(map(str, NESTED)) + "; doubled " + ", ".join(map(str, DOUBLED))
    )
    split = len(NESTED)
    for name, text in TEXTS.items():
        for baseline in BASELINES:
            reference, *found = shares_at(model, text, baseline, rules)
            errors = [float((one - reference).abs().max()) for one in found]
            line = "; ".join(" ".join(f"{error:.4f}" for error in part) for part in (errors[:split], errors[split:]))
            print(f"  {name}, {baseline}: {line}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("accuracy", "evaluations", "first"), required=True)
    part = parser.parse_args().part
    if part == "first":
        return 0 if share_before_first_map() <= 1 / 3 else 1
    model = smollm2()
    if part == "accuracy":
        print_accuracy(model)
        return 0
    nested, doubled = count_evaluations(model)
    print(f"points of the saliency examples: {nested}, doubled {doubled}: {doubled / nested:.2f}× fewer (bar 1.7×)")
    return 0 if doubled / nested >= 1.7 else 1


if __name__ == "__main__":
    raise SystemExit(main())

"""Lens and ranks: equal to a loop with one argsort per cell, and how much faster; and the memory of a long text.

Run: python benchmarks/lens.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from analyzers.common.waiting import choose_waiting_policy

choose_waiting_policy()  # before torch is imported

import numpy as np
import torch
from bundled import smollm2
from resident import peak_above

from analyzers.common.progress import finish
from analyzers.common.settings import LayerPredictionsSettings, RankingsSettings
from analyzers.layer_predictions import overview_of_each_layer
from analyzers.models.anatomy import observe_blocks
from analyzers.models.completion import Completion
from analyzers.models.language_model import LanguageModel
from analyzers.rankings import rank_at_each_layer

TEXT = "The countries of the European Union are:\n1. Austria\n2. Belgium\n3. Bulgaria\n4. Croatia\n5. Cyprus\n6."
SPEED_BAR = 10.0
MEMORY_BAR = 1.5e9


@torch.no_grad()
def ranks_cell_by_cell(model: LanguageModel, completion: Completion) -> np.ndarray:
    """ecco's way, with the right norm: for each layer and position one call of norm and head, and one argsort."""
    kept: dict[int, torch.Tensor] = {}
    with observe_blocks(model.anatomy, lambda layer, hidden: kept.update({layer: hidden[0]})):
        model.module(input_ids=torch.tensor([completion.ids]), use_cache=False)
    norm, head = model.module.model.norm, model.module.lm_head
    ranks = np.zeros((model.facts.n_layers, completion.n_positions - 1), dtype=np.int64)
    for layer in range(model.facts.n_layers):
        for row, id in enumerate(completion.ids[1:]):
            order = torch.argsort(head(norm(kept[layer][row])), descending=True)
            ranks[layer, row] = int((order == id).nonzero()[0, 0]) + 1
    return ranks


def compare_speed(model: LanguageModel, repeats: int) -> float:
    """Ratio of the medians per cell, interleaved, after the results were found equal."""
    # Every token after the first counts as an output, so that both rank the same kind of cell (and ours, unlike the
    # loop, the embedding row, ties and log-probabilities besides).
    completion, short = _read(model, TEXT, 31, 1), _read(model, TEXT, 8, 1)
    ours, theirs = finish(rank_at_each_layer(model, short, RankingsSettings())).ranks, ranks_cell_by_cell(model, short)
    off = np.abs(ours - theirs)
    assert (off <= 1 + theirs // 5000).all(), "ranks differ by more than neighbours within rounding"
    assert (ours[-1] == theirs[-1]).mean() > 0.9
    print(f"results: {off.size} ranks, {int((off == 0).sum())} equal, the others off by at most {int(off.max())}")
    cells, short_cells = theirs.shape[0] * (completion.n_positions - 1), theirs.size
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        started = time.perf_counter()
        finish(rank_at_each_layer(model, completion, RankingsSettings()))
        seconds[0].append((time.perf_counter() - started) / cells)
        started = time.perf_counter()
        ranks_cell_by_cell(model, short)
        seconds[1].append((time.perf_counter() - started) / short_cells)
    fast, slow = (statistics.median(s) * 1e3 for s in seconds)
    print(f"per cell: {fast:.2f} ms ({cells} cells), loop with argsort {slow:.2f} ms ({short_cells} cells)")
    return slow / fast


def measure_memory(n_positions: int = 500) -> None:
    """In a process of its own: the highest resident size during the analyses above what the model takes."""
    model = smollm2()
    completion = _read(model, "The keys to the cabinet are on the table. " * 60, n_positions, n_positions - 10)
    with torch.no_grad():  # pages of the weights that are mapped but not yet read would count as ours
        for weight in model.module.parameters():
            weight.sum()
    for name, run in (
        ("rankings", lambda: rank_at_each_layer(model, completion, RankingsSettings(watch=(" is", " are")))),
        ("overview", lambda: overview_of_each_layer(model, completion, LayerPredictionsSettings())),
    ):
        started = time.perf_counter()
        above = peak_above(lambda run=run: finish(run()))  # type: ignore[misc]
        seconds = time.perf_counter() - started
        print(f"{name}, {model.facts.n_layers} layers × {n_positions} positions: {above / 1e9:.2f} GB, {seconds:.1f} s")
        assert above <= MEMORY_BAR, f"more than {MEMORY_BAR / 1e9} GB above the model"


def _read(model: LanguageModel, text: str, n_positions: int, n_prompt: int) -> Completion:
    ids = model.encode(text)[:n_positions]
    assert len(ids) == n_positions
    return Completion(model.facts.id, model.reader.tokens_of(ids), n_prompt)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", action="store_true", help="only the memory, in this process")
    options = parser.parse_args()
    if options.memory:
        measure_memory()
    else:
        ratio = compare_speed(smollm2(), options.repeats)
        print(f"ratio: {ratio:.1f} (bar {SPEED_BAR:.0f})")
        subprocess.run([sys.executable, __file__, "--memory"], check=True)
        if ratio < SPEED_BAR:
            raise SystemExit("below the bar")

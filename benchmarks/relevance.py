"""AttnLRP on the real bundled SmolLM2: how far the parts add up to the logit in the examples, and how long beside input ×
gradient.

    python benchmarks/relevance.py --repeats 5

The ratio is of interleaved medians in one run. Exit status 1 where it is above 1.5. What does not add up is said, not
judged: with the weights of attention taken as given all of it does, which `tests/analyzers/methods/test_relevance.py` proves.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from analyzers.common.waiting import choose_waiting_policy

choose_waiting_policy()  # before torch is imported

from bundled import smollm2

from analyzers.common.errors import InputError
from analyzers.common.progress import finish
from analyzers.common.settings import Generation, SaliencySettings
from analyzers.models.completion import complete
from analyzers.models.language_model import LanguageModel
from analyzers.saliency import compute_saliency
from ui.examples import EXAMPLES

BAR = 1.5


def conservation(model: LanguageModel) -> None:
    for number, example in enumerate(EXAMPLES, 1):
        try:
            *_, completion = complete(model, str(example.values["text"]), Generation(generate=1))
            result = finish(compute_saliency(model, completion, SaliencySettings(method="attn-lrp")))
        except InputError as error:
            print(f"  {number:2}: {error}")
            continue
        found = result.completeness[0]
        assert found is not None
        print(
            f"  {number:2}: logit {found.total:.3f}, parts {found.total + found.error:.3f}, {found.relative or 0:.1%} off"
        )


def ratio(model: LanguageModel, repeats: int) -> float:
    *_, completion = complete(model, "Heathrow airport is located in the city of", Generation(generate=10))
    times: dict[str, list[float]] = {"attn-lrp": [], "input-x-gradient": []}
    for turn in range(repeats + 1):
        for method, taken in times.items():
            began = time.perf_counter()
            finish(compute_saliency(model, completion, SaliencySettings(method=method)))
            if turn:  # the first warms up
                taken.append(time.perf_counter() - began)
    medians = {method: statistics.median(taken) for method, taken in times.items()}
    found = medians["attn-lrp"] / medians["input-x-gradient"]
    print(
        ", ".join(f"{method} {seconds:.2f} s" for method, seconds in medians.items()),
        f": {found:.2f} times (bar {BAR})",
    )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    model = smollm2()
    conservation(model)
    return 0 if ratio(model, given.repeats) <= BAR else 1


if __name__ == "__main__":
    raise SystemExit(main())

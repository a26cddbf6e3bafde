"""A toy analysis and a toy saliency method, as a newcomer would write them: one function and one row each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch

from analyzers.common.errors import InputError
from analyzers.common.kinds import EVERY
from analyzers.common.methods import Method
from analyzers.common.parameters import Parameter, Settings
from analyzers.common.progress import Progress
from analyzers.common.sentences import Sentence
from analyzers.methods.asking import Question
from analyzers.methods.scoring import Scores
from analyzers.models.completion import Completion
from analyzers.models.language_model import LanguageModel
from analyzers.serving.analyses import Analysis
from analyzers.serving.cost import Cost, Size


@dataclass(frozen=True)
class LengthSettings(Settings):
    """What is asked of the lengths."""

    at_least: Annotated[int, Parameter("count only tokens of so many characters", 0, 100)] = 0


@dataclass(frozen=True)
class Lengths:
    """How long each token is, in characters."""

    lengths: tuple[int, ...]
    notes: tuple[Sentence, ...] = ()


def measure_tokens(
    _model: LanguageModel, completion: Completion, settings: LengthSettings
) -> Iterator[Progress[Lengths]]:
    """The toy analysis."""
    lengths = tuple(len(token.text) for token in completion.tokens if len(token.text) >= settings.at_least)
    yield Progress(1.0, Lengths(lengths))


def lengths_part(result: Lengths) -> dict[str, object]:
    return {"lengths": list(result.lengths)}


def lengths_lines(result: Lengths) -> list[str]:
    return ["lengths: " + ", ".join(map(str, result.lengths))]


def cost_of_nothing(_settings: Settings, _size: Size) -> Cost:
    return Cost(0.0, 0)


def score_by_length(question: Question) -> Iterator[Progress[Scores]]:
    """The toy method: a token's score is its position."""
    n = question.embedded.shape[0]
    yield Progress(1.0, Scores(torch.arange(n, dtype=torch.float32).expand(len(question.values), n)))


def score_at_random(question: Question) -> Iterator[Progress[Scores]]:
    """A map without merit."""
    random = torch.Generator().manual_seed(7)
    yield Progress(1.0, Scores(torch.rand(len(question.values), question.embedded.shape[0], generator=random)))


def refuse_model(_question: Question) -> Iterator[Progress[Scores]]:
    """As AttnLRP does where it finds a part that it has no rule for."""
    raise InputError("relevance_no_rule", model="toy", name="Part")
    yield


ANALYSIS = Analysis(
    "lengths",
    LengthSettings,
    function="toy_rows:measure_tokens",
    cost="toy_rows:cost_of_nothing",
    kinds=EVERY,
    purpose="How long each token is.",
    document="toy_rows:lengths_part",
    table="toy_rows:lengths_lines",
    smoke_key="lengths",
)
METHOD = Method("by-length", "toy_rows:score_by_length", "toy_rows:cost_of_nothing")
AT_RANDOM = Method("at-random", "toy_rows:score_at_random", "toy_rows:cost_of_nothing")

"""What an answer shows, in a sentence that a lesson ends with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analyzers.common.languages import Language
from analyzers.common.tokens import label_token, show_whitespace, word_numbers
from analyzers.layer_predictions import LayerPredictions
from analyzers.neuron_factors import NeuronFactors
from analyzers.rankings import Rankings, Watch
from analyzers.saliency import Saliency
from analyzers.serving.dispatch import AnyAnswer
from ui.charts.layer_predictions import finding as lens_finding
from ui.charts.layer_predictions import layer_name
from ui.charts.neuron_factors import activations
from ui.charts.rankings import n_blocks
from ui.charts.style import quote_text
from ui.charts.token_strip import name_words
from ui.texts import quote, say

MOST_NAMED = 6
"""Of the tokens that a model wrote, those with the clearest answer."""
TOKENS_A_FACTOR = 2


def findings(answers: Sequence[AnyAnswer], language: Language) -> list[str]:
    """A line for an answer and one for what stands beside it, which then begin with their models or texts; none where there is
    nothing to say."""
    if len(answers) == 1 and answers[0].beside is not None:
        answers = [answers[0], answers[0].beside]
    lines = [_finding(answer.result, language) for answer in answers]
    names = [answer.model.id for answer in answers]
    if len(set(names)) == 1:
        names = [quote_text(answer.request.text, language) for answer in answers]
    differ = len(set(names)) > 1
    return [
        say("shows_of", language, text=name, line=line) if differ else line
        for name, line in zip(names, lines, strict=True)
        if line
    ]


def _finding(result: object, language: Language) -> str:
    if isinstance(result, Saliency):
        return _of_saliency(result, language)
    if isinstance(result, LayerPredictions):
        return lens_finding(result, language)
    if isinstance(result, Rankings):
        return _of_rankings(result, language) if result.watch is None else _of_watch(result, result.watch, language)
    return _of_factors(result, language) if isinstance(result, NeuronFactors) else ""


def _of_saliency(result: Saliency, language: Language) -> str:
    """The word that most of each explained word comes from; the clearest, in the order of the text."""
    if result.shares is None:
        return ""
    names, words = name_words(result.tokens, language), np.array(word_numbers(result.tokens))
    found: list[tuple[int, float, str]] = []
    are_words = [any(letter.isalnum() for letter in label_token(token)) for token in result.explained_tokens]
    for row, token in enumerate(result.explained_tokens):
        if any(are_words) and not are_words[row]:
            continue
        places = list(result.seen[row])
        shares = np.bincount(words[places], (result.shares * result.signs)[row, places], len(names))
        most = int(shares.argmax())
        if shares[most] > 0:
            said = {"token": quote(label_token(token), language), "word": names[most], "share": f"{shares[most]:.0%}"}
            found.append((token.position, float(shares[most]), say("shows_from", language, **said)))
    clearest = sorted(sorted(found, key=lambda one: -one[1])[:MOST_NAMED])
    return " · ".join(line for _, _, line in clearest)


def _of_rankings(result: Rankings, language: Language) -> str:
    """How many of the written tokens are settled in the first half of the layers, the first and the last of them."""
    settled = [
        (layer, token) for layer, token in zip(result.commitment, result.outputs, strict=True) if layer is not None
    ]
    if not settled:
        n = len(result.outputs)
        return say("shows_unsettled", language, n=n) if n else ""
    half, total = n_blocks(result) // 2, len(result.outputs)
    early = sum(layer < half for layer, _ in settled)
    (first, one), (last, other) = min(settled, key=lambda it: it[0]), max(settled, key=lambda it: it[0])
    return say(
        "shows_settled",
        language,
        early=early,
        total=total,
        first=quote(label_token(one), language),
        first_layer=layer_name(first, language),
        last=quote(label_token(other), language),
        last_layer=layer_name(last, language),
    )


def _of_watch(result: Rankings, watch: Watch, language: Language) -> str:
    """Where the watched words stand half-way and at the end, and from which layer on the first of them leads."""
    end, half = len(watch.ranks) - 1, result.layers.index(n_blocks(result) // 2)
    lines = [
        say(
            "shows_rank",
            language,
            token=quote(show_whitespace(token.text), language),
            half=layer_name(result.layers[half], language),
            half_rank=f"{watch.ranks[half, column]:,}",
            end_rank=f"{watch.ranks[end, column]:,}",
        )
        for column, token in enumerate(watch.tokens)
    ]
    if len(watch.tokens) > 1:
        leads = watch.ranks.argmin(axis=1)
        leader = int(leads[end])
        behind = np.flatnonzero(leads != leader)
        since = int(behind[-1]) + 1 if len(behind) else 0
        said = {"token": quote(show_whitespace(watch.tokens[leader].text), language)}
        lines.append(say("shows_leads", language, layer=layer_name(result.layers[since], language), **said))
    return "".join(lines)


def _of_factors(result: NeuronFactors, language: Language) -> str:
    """The tokens that each factor is strongest on."""
    comma, found = say("comma", language), []
    for number, values in enumerate(activations(result), 1):
        order = np.argsort(-np.nan_to_num(values, nan=-1.0), kind="stable")
        named = list(dict.fromkeys(quote(label_token(result.tokens[i]), language) for i in order if values[i] > 0))
        if named:
            found.append(say("shows_factor", language, number=number, tokens=comma.join(named[:TOKENS_A_FACTOR])))
    return " · ".join(found)

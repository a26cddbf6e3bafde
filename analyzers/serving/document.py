"""The JSON document of an answer: the same on the command line and at the endpoints. Plain finite numbers only."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from analyzers.common.alignment import align_tokens
from analyzers.common.functions import load_function
from analyzers.common.languages import DEFAULT, Language
from analyzers.serving.analyses import ANALYSES
from analyzers.serving.dispatch import AnyAnswer
from analyzers.serving.request import AnyRequest, parameters_of, value_in

if TYPE_CHECKING:
    from analyzers.common.tokens import Token
    from analyzers.layer_predictions import LayerPredictions
    from analyzers.layer_similarity import LayerSimilarity, SecondModel
    from analyzers.map_comparison import MapComparison
    from analyzers.methods.integrated_gradients import Completeness
    from analyzers.neuron_factors import NeuronFactors
    from analyzers.rankings import Rankings
    from analyzers.saliency import Saliency

Document: TypeAlias = dict[str, object]
"""What becomes JSON: plain finite numbers, texts, lists, null."""


def document(answer: AnyAnswer, language: Language = DEFAULT) -> Document:
    """The common part, then what the analysis adds. Positions and layers count from 0, probabilities are 0 to 1."""
    common: Document = {
        "model": answer.model.id,
        "revision": answer.model.revision,
        "kind": answer.model.kind,
        "dtype": answer.model.dtype,
        "n_layers": answer.model.n_layers,
        "n_prompt": answer.completion.n_prompt,
        "tokens": tokens_part(answer.completion.tokens),
        "request": request_part(answer.request),
        "warnings": [note.say(language) for note in answer.notes],
        "seconds": {phase: round(value, 4) for phase, value in answer.seconds.items()},
    }
    row = ANALYSES[answer.request.analysis]
    part: Document = load_function(row.document)(answer.result)
    return common | part | (beside_part(answer, language) if row.takes_second and not row.joint_function else {})


def beside_part(answer: AnyAnswer, language: Language) -> Document:
    """`beside`: the second model's whole document, null without one. `aligned`: stretches of the text, in order, each with the
    positions that it has in the first and in the second."""
    if answer.beside is None:
        return {"beside": None, "aligned": None}
    segments = align_tokens(answer.completion.tokens, answer.beside.completion.tokens).segments
    return {
        "beside": document(answer.beside, language),
        "aligned": [{"text": one.text, "first": list(one.first), "second": list(one.second)} for one in segments],
    }


def request_part(request: AnyRequest) -> Document:
    """The whole question: what the same endpoint or command takes to answer it again, seed included."""
    settings = {setting.name: value_in(request, setting) for setting in parameters_of(request.analysis)}
    return {
        "analysis": request.analysis,
        "text": request.text,
        **{name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()},
    }


def saliency_part(result: Saliency) -> Document:
    """`scores`, `shares` and `effects`: one list per explained token, one number per token up to the last that it rests
    on. An effect is 1 where the token raises the target, −1 where it lowers it; null for a method without a sign. `errors`:
    half the width of the interval around each score; null for a method that samples nothing."""

    def cut_rows(rows: Iterable[Iterable[float]]) -> list[list[float]]:
        return [[float(x) for x in row][: max(seen) + 1] for row, seen in zip(rows, result.seen, strict=True)]

    return {
        "method": result.method,
        "target": result.objective,
        "contrast": None if result.contrast is None else {"id": result.contrast.id, "text": result.contrast.text},
        "baseline": result.baseline,
        "aggregate": result.aggregate,
        "whole_words": result.whole_words,
        "explained": list(result.explained),
        "said": [{"id": token.id, "text": token.text} for token in result.explained_tokens],
        "values": [float(value) for value in result.values],
        "scores": cut_rows(result.scores),
        "effects": cut_rows(result.signs) if result.is_signed else None,
        "shares": None if result.shares is None else cut_rows(result.shares),
        "hidden_values": None if result.hidden_values is None else cut_rows(result.hidden_values),
        "errors": None if result.errors is None else cut_rows(result.errors),
        "completeness": [None if c is None else completeness_part(c) for c in result.completeness],
    }


def completeness_part(completeness: Completeness) -> Document:
    """The two errors of one explained token."""
    return {
        "error": completeness.error,
        "total": completeness.total,
        "relative": completeness.relative,
        "map_change": completeness.map_change,
        "points": completeness.points,
        "converged": completeness.converged,
    }


def map_comparison_part(result: MapComparison) -> Document:
    """`maps` and `agreement`: one list per method. `groups`: the positions of what has one number. `curves`: of each
    method, then of the random orders; `gain`, `comprehensiveness` and `sufficiency` likewise. `beaten`: of how many random
    orders. An agreement is null where a map is flat, `curves` where no random order is known."""
    curves = result.curves
    return {
        "position": result.position,
        "explained": {"id": result.explained.id, "text": result.explained.text},
        "target": result.objective,
        "contrast": None if result.contrast is None else {"id": result.contrast.id, "text": result.contrast.text},
        "baseline": result.baseline,
        "methods": list(result.methods),
        "groups": [list(group) for group in result.groups],
        "maps": result.maps.tolist(),
        "agreement": [[None if math.isnan(x) else float(x) for x in row] for row in result.agreement],
        "counts": result.counts.tolist(),
        "curves": None
        if curves is None
        else {
            "deletion": curves.deletion.tolist(),
            "insertion": curves.insertion.tolist(),
            "gain": curves.gain.tolist(),
            "comprehensiveness": curves.comprehensiveness.tolist(),
            "sufficiency": curves.sufficiency.tolist(),
        },
        "chance": result.chance,
        "beaten": result.n_beaten.tolist(),
        "beats_chance": result.beats_chance.tolist(),
    }


def layer_similarity_part(result: LayerSimilarity) -> Document:
    """`similarity` and `floor`: one list per layer of `layers`, in it one number per layer of the same, or of `beside`; null
    where a layer says the same of all tokens. `beside`: the second model, and which of its tokens were compared over."""

    def rows(numbers: Iterable[Iterable[float]]) -> list[list[float | None]]:
        return [[None if math.isnan(x) else float(x) for x in row] for row in numbers]

    return {
        "measure": result.measure,
        "representation": result.representation,
        "components": result.components,
        "layers": list(result.layers),
        "left_out": list(result.left_out),
        "beside": None if result.second is None else second_part(result.second),
        "similarity": rows(result.similarity),
        "floor": rows(result.floor),
    }


def second_part(second: SecondModel) -> Document:
    """What is said of a model, and how it reads the text."""
    return {
        "model": second.model.id,
        "revision": second.model.revision,
        "kind": second.model.kind,
        "dtype": second.model.dtype,
        "n_layers": second.model.n_layers,
        "layers": list(second.layers),
        "positions": list(second.positions),
        "tokens": tokens_part(second.tokens),
    }


def tokens_part(tokens: Iterable[Token]) -> list[Document]:
    """Tokens as every document has them."""
    return [{"position": t.position, "id": t.id, "text": t.text, "special": t.special, "side": t.side} for t in tokens]


def layer_predictions_part(result: LayerPredictions) -> Document:
    """`layers` in order, the embedding row as layer −1, the stream after the attention of block l as l − 0.5."""
    rows = zip(result.layers, result.predictions, result.entropy, result.kl, strict=True)
    return {
        "position": result.position,
        "chosen": None if result.chosen is None else {"id": result.chosen.id, "text": result.chosen.text},
        "chosen_ranks": None if result.chosen_rank is None else [int(rank) for rank in result.chosen_rank],
        "chosen_ties": None if result.chosen_ties is None else [int(ties) for ties in result.chosen_ties],
        "without_final_norm": not result.final_norm,
        "self_check": float(result.self_check),
        "layers": [
            {
                "layer": layer,
                "predictions": [{"id": p.id, "text": p.text, "probability": float(p.probability)} for p in predictions],
                "entropy": float(entropy),
                "kl": float(kl),
            }
            for layer, predictions, entropy, kl in rows
        ],
    }


def rankings_part(result: Rankings) -> Document:
    """`ranks` and `ties`: one list per layer of `layers`, one number per output."""
    watch = None
    if result.watch is not None:
        watch = {
            "position": result.watch.position,
            "tokens": [{"id": token.id, "text": token.text} for token in result.watch.tokens],
            "ranks": result.watch.ranks.tolist(),
            "ties": result.watch.ties.tolist(),
            "probabilities": result.watch.probability.tolist(),
        }
    return {
        "outputs": [token.position for token in result.outputs],
        "layers": list(result.layers),
        "ranks": result.ranks.tolist(),
        "ties": result.ties.tolist(),
        "commitment": list(result.commitment),
        "log_probabilities": result.log_probability.tolist(),
        "without_final_norm": not result.final_norm,
        "self_check": float(result.self_check),
        "watch": watch,
    }


def neuron_factors_part(result: NeuronFactors) -> Document:
    """`factors` by falling energy; an activation is null where its token was left out."""
    return {
        "layers": list(result.layers),
        "left_out": list(result.left_out),
        "scaled": result.scaled,
        "parts": result.parts,
        "side": result.side,
        "error": float(result.error),
        "iterations": result.iterations,
        "converged": result.converged,
        "factors": [
            {
                "energy": float(factor.energy),
                "activations": [None if math.isnan(x) else float(x) for x in factor.activations],
                "layer_shares": [float(share) for share in factor.layer_shares],
                "top_neurons": [
                    {"layer": n.layer, "neuron": n.neuron, "part": n.part, "weight": float(n.weight)}
                    for n in factor.top_neurons
                ],
                "promoted": [{"id": t.id, "text": t.text, "logit": float(t.logit)} for t in factor.promoted],
            }
            for factor in result.factors
        ],
    }

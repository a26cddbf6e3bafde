"""An answer as a table that can be read in a terminal."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import numpy as np

from analyzers.common.functions import load_function
from analyzers.common.languages import DEFAULT, Language
from analyzers.common.methods import METHODS
from analyzers.common.tokens import Token, label_group, label_token, show_whitespace
from analyzers.serving.analyses import ANALYSES
from analyzers.serving.dispatch import AnyAnswer

if TYPE_CHECKING:
    from jaxtyping import Float

    from analyzers.layer_predictions import LayerPredictions
    from analyzers.layer_similarity import LayerSimilarity
    from analyzers.map_comparison import MapComparison
    from analyzers.methods.integrated_gradients import Completeness
    from analyzers.neuron_factors import NeuronFactors
    from analyzers.rankings import Rankings
    from analyzers.saliency import Saliency

BAR_CELLS = 24


def table(answer: AnyAnswer, language: Language = DEFAULT) -> str:
    """Lines of text: the model, the analysis, then what to be careful about."""
    seconds = ", ".join(f"{phase} {value:.1f} s" for phase, value in answer.seconds.items())
    head = f"{answer.model.id} ({answer.model.kind}, {answer.model.n_layers} layers, {answer.model.dtype}; {seconds})"
    lines = [head, *load_function(ANALYSES[answer.request.analysis].table)(answer.result)]
    lines += [f"! {note.say(language)}" for note in answer.notes]
    if answer.beside is not None:
        lines += ["", table(answer.beside, language)]
    return "\n".join(lines)


def saliency_lines(result: Saliency) -> list[str]:
    """A block of lines per explained token."""
    lines: list[str] = []
    for row, position in enumerate(result.explained):
        lines += ["", f"{position:>4} {_pad(result.explained_tokens[row], 18)} {describe(result, row)}"]
        for token in (result.tokens[seen] for seen in result.seen[row]):
            score = result.scores[row, token.position]
            share = None if result.shares is None else result.shares[row, token.position]
            shown = f"{score:+12.6f}" if share is None else f"{share:7.1%} {'█' * round(share * BAR_CELLS)}"
            against = _against(result, row, token.position)
            lines.append(f"{token.position:>4} {_pad(token, 18)} {shown}{against}")
    return lines


def map_comparison_lines(result: MapComparison) -> list[str]:
    """The test of each map, the likeliest to be believed first, their agreement, and what each gives each token."""
    token = label_token(result.explained)
    lines = ["", f"{result.position:>4} {token} · maps of {len(result.methods)} methods · {result.objective}"]
    names = [f"{name:>20}" for name in result.methods]
    if (tested := result.of_methods) is not None and (random := result.of_random_orders) is not None:
        lines += ["", f"{'':20}    gain  comprehensiveness  sufficiency"]
        for row in np.argsort(-tested.gain, kind="stable"):
            verdict = f"above {result.n_beaten[row]} of {len(random)} random orders"
            numbers = f"{tested.gain[row]:8.2f} {tested.comprehensiveness[row]:18.2f} {tested.sufficiency[row]:12.2f}"
            lines.append(f"{names[row]}{numbers}  {verdict}")
        means = [_with_error(values) for values in (random.comprehensiveness, random.sufficiency)]
        lines.append(f"{'random orders':>20}{f'≤ {result.chance:.2f}':>8} {means[0]:>18} {means[1]:>12}")
    lines += ["", "rank agreement (Spearman)"]
    for name, row in zip(names, result.agreement, strict=True):
        lines.append(name + "".join(f"{'-' if np.isnan(x) else f'{x:+.2f}':>8}" for x in row))
    lines += ["", "shares, in the order of the methods above"]
    for group, shares in zip(result.groups, result.maps.T, strict=True):
        label = label_group([result.tokens[p] for p in group])
        lines.append(
            f"{group[0]:>4} {label}{' ' * max(0, 18 - _cells(label))}" + "".join(f"{share:8.1%}" for share in shares)
        )
    return lines


def _with_error(values: Float[np.ndarray, " order"]) -> str:
    from analyzers.map_comparison import mean_with_error

    mean, error = mean_with_error(values)
    return f"{mean:.2f}" if error is None else f"{mean:.2f} ± {error:.2f}"


def describe(result: Saliency, row: int) -> str:
    """Method, target, baseline, points and errors of one explained token, in one line."""
    target = (
        result.objective if result.contrast is None else f"logit − logit(“{show_whitespace(result.contrast.text)}”)"
    )
    parts = [result.method, f"{target} {result.values[row]:.4g}"]
    if METHODS[result.method].uses_baseline:
        text = f" “{show_whitespace(result.baseline_text)}”" if result.baseline_text is not None else ""
        parts.append(f"baseline {result.baseline}{text}")
    found = result.completeness[row]
    if found is not None:
        relative = "undefined" if found.relative is None else f"{found.relative:.1%}"
        if METHODS[result.method].shares_out:
            return " · ".join([*parts, f"the parts add up to {found.total + found.error:.4g}, {relative} off"])
        if METHODS[result.method].samples:
            parts.append(f"{found.points} {'sets, exact' if found.exact else 'orders'}")
            return " · ".join([*parts, f"error of a share {found.map_change:.1%}", _say_state(found)])
        parts += [f"{found.points} points", f"completeness error {relative}", f"map change {found.map_change:.1%}"]
        parts.append(_say_state(found))
    return " · ".join(parts)


def _say_state(found: Completeness) -> str:
    return "converged" if found.converged else "ROUGH" if found.rough else "NOT CONVERGED"


def _against(result: Saliency, row: int, position: int) -> str:
    """What is said of a token that works against the target, where its number does not show it."""
    if result.signs[row, position] >= 0:
        return ""
    if result.hidden_values is not None:
        return "  (hiding it raises the target)"
    return "" if result.shares is None else "  (its part is negative)"


def _pad(token: Token, width: int) -> str:
    """A token's text in a column: wide characters take two cells."""
    text = label_token(token)
    return text + " " * max(0, width - _cells(text))


def _cells(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def layer_predictions_lines(result: LayerPredictions) -> list[str]:
    """A line per layer: entropy and KL in nats, then its likeliest tokens with their probability."""
    chosen = "" if result.chosen is None else f" (there: {label_token(result.chosen)})"
    lines = [
        "",
        f"position {result.position}{chosen} · {_describe_reading(result)}",
        "layer entropy     KL  predictions",
    ]
    for row, layer in enumerate(result.layers):
        name = _name_layer(layer)
        predictions = "  ".join(f"{show_whitespace(p.text)} {p.probability:.1%}" for p in result.predictions[row])
        lines.append(f"{name:>5} {result.entropy[row]:7.2f} {result.kl[row]:6.2f}  {predictions}")
    return lines


def rankings_lines(result: Rankings) -> list[str]:
    """A line per layer, a column per output; then the watched tokens likewise."""
    names = [label_token(token) for token in result.outputs]
    lines = ["", f"rank of each token after the prompt · {_describe_reading(result)}"]
    layers = [_name_layer(layer) for layer in result.layers]
    lines += _rank_table(layers, names, result.ranks.tolist())
    settled = ["never" if layer is None else _name_layer(layer) for layer in result.commitment]
    lines.append(
        "first from layer: " + ", ".join(f"{name} {layer}" for name, layer in zip(names, settled, strict=True))
    )
    if result.watch is not None:
        lines += ["", f"watched at position {result.watch.position}"]
        watched = [f"{show_whitespace(token.text)} ({token.id})" for token in result.watch.tokens]
        lines += _rank_table(layers, watched, result.watch.ranks.tolist())
    return lines


def neuron_factors_lines(result: NeuronFactors) -> list[str]:
    """A block per factor: the tokens it is strongest on, its layers, its neurons, the tokens they promote."""
    first, last = result.layers[0], result.layers[-1]
    done = "converged" if result.converged else "NOT CONVERGED"
    scaling = "each layer scaled alike" if result.scaled else "layers as they are"
    lines = [
        "",
        f"NMF of the neurons of layers {first} to {last} · {result.parts} parts · {scaling} · "
        f"relative error {result.error:.4f} · {result.iterations} iterations, {done} · left out: "
        + (", ".join(label_token(result.tokens[position]) for position in result.left_out) or "nothing"),
    ]
    for number, factor in enumerate(result.factors, 1):
        strongest = sorted(
            ((value, position) for position, value in enumerate(factor.activations) if value > 0), reverse=True
        )[:12]
        tokens = " ".join(f"{label_token(result.tokens[position])} {value:.2f}" for value, position in strongest)
        neurons = ", ".join(f"{neuron.layer}/{neuron.neuron}" for neuron in factor.top_neurons[:6])
        lines += ["", f"factor {number} (energy {factor.energy:.3f}): {tokens}", f"  neurons (layer/index): {neurons}"]
        if factor.promoted:
            lines.append("  promotes: " + " ".join(show_whitespace(token.text) for token in factor.promoted))
    return lines


def layer_similarity_lines(result: LayerSimilarity) -> list[str]:
    """A line for each layer: how alike it is to up to ten of them, or of a second model's, spread evenly."""
    columns = result.column_layers
    picked = sorted({round(i * (len(columns) - 1) / 9) for i in range(10)})
    names, heads = ([_name_layer(layer) for layer in layers] for layers in (result.layers, columns))
    what = f"{result.measure} of {result.representation}" + (
        "" if result.components is None else f", {result.components} components"
    )
    lines = [
        "",
        f"{what} · {result.n_kept} tokens · noise floor {np.nanmin(result.floor):.2f} to {np.nanmax(result.floor):.2f}",
        "layer " + " ".join(f"{heads[column]:>6}" for column in picked),
    ]
    if result.second is not None:
        beside = result.second.model
        lines.insert(1, f"columns: {beside.id} ({beside.kind}, {beside.n_layers} layers, {beside.dtype})")
    for name, row in zip(names, result.similarity, strict=True):
        lines.append(f"{name:>5} " + " ".join("     -" if np.isnan(row[i]) else f"{row[i]:6.2f}" for i in picked))
    return lines


def _name_layer(layer: int | float) -> str:
    """−1 is the embedding; l − 0.5 is the stream after the attention of block l."""
    return "embed" if layer == -1 else f"{round(layer + 0.5)} att" if layer % 1 else str(layer)


def _rank_table(layers: list[str], names: list[str], ranks: list[list[int]]) -> list[str]:
    widths = [max(7, _cells(name)) for name in names]
    head = "layer " + " ".join(" " * (width - _cells(name)) + name for name, width in zip(names, widths, strict=True))
    rows = [" ".join(f"{rank:>{width}}" for rank, width in zip(row, widths, strict=True)) for row in ranks]
    return [head, *(f"{layer:>5} {row}" for layer, row in zip(layers, rows, strict=True))]


def _describe_reading(result: LayerPredictions | Rankings) -> str:
    norm = "WITHOUT the final norm, as ecco did" if not result.final_norm else "final norm and head at every layer"
    return f"{norm} · last layer − model's logits: {result.self_check:.2g}"

"""The one strict gate: whatever a visitor, a script or a command line sends becomes a `Request` here, or a sentence.

Gradio enforces little of what its widgets promise (not NaN, not null, not a list in a single drop-down), so nothing
that comes from outside is used before it passed `parse_request`. The command line and the endpoints are made from the
same table of settings, so they cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from analyzers.common.errors import InputError
from analyzers.common.limits import LIMITS
from analyzers.common.sentences import quote
from analyzers.common.settings import (
    MOST_PREDICTIONS,
    Aggregate,
    Baseline,
    Generation,
    LayerPredictionsSettings,
    Method,
    NeuronFactorsSettings,
    Parts,
    RankingsSettings,
    SaliencySettings,
    Side,
    Target,
)

Kind = Literal["text", "choice", "integer", "number", "flag", "texts"]


@dataclass(frozen=True)
class Setting:
    """One named parameter: what it takes, what it is when left out, and what it means."""

    name: str
    kind: Kind
    default: Any
    help: str
    low: int | float = 0
    high: int | float = 0
    choices: tuple[str, ...] = ()
    optional: bool = False
    """Whether null is a value: "not given"."""

    @property
    def flag(self) -> str:
        """As the command line spells it."""
        return "--" + self.name.replace("_", "-")


COMMON: tuple[Setting, ...] = (
    Setting(
        "model",
        "text",
        None,
        "a catalog id; where allowed any Hub id (owner/name@revision, owner/name/file.gguf) or local folder",
        optional=True,
    ),
    Setting("generate", "integer", 1, "how many tokens to generate", 0, LIMITS.new_tokens),
    Setting("sample", "flag", False, "draw tokens at random instead of the likeliest"),
    Setting("temperature", "number", 1.0, "sampling temperature", 0.01, 10.0),
    Setting("top_k", "integer", 50, "sample from the k likeliest tokens", 1, LIMITS.top_k),
    Setting("top_p", "number", 1.0, "sample from the smallest set that holds this probability", 0.01, 1.0),
    Setting("seed", "integer", 0, "seed of the sampling", 0, 2**32 - 1),
    Setting(
        "target_text",
        "text",
        None,
        "score this continuation instead of generating; the words for a masked model's masks; an encoder's second text",
        optional=True,
    ),
    Setting("hide", "integer", None, "masked models: hide the token at this position", 0, 2**20, optional=True),
    Setting("device", "choice", "auto", "where to compute", choices=("auto", "cpu", "cuda")),
)

SALIENCY: tuple[Setting, ...] = (
    Setting("method", "choice", "occlusion", "how tokens are scored", choices=get_args(Method)),
    Setting(
        "target",
        "choice",
        "probability",
        "the number that is explained",
        choices=tuple(t for t in get_args(Target) if t not in ("contrast", "similarity")),
    ),
    Setting("contrast", "text", None, "explain logit(token) − logit(this token) instead", optional=True),
    Setting("aggregate", "choice", "l2", "magnitudes (l2) or signed sums (sum)", choices=get_args(Aggregate)),
    Setting("baseline", "choice", "token", "what stands for an absent token", choices=get_args(Baseline)),
    Setting("points", "integer", None, "integration points; adaptive when left out", 1, LIMITS.points, optional=True),
    Setting(
        "tolerance", "number", None, "adaptive: both errors end below this (default 0.05)", 0.0001, 1.0, optional=True
    ),
    Setting("whole_words", "flag", False, "occlusion hides all tokens of a word together"),
    Setting("first", "integer", None, "position of the token to explain first", 0, 2**20, optional=True),
)

_POSITION = Setting("position", "integer", None, "position of the predicted token", 0, 2**20, optional=True)
_WITHOUT_NORM = Setting("without_final_norm", "flag", False, "leave the final norm out, as ecco did: a comparison")

LAYER_PREDICTIONS: tuple[Setting, ...] = (
    _POSITION,
    Setting("layer", "integer", None, "only this layer; -1 is the embedding row", -1, 2**20, optional=True),
    Setting("top", "integer", 10, "how many predictions per layer", 1, MOST_PREDICTIONS),
    _WITHOUT_NORM,
)

RANKINGS: tuple[Setting, ...] = (
    Setting("watch", "texts", (), "also rank this token; may be repeated", 0, LIMITS.watched_tokens),
    _POSITION,
    _WITHOUT_NORM,
)

NEURON_FACTORS: tuple[Setting, ...] = (
    Setting("factors", "integer", None, "how many factors (default 8)", 1, LIMITS.factors, optional=True),
    Setting("first_layer", "integer", None, "first layer, inclusive", 0, 2**20, optional=True),
    Setting("last_layer", "integer", None, "last layer, inclusive", 0, 2**20, optional=True),
    Setting("include_first_token", "flag", False, "factorise the first token too"),
    Setting("include_special", "flag", False, "factorise the other special tokens too"),
    Setting("unscaled", "flag", False, "join the layers as they are, as ecco did"),
    Setting("parts", "choice", "positive", "positive activations, or both halves", choices=get_args(Parts)),
    Setting("side", "choice", "target", "which stack of an encoder-decoder model", choices=get_args(Side)),
)

SETTINGS: dict[str, tuple[Setting, ...]] = {
    "saliency": SALIENCY,
    "layer-predictions": LAYER_PREDICTIONS,
    "rankings": RANKINGS,
    "neuron-factors": NEURON_FACTORS,
}
"""The settings of each analysis, beside the common ones."""

_BUILDERS: dict[str, Any] = {
    "saliency": SaliencySettings,
    "layer-predictions": LayerPredictionsSettings,
    "rankings": RankingsSettings,
    "neuron-factors": NeuronFactorsSettings,
}


@dataclass(frozen=True)
class Request:
    """What one run needs to know; plain data."""

    analysis: str
    model: str | None
    """None for the default model."""
    text: str
    generation: Generation
    device: str
    settings: Any
    """The frozen settings class of the analysis."""


def parse_request(analysis: str, raw: Mapping[str, Any]) -> Request:
    """A request from untrusted values; what is left out has its default. Raises InputError for everything else.

    Raises KeyError for an analysis that does not exist: no visitor chooses that.
    """
    table = {setting.name: setting for setting in (*COMMON, *SETTINGS[analysis])}
    for name in raw:
        if name != "text" and name not in table:
            raise InputError("unknown_setting", name=_shown(name), choices=", ".join(table))
    text = raw.get("text")
    if not isinstance(text, str):
        raise InputError("not_a_text", name="text", value=_shown(text))
    if not text:
        raise InputError("empty_text")
    given = {name: _parse(setting, raw[name]) if name in raw else setting.default for name, setting in table.items()}
    for name, value in (("text", text), ("target_text", given["target_text"])):
        if value is not None and len(value) > LIMITS.characters:
            raise InputError("text_too_long", name=name, n=f"{len(value):,}", limit=f"{LIMITS.characters:,}")
    generation = Generation(**{item.name: given[item.name] for item in fields(Generation)})
    if generation.target_text is not None and generation.sample:
        raise InputError("continuation_and_sample")
    builder = _BUILDERS[analysis]
    if analysis == "saliency":
        if given["points"] is not None and given["tolerance"] is not None:
            raise InputError("conflicting_points")
        given["tolerance"] = SaliencySettings.tolerance if given["tolerance"] is None else given["tolerance"]
    settings = builder(**{item.name: given[item.name] for item in fields(builder) if item.name in given})
    return Request(analysis, given["model"], text, generation, given["device"], settings)


def _parse(setting: Setting, value: Any) -> Any:
    if value is None and setting.optional:
        return None
    if setting.kind == "text":
        if not isinstance(value, str):
            raise InputError("not_a_text", name=setting.name, value=_shown(value))
        if not value:
            raise InputError("empty_setting", name=setting.name)
        if len(value) > LIMITS.characters:
            raise InputError("text_too_long", name=setting.name, n=f"{len(value):,}", limit=f"{LIMITS.characters:,}")
        return value
    if setting.kind == "choice":
        if not isinstance(value, str) or value not in setting.choices:
            raise InputError("not_a_choice", name=setting.name, choices=", ".join(setting.choices), value=_shown(value))
        return value
    if setting.kind == "flag":
        if not isinstance(value, bool):
            raise InputError("not_a_flag", name=setting.name, value=_shown(value))
        return value
    if setting.kind == "texts":
        is_list = isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
        if is_list and len(value) > setting.high:
            raise InputError("too_many_watched", n=len(value), limit=int(setting.high))
        if not is_list:
            raise InputError("not_a_list", name=setting.name, most=int(setting.high), value=_shown(value))
        return tuple(value)
    return _number(setting, value)


def _number(setting: Setting, value: Any) -> int | float:
    key = "not_an_integer" if setting.kind == "integer" else "not_a_number"
    low, high = (int(setting.low), int(setting.high)) if setting.kind == "integer" else (setting.low, setting.high)
    bad = InputError(key, name=setting.name, low=f"{low:,}", high=f"{high:,}", value=_shown(value))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise bad
    # Compared first: an int can be too large to become a float, and NaN is in no range.
    if not low <= value <= high or (setting.kind == "integer" and value != int(value)):
        raise bad
    return int(value) if setting.kind == "integer" else float(value)


def _shown(value: Any) -> str:
    """A value as a sentence quotes it: short, on one line."""
    if value is None:
        return "missing"
    if isinstance(value, str):
        return quote(value, 40)
    if isinstance(value, int) and abs(value) >= 10**20:  # Python refuses to spell out thousands of digits
        return "a very large number" if value > 0 else "a very small number"
    if isinstance(value, (bool, int, float)):
        return str(value)
    return f"a {type(value).__name__}"

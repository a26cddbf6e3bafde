"""The public endpoints: text first, every other parameter optional, the JSON document of CONTRACT out."""

from __future__ import annotations

import inspect
from typing import Any

import gradio as gr

from analyzers.serving.dispatch import Dispatcher, answer
from analyzers.serving.document import document
from analyzers.serving.request import COMMON, SETTINGS, Setting, parse_request
from ui.errors import language_of, sentence_for

DESCRIPTIONS = {
    "saliency": "Which earlier tokens drove each predicted token: scores and shares, one list per explained token.",
    "layer-predictions": "What each layer would have predicted at one position; layer -1 is the embedding row.",
    "rankings": "How the model's own tokens, and watched ones, rank at each layer; rank 1 is the likeliest.",
    "neuron-factors": "Which neurons fire together, and on which tokens: a non-negative factorisation.",
}
_TYPES: dict[str, Any] = {"text": str, "choice": str, "integer": int, "number": float, "flag": bool, "texts": list[str]}


def add_endpoints(dispatcher: Dispatcher) -> None:
    """One endpoint per analysis, made from the table of settings that the command line is made from."""
    for analysis, settings in SETTINGS.items():
        gr.api(
            _endpoint(dispatcher, analysis, (*COMMON, *settings)),
            api_name=analysis.replace("-", "_"),
            api_description=DESCRIPTIONS[analysis],
            concurrency_id="model",
            concurrency_limit=dispatcher.at_once,
        )


def _endpoint(dispatcher: Dispatcher, analysis: str, settings: tuple[Setting, ...]) -> Any:
    def endpoint(*values: Any, **named: Any) -> dict[str, Any]:
        request = named.pop("request", None) or (values[-1] if isinstance(values[-1], gr.Request) else None)
        given = dict(zip(["text", *(setting.name for setting in settings)], values, strict=False)) | named
        # A parameter that is left out arrives as its default; null means left out where the setting allows it.
        try:
            return document(answer(dispatcher, parse_request(analysis, given)), language_of(request))
        except Exception as error:
            raise gr.Error(sentence_for(error, language_of(request)), print_exception=False) from None

    hints: dict[str, Any] = {"text": str}
    parameters = [inspect.Parameter("text", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=str)]
    for setting in settings:
        hint = _TYPES[setting.kind] | None if setting.optional else _TYPES[setting.kind]
        hints[setting.name] = hint
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters.append(inspect.Parameter(setting.name, kind, default=setting.default, annotation=hint))
    hints["request"] = gr.Request
    parameters.append(
        inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.Request, default=None)
    )
    hints["return"] = dict[str, Any]
    endpoint.__annotations__ = hints
    endpoint.__signature__ = inspect.Signature(parameters, return_annotation=dict[str, Any])  # type: ignore[attr-defined]
    endpoint.__name__ = analysis.replace("-", "_")
    return endpoint

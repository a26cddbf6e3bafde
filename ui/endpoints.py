"""The public endpoints: text first, every other parameter optional, the answer's JSON document out."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature

import gradio as gr
from gradio.context import LocalContext

from analyzers.common.parameters import Setting
from analyzers.common.stopping import always
from analyzers.serving.analyses import Analysis, public_analyses
from analyzers.serving.dispatch import Runner, answer
from analyzers.serving.document import Document, document
from analyzers.serving.request import parameters_of, parse_request
from ui.errors import language_of, sentence_for
from ui.listeners import LISTENERS
from ui.runs import on_the_model
from ui.values import Mark, Options

TYPES: Options = {"text": str, "choice": str, "integer": int, "number": float, "flag": bool, "texts": list[str]}


def add_endpoints(runner: Runner) -> None:
    """One endpoint for each analysis, made from the settings that the command line is made from."""
    for row in public_analyses():
        gr.api(
            build_endpoint(runner, row),
            api_name=row.endpoint,
            api_description=row.purpose,
            **on_the_model(),
        )


def build_endpoint(runner: Runner, row: Analysis) -> Callable[..., Document]:
    """A function with a parameter for each setting, whose types Gradio reads."""
    hints = {
        "text": str,
        **{setting.name: _hint(setting) for setting in parameters_of(row.name)},
        "request": gr.Request,
    }
    defaults = {setting.name: setting.default for setting in parameters_of(row.name)} | {"request": None}
    signature = Signature(
        [
            Parameter(
                name, Parameter.POSITIONAL_OR_KEYWORD, annotation=hint, default=defaults.get(name, Parameter.empty)
            )
            for name, hint in hints.items()
        ],
        return_annotation=Document,
    )

    def endpoint(*values: object, **named: object) -> Document:
        # A parameter that is left out arrives as its default; null means left out where the setting allows it.
        given = signature.bind(*values, **named).arguments
        request = given.pop("request", None)
        try:
            asked = parse_request(row.name, given)
            return document(answer(runner, asked, is_heard_by(request)), language_of(request))
        except Exception as error:
            raise gr.Error(sentence_for(error, language_of(request)), print_exception=False) from None

    endpoint.__annotations__ = {**hints, "return": Document}
    endpoint.__signature__ = signature  # type: ignore[attr-defined]
    endpoint.__name__ = row.endpoint
    return endpoint


def is_heard_by(request: gr.Request | None) -> Callable[[], bool]:
    """Whether anybody still listens to the job that this request began."""
    names = (getattr(request, "session_hash", None), LocalContext.event_id.get(None))
    return LISTENERS.watch(frozenset(name for name in names if name)) if request is not None else always


def _hint(setting: Setting) -> Mark:
    hint = TYPES[setting.type] | str if setting.words else TYPES[setting.type]
    return hint | None if setting.is_optional else hint

"""From what went wrong to what is said: the visitor's language, and the line that says it."""

from __future__ import annotations

import logging

import gradio as gr

from analyzers.common.errors import InputError
from analyzers.common.languages import Language, choose_language
from ui.texts import say

log = logging.getLogger("eccolens")


def language_of(request: gr.Request | None) -> Language:
    """The first of the visitor's languages that there is."""
    header = request.headers.get("accept-language", "") if request is not None else ""
    return choose_language(part.split(";")[0] for part in header.split(","))


def sentence_for(error: Exception, language: Language) -> str:
    """What the visitor reads. Of an error that is ours, only its kind and place are logged: never their text."""
    if isinstance(error, InputError):
        return error.say(language)
    log_fault(error)
    return say("unexpected", language)


def log_fault(error: Exception) -> None:
    """The kind and the place of an error that is ours."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
    log.error("%s at %s", type(error).__name__, where)

"""From what went wrong to what is said: the visitor's language, and the line that says it."""

from __future__ import annotations

import logging

import gradio as gr

from analyzers.common.errors import InputError
from analyzers.common.languages import Language, choose_language
from ui.texts import say

log = logging.getLogger("eccolens")


LANGUAGE_HEADER = "x-eccolens-language"
"""What the page's own script adds to each request: the language that it is shown in."""


def language_of(request: gr.Request | None) -> Language:
    """What the page is shown in, else the first of the visitor's languages that there is."""
    if request is None:
        return language_among("")
    return language_among(f"{request.headers.get(LANGUAGE_HEADER, '')},{request.headers.get('accept-language', '')}")


def language_among(header: str) -> Language:
    """The first language of an `Accept-Language` header that there is."""
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

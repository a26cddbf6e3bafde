"""What a saliency method is asked: the scalar of a token that the model has just written is not computed again."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import completed
from families import FAMILIES, tiny_model, tiny_module, tiny_tokenizer

from analyzers.common.settings import Generation, SaliencySettings
from analyzers.methods import asking
from analyzers.methods.asking import Question, ask
from analyzers.models import completion as completions
from analyzers.models.completion import Completion, continue_prompt
from analyzers.models.language_model import LanguageModel
from analyzers.models.prompt import read_prompt, resolve_token

TEXT = "the keys to the café"
WRITING = sorted(name for name, family in FAMILIES.items() if family.kind in ("causal", "seq2seq"))


def written(model: LanguageModel, **generation: Any) -> Completion:
    """As the dispatcher has it."""
    chosen = Generation(**generation)
    *_, whole = continue_prompt(model, read_prompt(model, TEXT, chosen), chosen)
    return whole


def first_question(model: LanguageModel, whole: Completion, **settings: Any) -> Question:
    contrast = resolve_token(model, settings["contrast"], "contrast") if "contrast" in settings else None
    return ask(model, whole, (whole.n_prompt,), SaliencySettings(**settings), contrast)


@pytest.mark.parametrize(
    ("family", "dtype"),
    [
        *itertools.product(WRITING, (torch.float32, torch.bfloat16)),
        *itertools.product(("gpt2", "llama", "mamba", "t5"), (torch.float64, torch.float16)),
    ],
    ids=str,
)
def test_what_is_kept_of_the_first_token_is_what_a_forward_gives_to_the_bit(family: str, dtype: torch.dtype) -> None:
    model = tiny_model(family, dtype)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            whole = written(model, generate=3)
            assert whole.first_token is not None
            for target in ("logit", "log-probability", "probability"):
                kept = first_question(model, whole, target=target).values
                computed = first_question(model, replace(whole, first_token=None), target=target).values
                assert torch.equal(kept.double(), computed.double())
    finally:
        torch.set_num_threads(before)


def test_no_forward_is_run_for_what_is_known(gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = written(gpt2, generate=2)
    evaluated: list[int] = []
    evaluate = asking.evaluate_text
    monkeypatch.setattr(asking, "evaluate_text", lambda *given: evaluated.append(1) or evaluate(*given))
    first_question(gpt2, whole)
    assert not evaluated
    first_question(gpt2, whole, contrast=" a")
    assert len(evaluated) == 1, "the logit of B was not kept"
    ask(gpt2, whole, (whole.n_prompt + 1,), SaliencySettings(), None)
    assert len(evaluated) == 2
    ask(gpt2, whole, (whole.n_prompt, whole.n_prompt + 1), SaliencySettings(), None)
    assert len(evaluated) == 3, "two tokens share one forward"
    first_question(gpt2, written(gpt2, target_text=" the"))
    assert len(evaluated) == 4, "a text that is scored was not written"


def test_a_model_that_is_changed_after_its_text_was_completed_is_asked_anew() -> None:
    model = LanguageModel(tiny_module("gpt2"), tiny_tokenizer(), "tiny-gpt2")  # its own, to be changed
    whole = completed(model, TEXT, generate=1)
    before = first_question(model, whole, target="logit").values
    with torch.no_grad():
        model.anatomy.blocks[1].mlp.c_fc.weight.mul_(3)
    after = first_question(model, whole, target="logit").values
    assert torch.equal(after, first_question(model, replace(whole, first_token=None), target="logit").values)
    assert not torch.equal(after, before)


def test_a_long_prompt_is_read_on_all_threads_and_nothing_is_kept_of_it(
    gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    read = gpt2.next_logits
    monkeypatch.setattr(gpt2, "next_logits", lambda *given: threads.append(torch.get_num_threads()) or read(*given))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert written(gpt2, generate=2).first_token is not None
        monkeypatch.setattr(completions, "SHORT_WORK", 1.0)
        assert written(gpt2, generate=2).first_token is None
    finally:
        torch.set_num_threads(before)
    assert threads == [1, 2, 2, 2], "what comes after the prompt is always read on all"

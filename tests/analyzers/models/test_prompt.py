"""What a model is asked: texts as their ids, and the words that the user names."""

from __future__ import annotations

import pytest
from conftest import completed

from analyzers.common.errors import InputError
from analyzers.common.limits import LIMITS
from analyzers.common.settings import Generation
from analyzers.models.completion import complete
from analyzers.models.language_model import LanguageModel
from analyzers.models.prompt import resolve_token
from analyzers.models.store import ModelStore
from analyzers.models.tokenizing import check_text


def test_a_continuation_to_score_is_its_own_ids_with_its_leading_space(gpt2: LanguageModel) -> None:
    scored = completed(gpt2, "the keys", target_text=" to the café")
    assert scored.ids == (*gpt2.encode("the keys"), *gpt2.encode(" to the café"))
    assert "".join({t.glyph_start: t.glyph_text for t in scored.outputs}.values()) == " to the café"
    assert completed(gpt2, "the keys", target_text="to the café").ids != scored.ids


def test_a_text_of_as_many_tokens_as_fit_is_read_and_one_more_is_not(gpt2: LanguageModel) -> None:
    assert gpt2.max_positions == 128
    assert completed(gpt2, "!" * 127, generate=1).n_positions == 128
    with pytest.raises(InputError, match="This text has 128 tokens; at most 128 are read here with 1 new ones"):
        completed(gpt2, "!" * 128, generate=1)


def test_the_cpu_limit_counts_where_the_model_could_read_more(smollm2: LanguageModel) -> None:
    assert smollm2.max_positions > LIMITS.tokens_cpu
    with pytest.raises(InputError, match=f"at most {LIMITS.tokens_cpu} are read here"):
        next(complete(smollm2, " a" * 600, Generation()))


def test_a_continuation_longer_than_the_limit_is_refused(gpt2: LanguageModel) -> None:
    with pytest.raises(InputError, match="70 tokens; at most 64"):
        completed(gpt2, "a", target_text="!" * 70)


@pytest.mark.parametrize("text", ["", "x" * 20_001, "a\ud800b", "\udfff"])
def test_a_text_that_no_tokenizer_reads_is_refused(gpt2: LanguageModel, text: str) -> None:
    with pytest.raises(InputError) as caught:
        completed(gpt2, text)
    str(caught.value).encode()


def test_a_half_character_is_named_with_its_place() -> None:
    with pytest.raises(InputError, match=r"U\+D83D, a lone surrogate\) at position 3"):
        check_text("abc\ud83d", "text")
    check_text("abc👩‍🚀\x00\u202e", "text")


@pytest.mark.parametrize("text", ["\x00", "\u202eabc", "👩‍🚀", "e" + "\u0301" * 50, "<|end|>", " ", "\n", "<b>x</b>"])
def test_odd_texts_are_read(gpt2: LanguageModel, text: str) -> None:
    assert completed(gpt2, text).n_positions > 0


def test_a_word_of_one_token_names_that_token(gpt2: LanguageModel) -> None:
    named = resolve_token(gpt2, " the", "contrast")
    assert (named.text, named.note) == (" the", None)
    assert gpt2.encode(" the") == [named.id]


def test_a_word_of_several_tokens_is_its_first_and_says_so(gpt2: LanguageModel) -> None:
    named = resolve_token(gpt2, "zebra", "contrast")
    ids = gpt2.encode("zebra")
    assert named.id == ids[0]
    assert named.note is not None
    assert named.note.key == "token_of_several"
    assert named.note.values["n"] == len(ids)


def test_the_other_spacing_is_named_where_it_is_one_token(smollm2: LanguageModel) -> None:
    named = resolve_token(smollm2, "Manchester", "contrast")
    assert named.note is not None
    assert named.note.key == "token_other_spacing"
    assert named.note.values["other"] == " Manchester"
    other = resolve_token(smollm2, " Manchester", "contrast")
    assert other.note is None
    assert other.id == named.note.values["other_id"]


@pytest.mark.parametrize("word", ["", "\ud800", "x" * 20_001])
def test_a_word_that_is_none_is_refused_by_its_parameter(gpt2: LanguageModel, word: str) -> None:
    with pytest.raises(InputError, match="contrast"):
        resolve_token(gpt2, word, "contrast")


def test_a_space_is_a_word_too(gpt2: LanguageModel) -> None:
    assert resolve_token(gpt2, " ", "contrast").text == " "


def test_an_encoders_text_is_read_as_it_is_with_its_own_spaces() -> None:
    model = ModelStore().load("minilm-l6")
    whole = completed(model, "I don’t see, café.", generate=3)
    assert [token.text for token in whole.tokens] == [
        "[CLS]",
        "i",
        " don",
        "’",
        "t",
        " see",
        ",",
        " cafe",
        ".",
        "[SEP]",
    ]
    assert whole.n_prompt == whole.n_positions
    compared = completed(model, "the", target_text=" the keys")
    assert [token.text for token in compared.tokens] == ["[CLS]", "the", "[SEP]"]
    assert [token.text for token in compared.second] == ["[CLS]", " the", " keys", "[SEP]"]

"""A word is not a text: it is read as it stands after what comes before it, and what was changed in reading is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizer_files as files
from conftest import completed
from families import tiny_module
from tokenizers import AddedToken, Tokenizer, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from analyzers.common.sentences import Sentence
from analyzers.common.settings import Generation
from analyzers.models.completion import complete
from analyzers.models.language_model import LanguageModel
from analyzers.models.prompt import resolve_token
from analyzers.models.tokenizing import load_tokenizer


def model_of(family: str, tokenizer: Tokenizer, kind: str = "causal", **settings: Any) -> LanguageModel:
    read = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **settings)
    return LanguageModel(tiny_module(family), read, "tiny", kind=kind)


@pytest.fixture(scope="module")
def llama_like() -> LanguageModel:
    """Puts a space before every text."""
    return model_of("llama", files.llama_like())


@pytest.fixture(scope="module")
def unigram() -> LanguageModel:
    return model_of("llama", files.unigram())


def names_of(model: LanguageModel, ids: list[int]) -> list[str]:
    return [str(name) for name in model.tokenizer.convert_ids_to_tokens(ids)]


def test_no_space_is_put_before_a_word_where_one_is_before_a_text(llama_like: LanguageModel) -> None:
    vocabulary = llama_like.tokenizer.get_vocab()
    assert "▁is" in vocabulary
    assert resolve_token(llama_like, " is", "watch").id == vocabulary["▁is"]
    bare = resolve_token(llama_like, "is", "watch")
    assert names_of(llama_like, llama_like.encode_word("is", "watch"))[0].startswith("i")
    assert bare.id != vocabulary["▁is"]
    assert names_of(llama_like, llama_like.encode("is", opening=False)) == ["▁is"], "as a text it has one"


@pytest.mark.parametrize("word", [" is", "is", " London", "London", " ", "  two", "42", "京", "é", "\n", "'s", "1"])
def test_a_word_and_its_spacing_are_what_its_ids_spell(llama_like: LanguageModel, word: str) -> None:
    """Independently: the ids, put after those of another word, decode to the two side by side."""
    before = llama_like.encode("so", opening=False)
    ids = llama_like.encode_word(word, "watch")
    assert llama_like.tokenizer.decode([*before, *ids], clean_up_tokenization_spaces=False) == f"so{word}"


def test_a_japanese_word_has_no_space_before_it(unigram: LanguageModel) -> None:
    vocabulary = unigram.tokenizer.get_vocab()
    assert resolve_token(unigram, "首都", "watch").id == vocabulary["首都"]
    assert unigram.encode("首都", opening=False)[0] != vocabulary["首都"], "as a text it has one"


def test_a_continuation_is_read_after_its_prompt(unigram: LanguageModel) -> None:
    prompt, target = "東京は日本の", "首都です。"
    whole = unigram.encode(prompt + target)
    found = completed(unigram, prompt, target_text=target)
    assert found.ids == tuple(whole)
    assert found.n_prompt == len(unigram.encode(prompt))


def test_a_continuation_that_runs_into_its_prompt_stands_by_itself(smollm2: LanguageModel) -> None:
    """`cabinet` + `s` is one token or other ones: the prompt keeps its ids, and `s` is `s`."""
    found = completed(smollm2, "The keys to the cabinet", target_text="s are")
    prompt = smollm2.encode("The keys to the cabinet")
    assert list(found.ids[: len(prompt)]) == prompt
    assert [token.text for token in found.tokens[len(prompt) :]] == ["s", " are"]


def test_both_spellings_are_offered_where_both_are_tokens(llama_like: LanguageModel, smollm2: LanguageModel) -> None:
    named = resolve_token(smollm2, "is", "watch")
    assert named.note is not None
    assert named.note.key == "token_other_spelling"
    assert named.note.values["other_id"] == smollm2.encode(" is")[0]
    assert named.note.values["id"] == smollm2.encode("is")[0] == named.id
    assert resolve_token(smollm2, " is", "watch").note is None, "with its space the word is what it was meant to be"


def masked(lstrip: bool) -> LanguageModel:
    """RoBERTa's kind: bytes, and a mask that takes the space before it, or does not."""
    tokenizer = files.byte_level()
    # The vocabulary is full: the mask stands in for its last token.
    state = json.loads(tokenizer.to_str())
    state["model"]["vocab"].popitem()
    state["model"]["merges"].pop()
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=lstrip, special=True)])
    return model_of("roberta", tokenizer, "masked", mask_token="<mask>", pad_token="<|end|>")


def test_what_stands_at_a_mask_has_the_space_that_the_mask_took() -> None:
    model = masked(lstrip=True)
    text = "The keys are [MASK] England."
    (spaced,) = model.encode(" in")
    (answer,) = completed(model, text, target_text="in").answers
    assert answer.id == spaced
    model = masked(lstrip=False)
    (answer,) = completed(model, text, target_text="in").answers
    assert answer.id == model.encode("in")[0] != spaced


def test_what_stands_for_a_hidden_token_has_its_space() -> None:
    model = masked(lstrip=True)
    text = "The keys are in England."
    position = model.encode(text).index(model.encode(" in")[0])
    (answer,) = completed(model, text, hide=position, target_text="is").answers
    assert answer.id == model.encode(" is")[0]


def test_a_watched_word_is_the_targets_where_the_sides_have_tokenizers_of_their_own(tmp_path: Path) -> None:
    folder = files.lay(tmp_path / "m", {"model_type": "marian"}, source_lang="en", target_lang="ja")
    files.pieces(folder / "source.spm", "unigram", vocab_size=150)
    files.pieces(folder / "target.spm", "bpe", vocab_size=150)
    from sentencepiece import SentencePieceProcessor

    sides = [SentencePieceProcessor(model_file=str(folder / f"{side}.spm")) for side in ("source", "target")]
    names = dict.fromkeys(side.IdToPiece(i) for side in sides for i in range(side.GetPieceSize()))
    (folder / "vocab.json").write_text(json.dumps({name: i for i, name in enumerate([*names, "<pad>"])}))
    model = LanguageModel(tiny_module("marian"), load_tokenizer(folder, "m"), "tiny", kind="seq2seq")
    word = next(
        piece
        for i in range(3, sides[1].GetPieceSize())
        if (piece := sides[1].IdToPiece(i)).startswith("▁") and len(piece) > 3 and sides[0].PieceToId(piece) == 0
    )
    spelled = word.replace("▁", " ")
    assert names_of(model, model.encode_word(spelled, "watch")) == [word]


def notes_of(model: LanguageModel, text: str, **settings: Any) -> tuple[Sentence, ...]:
    *_, last = complete(model, text, Generation(**settings))
    return last.notes


def test_a_closing_token_is_left_out_of_what_is_gone_on_from_and_that_is_said() -> None:
    closed, open_ = (model_of("llama", files.llama_like("<s>", closing)) for closing in ("</s>", ""))
    assert completed(closed, "London is", generate=2).ids == completed(open_, "London is", generate=2).ids
    (note,) = notes_of(closed, "London is")
    assert (note.key, note.values["tokens"]) == ("closing_left_out", "</s>")
    assert notes_of(open_, "London is") == ()


def test_an_encoders_closing_token_stays() -> None:
    tokenizer = files.word_piece()
    model = model_of("bert", tokenizer, "masked", mask_token="[MASK]", pad_token="[PAD]")
    assert model.encode("London is")[-1] == tokenizer.token_to_id("[SEP]")
    assert notes_of(model, "London is [MASK].") == ()


def test_a_second_opening_token_is_said(llama_like: LanguageModel) -> None:
    (note,) = notes_of(llama_like, "<s>London is")
    assert (note.key, note.values["token"]) == ("opening_twice", "<s>")


def test_characters_that_the_tokenizer_drops_are_named(smollm2: LanguageModel) -> None:
    (note,) = notes_of(smollm2, "a\x04b", generate=0)
    assert (note.key, note.values["characters"]) == ("characters_dropped", "⟨04⟩")
    assert notes_of(smollm2, "a b\tc\n東京 👩‍🚀 é", generate=0) == ()


def test_the_split_of_a_word_is_the_texts_own() -> None:
    """A digit at a time in front of GPT-2's split, and a word of digits is as many tokens."""
    tokenizer = files.byte_level(r"\d")
    assert isinstance(tokenizer.pre_tokenizer, pre_tokenizers.Sequence)
    model = model_of("gpt2", tokenizer)
    assert len(model.encode_word("2023", "watch")) == 4

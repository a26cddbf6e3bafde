"""Ids to text by the tokenizer's own decoder, whatever its steps: drawn glyphs, joined, are the decoded ids."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import tokenizer_files as files
import transformers
from families import tiny_module
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from analyzers.common.errors import InputError
from analyzers.common.settings import Generation
from analyzers.models.completion import complete
from analyzers.models.language_model import LanguageModel
from analyzers.models.spelling import Speller
from analyzers.models.token_reader import TokenReader

MARKS = ("▁", "Ġ", "Ċ", "##", "</w>", "\ufffd")
N_TEXTS = 100
"""Of each tokenizer; 10,000 of each were tried once."""


def fast(tokenizer: Tokenizer, **names: str) -> Any:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def japanese_unigram() -> Any:
    """llm-jp's kind: the mark of a space is taken out by a pattern, in front of a byte fall-back."""
    tokenizer = files.unigram()
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(Regex("▁"), " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return fast(tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def ended_words() -> Any:
    """The first GPT's kind: the last piece of a word is marked."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(vocab_size=384, special_tokens=["<unk>"], end_of_word_suffix="</w>")
    tokenizer.train_from_iterator(files.CORPUS, trainer)
    return fast(tokenizer, unk_token="<unk>")


def whole_words() -> Any:
    """Whole words and no decoder at all: the library puts a space between two."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(files.CORPUS, trainers.WordLevelTrainer(vocab_size=384, special_tokens=["<unk>"]))
    return fast(tokenizer, unk_token="<unk>")


def word_piece() -> Any:
    names = dict(unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", mask_token="[MASK]")
    return fast(files.word_piece(), **names)


def japanese_characters() -> Any:
    """BertJapanese's Python tokenizer, which needs no dictionary where words are cut at white space."""
    folder = Path(mkdtemp())
    characters = sorted(set("".join(files.CORPUS)) - set(" \n"))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{c}" for c in characters)]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    return transformers.BertJapaneseTokenizer(
        str(folder / "vocab.txt"), word_tokenizer_type="basic", subword_tokenizer_type="wordpiece", do_lower_case=False
    )


KINDS: dict[str, Callable[[], Any]] = {
    "byte level": lambda: fast(files.byte_level(r"\d{1,3}"), eos_token="<|end|>"),
    "Llama's": lambda: fast(files.llama_like(), unk_token="<unk>", bos_token="<s>", eos_token="</s>"),
    "Metaspace": lambda: fast(files.unigram(), unk_token="<unk>", bos_token="<s>", eos_token="</s>"),
    "a pattern for the mark": japanese_unigram,
    "ends of words": ended_words,
    "WordPiece": word_piece,
    "no decoder": whole_words,
    "Python, bytes": transformers.ByT5Tokenizer,
    "Python, characters": transformers.CanineTokenizer,
    "Python, WordPiece": japanese_characters,
}


@cache
def tokenizer_of(kind: str) -> Any:
    return KINDS[kind]()


BYTES = re.compile("⟨([0-9A-F]{2}(?: [0-9A-F]{2})*)⟩")
"""Bytes that form no character are drawn in hex; the tokenizer decodes each such run to U+FFFD."""
UNSPACED = "[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0010ffff]"
TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from("é東京は日本の👩\u200d🚀\ufe0f🏽🇯🇵\u0301 \n\t\u00a0\u3000\u202e\x00<b>ก्ㅎ▁Ġ#/w"),
        st.sampled_from([*" the keys London 2023,.?'"]),
    ),
    min_size=1,
    max_size=40,
)


def spelled(reader: TokenReader, ids: list[int]) -> str:
    """The drawn glyphs of all but special tokens."""
    tokens = reader.tokens_of(ids)
    return "".join(t.glyph_text for t in tokens if t.glyph_start == t.position and not t.special)


def check(tokenizer: Any, reader: TokenReader, text: str) -> None:
    ids = list(tokenizer(text, add_special_tokens=False).input_ids)
    said = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    drawn = spelled(reader, ids)
    if reader.is_word_piece:  # a vocabulary that does not know white space: none between characters of such a script
        said = re.sub(f"(?<={UNSPACED}) (?={UNSPACED})", "", said)
    assert BYTES.sub(lambda found: bytes.fromhex(found[1]).decode(errors="replace"), drawn) == said
    normal = text + unicodedata.normalize("NFKC", text) + unicodedata.normalize("NFKC", text.lower())
    assert not [mark for mark in MARKS if mark in drawn and mark not in normal]


@pytest.mark.parametrize("kind", KINDS)
def test_the_glyphs_joined_are_the_decoded_ids(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    reader = TokenReader(tokenizer)
    for text in (
        "The keys to the cabinet, and 2023.",
        "東京は日本の首都です。",
        "  two\n\nlines\tand a\u3000gap ",
        *files.CORPUS[:7],
    ):
        check(tokenizer, reader, text)


@pytest.mark.parametrize("kind", KINDS)
def test_the_glyphs_of_any_text_joined_are_the_decoded_ids(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    reader = TokenReader(tokenizer)

    @settings(max_examples=N_TEXTS, deadline=None)
    @given(text=TEXTS)
    def law(text: str) -> None:
        check(tokenizer, reader, text)

    law()


def test_the_glyphs_of_any_text_joined_are_what_the_bundled_model_decodes(smollm2: LanguageModel) -> None:
    @settings(max_examples=N_TEXTS, deadline=None)
    @given(text=TEXTS)
    def law(text: str) -> None:
        if not smollm2.tokenizer(text).input_ids:  # refused only where the vocabulary has none of it
            assert set(text) <= set(smollm2.find_dropped(text))
            with pytest.raises(InputError, match="becomes no token at all"):
                smollm2.encode(text)
            return
        ids = smollm2.encode(text)
        assert spelled(smollm2.reader, ids) == text or smollm2.find_dropped(text)
        check(smollm2.tokenizer, smollm2.reader, text)

    law()


@pytest.mark.parametrize(
    ("kind", "pieces", "first", "inside"),
    [
        ("a pattern for the mark", ["▁", "東京"], "", " "),
        ("Metaspace", ["▁", "東京"], "", " "),
        ("Llama's", ["▁the", "▁the"], "the", " the"),
    ],
)
def test_a_mark_of_a_space_is_a_space_inside_a_text_and_nothing_at_its_start(
    kind: str, pieces: list[str], first: str, inside: str
) -> None:
    tokenizer = tokenizer_of(kind)
    ids = tokenizer.convert_tokens_to_ids(pieces)
    reader = TokenReader(tokenizer)
    assert reader.tokens_of(ids)[0].text == first
    assert reader.text_of(ids[0]) == inside


def test_a_word_that_is_marked_at_its_end_has_its_space_there() -> None:
    tokenizer = tokenizer_of("ends of words")
    tokens = TokenReader(tokenizer).tokens_of(tokenizer("The keys to London", add_special_tokens=False).input_ids)
    assert "".join(token.text for token in tokens) == "The keys to London"
    assert not any(token.text.startswith(" ") for token in tokens)
    assert tokens[-1].text[-1:] == "n"


def test_bytes_of_a_python_tokenizer_form_characters() -> None:
    tokens = TokenReader(tokenizer_of("Python, bytes")).tokens_of(tokenizer_of("Python, bytes")("é!").input_ids)
    assert [token.text for token in tokens] == ["⟨C3⟩", "⟨A9⟩", "!", "</s>"]
    assert [token.glyph_text for token in tokens[:2]] == ["é", "é"]


def test_a_long_text_is_read_in_a_moment() -> None:
    import time

    for kind in KINDS:
        tokenizer = tokenizer_of(kind)
        ids = list(tokenizer("The keys to London. " * 400, add_special_tokens=False).input_ids)[:1000]
        reader = TokenReader(tokenizer)
        started = time.perf_counter()
        reader.tokens_of(ids)
        assert time.perf_counter() - started < 1.5, kind  # 0.01 s, and 0.1 s of a Python tokenizer


@pytest.mark.parametrize("kind", ["WordPiece", "Python, WordPiece"])
def test_no_space_is_drawn_that_the_text_does_not_have_nor_before_what_was_written_after_it(kind: str) -> None:
    model = LanguageModel(tiny_module("gpt2"), tokenizer_of(kind), "tiny")
    reader = model.reader
    text = "東京は 日本 the keys"
    *_, whole = complete(model, text, Generation(generate=0))
    written = model.tokenizer.convert_tokens_to_ids(["京", "は", "the" if kind == "WordPiece" else "t"])
    ids = [*whole.ids, *written]
    tokens = model.tokens_of(ids, text=text)
    drawn = "".join(token.text for token in tokens if not token.special)
    assert drawn.startswith(text)
    assert drawn.removeprefix(text).lstrip() == ("京は the" if kind == "WordPiece" else "京は t")
    assert reader.is_word_piece


def test_each_step_of_a_decoder_is_the_librarys_own() -> None:
    vocabulary = {"▁a": 0, "b▁": 1, "xx": 2, "<0xE6>": 3, "<0x9D>": 4, "<0xB1>": 5}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(Regex("▁+$"), "!"), decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    ids = [0, 1, 2, 3, 4, 5, 0]
    assert b"".join(Speller(fast(tokenizer)).spell(ids)).decode() == tokenizer.decode(ids) == " ab!xx東 a"

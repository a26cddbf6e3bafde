"""Ids to characters: byte-level, SentencePiece-like and WordPiece vocabularies."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import transformers
from conftest import TEXT
from families import tiny_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE, WordPiece

from analyzers.common.tokens import Token, decode_utf8, show_whitespace, word_numbers
from analyzers.models.spelling import _BYTE_OF, Speller
from analyzers.models.token_reader import TokenReader, _glyph_runs


@cache
def reader() -> TokenReader:
    return TokenReader(tiny_tokenizer())


def ids_of(text: str) -> list[int]:
    return list(tiny_tokenizer()(text).input_ids)


def texts(text: str) -> list[str]:
    return [token.text for token in reader().tokens_of(ids_of(text))]


def byte_ids(raw: bytes) -> list[int]:
    """One id per byte: no merges."""
    spelling = {byte: character for character, byte in _BYTE_OF.items()}
    return [tiny_tokenizer().convert_tokens_to_ids(spelling[byte]) for byte in raw]


def test_the_alphabet_has_a_character_of_its_own_for_each_byte() -> None:
    assert sorted(_BYTE_OF.values()) == list(range(256))
    assert (_BYTE_OF["Ġ"], _BYTE_OF["Ċ"], _BYTE_OF["A"], _BYTE_OF["Ã"]) == (0x20, 0x0A, 0x41, 0xC3)
    assert set(_BYTE_OF) == set(pre_tokenizers.ByteLevel.alphabet())


def test_an_accented_word_is_never_its_vocabulary_string() -> None:
    assert "".join(texts("café naïve")) == "café naïve"
    assert "".join(token.glyph_text for token in reader().tokens_of(ids_of(" café"))) == " café"
    assert not any("Ã" in text or "Ġ" in text for text in texts(TEXT))


def test_a_split_accent_shows_bytes_in_its_parts_and_the_letter_across_them() -> None:
    tokens = reader().tokens_of(byte_ids("é!".encode()))
    assert [token.text for token in tokens] == ["⟨C3⟩", "⟨A9⟩", "!"]
    assert [token.glyph_text for token in tokens] == ["é", "é", "!"]
    assert [token.glyph_start for token in tokens] == [0, 0, 2]


def test_a_split_japanese_character_is_one_glyph() -> None:
    tokens = reader().tokens_of(byte_ids("東京".encode()))
    assert [token.text for token in tokens[:3]] == ["⟨E6⟩", "⟨9D⟩", "⟨B1⟩"]
    assert [token.glyph_text for token in tokens] == ["東"] * 3 + ["京"] * 3
    assert [token.glyph_start for token in tokens] == [0, 0, 0, 3, 3, 3]


@pytest.mark.parametrize("picture", ["👩‍🚀", "🇯🇵", "👍🏽", "❤️", "é", "👨‍👩‍👧"[:3]])
def test_a_joined_picture_is_one_glyph(picture: str) -> None:
    raw = picture.encode()
    tokens = reader().tokens_of(byte_ids(raw))
    assert len(raw) <= 16
    assert {token.glyph_text for token in tokens} == {picture}
    assert {token.glyph_start for token in tokens} == {0}


def test_two_flags_are_two_glyphs() -> None:
    tokens = reader().tokens_of(byte_ids("🇯🇵🇫🇷".encode()))
    assert [token.glyph_text for token in tokens] == ["🇯🇵"] * 8 + ["🇫🇷"] * 8


def test_a_joined_run_of_marks_is_bounded() -> None:
    tokens = reader().tokens_of(byte_ids(("a" + "\u0301" * 100).encode()))
    sizes = [sum(t.glyph_start == start for t in tokens) for start in {t.glyph_start for t in tokens}]
    assert max(sizes) <= 16


def test_a_lone_part_of_a_character_is_shown_as_bytes() -> None:
    tokens = reader().tokens_of([*byte_ids(b"\xe6\x9d"), *byte_ids(b"a")])
    assert [token.text for token in tokens] == ["⟨E6⟩", "⟨9D⟩", "a"]
    assert [token.glyph_start for token in tokens] == [0, 1, 2]
    assert [token.text for token in reader().tokens_of(byte_ids(b"\xff"))] == ["⟨FF⟩"]


@pytest.mark.parametrize(
    ("pieces", "glyphs"),
    [
        ([b"\xf3\xa4", b"\xa8", b"\x8e\xb7", b"a"], ["\U000e4a0e⟨B7⟩"] * 3 + ["a"]),
        ([b"\xe6\x9d", b"\xb1\xe4", b"a"], ["東⟨E4⟩"] * 2 + ["a"]),
        ([b"\xe6\x9d", b"\xb1\xe4", b"\xba\xac"], ["東京"] * 3),
        ([b"\xe6", b"\xe6\x9d", b"\xb1"], ["⟨E6⟩", "東", "東"]),
        ([b"\xef\xbf", b"\xbd"], ["\ufffd"] * 2),
        ([b"\x9d", b"\x9d"], ["⟨9D⟩", "⟨9D⟩"]),
    ],
)
def test_a_token_that_ends_one_character_and_spoils_the_next_is_of_the_first(
    pieces: list[bytes], glyphs: list[str]
) -> None:
    runs = list(_glyph_runs(pieces))
    drawn = [(i, decode_utf8(b"".join(pieces[j] for j in run))) for run in runs for i in run]
    assert [text for _, text in sorted(drawn)] == glyphs


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b" \xe6\x9d", " ⟨E6 9D⟩"),
        (b"\xe6\x9d\xb1", "東"),
        (b"\xb1\xb1a", "⟨B1 B1⟩a"),
        (b"a\xffb\xc3", "a⟨FF⟩b⟨C3⟩"),
        (b"", ""),
        (b"\xed\xa0\x80", "⟨ED A0 80⟩"),
    ],
)
def test_bytes_that_are_no_text_are_shown_in_hex(raw: bytes, shown: str) -> None:
    assert decode_utf8(raw) == shown


def test_a_special_token_is_a_chip_with_its_own_name() -> None:
    tokens = reader().tokens_of(ids_of("a<|end|>b"))
    assert [(token.text, token.special) for token in tokens] == [("a", False), ("<|end|>", True), ("b", False)]


def test_a_special_token_stands_alone_even_before_a_combining_mark() -> None:
    tokens = reader().tokens_of([0, *byte_ids("\u0301".encode())])
    assert tokens[0].glyph_text == "<|end|>"
    assert all(token.glyph_start != 0 for token in tokens[1:])


def test_a_special_token_cuts_a_character_in_two() -> None:
    first, *rest = byte_ids("東".encode())
    assert [token.text for token in reader().tokens_of([first, 0, *rest])] == ["⟨E6⟩", "<|end|>", "⟨9D⟩", "⟨B1⟩"]


def test_a_row_beyond_the_vocabulary_is_named_not_a_crash() -> None:
    (token,) = reader().tokens_of([100_000])
    assert token.text == "⟨unused 100000⟩"


def test_positions_follow_the_first_one() -> None:
    tokens = reader().tokens_of(byte_ids("é".encode()), first_position=7)
    assert [(token.position, token.glyph_start) for token in tokens] == [(7, 7), (8, 7)]


def test_the_same_word_twice_is_two_tokens() -> None:
    tokens = reader().tokens_of(ids_of(" the the"))
    assert [token.text for token in tokens] == [" the", " the"]
    assert tokens[0] != tokens[1]


def test_white_space_and_control_characters_can_be_seen() -> None:
    assert show_whitespace(" a\n\t\u00a0\r\u3000") == "␣a↵⇥⍽␍□"
    assert show_whitespace("\x00\u202e\u200b") == "⟨00⟩⟨202E⟩⟨200B⟩"
    assert show_whitespace("👩‍🚀 ❤️ <b>é") == "👩‍🚀␣❤️␣<b>é"
    assert show_whitespace(texts("a\u00a0b")[1]) in ("⟨C2⟩", "⍽", "⍽b")


@pytest.mark.parametrize(
    ("pieces", "numbers"),
    [
        (["He", "ath", "row", " airport"], (0, 0, 0, 1)),
        ([" the", " the"], (0, 1)),
        (["don", "'t", " stop", "."], (0, 0, 1, 2)),
        (["Lon", "don", ",", " UK"], (0, 0, 1, 2)),
        (["東", "京"], (0, 1)),
        (["a", "<|end|>", "b"], (0, 1, 2)),
        (["caf", "é"], (0, 0)),
        (["a", "\n", "b"], (0, 1, 2)),
    ],
)
def test_words_are_counted_from_white_space(pieces: list[str], numbers: tuple[int, ...]) -> None:
    tokens = [Token(p, p, text, text == "<|end|>", p, text) for p, text in enumerate(pieces)]
    assert word_numbers(tokens) == numbers


def test_the_parts_of_one_glyph_are_one_word() -> None:
    assert word_numbers(reader().tokens_of(byte_ids("東 京".encode()))) == (0, 0, 0, 1, 2, 2, 2)


ODD = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from("é東👩\u200d🚀\ufe0f🏽🇯🇵\u0301 \n\t\u00a0\u202e\x00<b>ก"),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(text=ODD)
def test_the_bytes_of_all_tokens_are_the_bytes_of_the_text(text: str) -> None:
    ids = ids_of(text)
    assert b"".join(Speller(tiny_tokenizer()).spell(ids)) == text.encode()


@settings(max_examples=200, deadline=None)
@given(text=ODD)
def test_glyphs_spell_the_text_and_part_the_positions(text: str) -> None:
    tokens = reader().tokens_of(ids_of(text))
    assert [token.position for token in tokens] == list(range(len(tokens)))
    starts = [token.glyph_start for token in tokens]
    assert starts == sorted(starts)
    assert all(tokens[start].glyph_start == start for start in starts)
    assert "".join(tokens[start].glyph_text for start in sorted(set(starts))) == text
    assert "\ufffd" not in "".join(token.text for token in tokens) or "\ufffd" in text


@settings(max_examples=100, deadline=None)
@given(ids=st.lists(st.integers(0, 400), max_size=20))
def test_any_ids_at_all_are_read(ids: list[int]) -> None:
    tokens = reader().tokens_of(ids)
    assert [token.id for token in tokens] == ids
    assert len(word_numbers(tokens)) == len(ids)


def fast(tokenizer: Tokenizer, **names: str) -> Any:
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def sentencepiece_like(decoder: Any) -> Any:
    """Llama's shape: ▁ for a space, bytes for what has no piece."""
    words = ["▁the", "▁city", "▁caf", "é", "s", "▁"]
    vocab = {"<unk>": 0, "<s>": 1} | {f"<0x{byte:02X}>": 2 + byte for byte in range(256)}
    vocab |= {word: 258 + i for i, word in enumerate(words)}
    tokenizer = Tokenizer(BPE(vocab, [], unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoder
    return fast(tokenizer, bos_token="<s>", unk_token="<unk>")


LLAMA_DECODER = decoders.Sequence(
    [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
)


def test_a_sentencepiece_vocabulary_loses_its_marks_and_joins_its_bytes() -> None:
    tokenizer = sentencepiece_like(LLAMA_DECODER)
    pieces = ["<s>", "▁the", "▁caf", "é", "s", "<0xE6>", "<0x9D>", "<0xB1>", "▁the"]
    tokens = TokenReader(tokenizer).tokens_of(tokenizer.convert_tokens_to_ids(pieces))
    assert [token.text for token in tokens] == ["<s>", "the", " caf", "é", "s", "⟨E6⟩", "⟨9D⟩", "⟨B1⟩", " the"]
    assert [token.glyph_text for token in tokens[5:8]] == ["東"] * 3
    assert tokens[0].special


@pytest.mark.parametrize(("scheme", "first"), [("always", "the"), ("first", "the"), ("never", " the")])
def test_a_metaspace_vocabulary_keeps_a_first_space_only_where_it_was_typed(scheme: Any, first: str) -> None:
    tokenizer = sentencepiece_like(decoders.Metaspace("▁", prepend_scheme=scheme))
    tokens = TokenReader(tokenizer).tokens_of(tokenizer.convert_tokens_to_ids(["▁the", "▁city", "s"]))
    assert [token.text for token in tokens] == [first, " city", "s"]


def test_a_wordpiece_vocabulary_loses_its_hashes_and_gains_its_spaces() -> None:
    vocab = {word: i for i, word in enumerate(["[UNK]", "[CLS]", "[SEP]", "the", "key", "##s", "##"])}
    tokenizer = Tokenizer(WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    wrapped = fast(tokenizer, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")
    ids = wrapped.convert_tokens_to_ids(["[CLS]", "the", "key", "##s", "the", "[SEP]"])
    tokens = TokenReader(wrapped).tokens_of(ids)
    assert [token.text for token in tokens] == ["[CLS]", "the", " key", "s", " the", "[SEP]"]
    assert word_numbers(tokens) == (0, 1, 2, 2, 3, 4)


def test_the_real_tokenizers_text_is_given_back_whole(smollm2: Any) -> None:
    text = TEXT + " 私は東京に住んでいます。\u00a0\n\t"
    tokens = smollm2.reader.tokens_of(smollm2.encode(text))
    starts = sorted({token.glyph_start for token in tokens})
    assert "".join(tokens[start].glyph_text for start in starts) == text
    assert any(token.text.startswith("⟨") for token in tokens), "an emoji or kanji is split in this vocabulary"

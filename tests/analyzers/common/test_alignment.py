"""Two tokenizations of one text: cases worked by hand, a law over random cuts, and true tokenizers."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import pytest
from families import tiny_model
from hypothesis import given
from hypothesis import strategies as st

from analyzers.common.alignment import Alignment, align_tokens
from analyzers.common.tokens import Token
from analyzers.models.language_model import LanguageModel


def cut(*pieces: str, special: Sequence[str] = (), side: str | None = None, start: int = 0) -> tuple[Token, ...]:
    return tuple(
        Token(position, position, piece, piece in special, position, piece, side)
        for position, piece in enumerate(pieces, start)
    )


def segments(alignment: Alignment) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    return [(one.text, one.first, one.second) for one in alignment.segments]


def test_segments_end_where_both_do_and_counterparts_begin_at_the_same_character() -> None:
    found = align_tokens(cut("He", "ath", "row", " is"), cut("Heath", "ro", "w is"))
    assert segments(found) == [("Heath", (0, 1), (0,)), ("row is", (2, 3), (1, 2))]
    assert found.counterparts == ((0, True), (0, False), (1, True), (2, False), (3, True))


def test_what_only_one_puts_around_a_text_stands_alone() -> None:
    first = cut("<s>", "He", "ath", " is", special=["<s>"])
    second = cut("Heath", " is", "</s>", special=["</s>"])
    found = align_tokens(first, second)
    assert segments(found) == [
        ("<s>", (0,), ()),
        ("Heath", (1, 2), (0,)),
        (" is", (3,), (1,)),
        ("</s>", (), (2,)),
    ]
    assert found.counterparts == ((0, False), (0, True), (0, False), (1, True), (3, True))


def test_white_space_counts_where_only_the_ends_differ() -> None:
    found = align_tokens(cut("the", " keys", "⟨BF⟩"), cut("the", " ", "keys"))
    assert segments(found) == [("the", (0,), (0,)), (" keys", (1,), (1, 2)), ("⟨BF⟩", (2,), ())]
    assert found.counterparts == ((0, True), (1, True), (3, False), (3, True))


def test_masks_are_each_others_counterparts_though_they_have_no_characters() -> None:
    first = cut("[CLS]", "the", "[MASK]", "[MASK]", " are", "[SEP]", special=["[CLS]", "[MASK]", "[SEP]"])
    second = cut("<s>", "th", "e", "<mask>", "<mask>", " are", "</s>", special=["<s>", "<mask>", "</s>"])
    found = align_tokens(first, second)
    assert [at for at, _ in found.counterparts] == [0, 1, 3, 4, 5, 6, 7]
    assert all(begins_alike for _, begins_alike in found.counterparts)


def test_case_accents_and_white_space_that_a_vocabulary_does_not_know() -> None:
    found = align_tokens(cut("The", " Café", "\n", " is"), cut("the", " ca", "fe", " is"))
    assert segments(found) == [("The", (0,), (0,)), (" Café", (1,), (1, 2)), ("\n", (2,), ()), (" is", (3,), (3,))]
    assert found.counterparts == ((0, True), (1, True), (3, False), (3, True), (4, True))


def test_white_space_that_is_not_compared_goes_with_white_space_and_special_tokens_with_special_ones() -> None:
    found = align_tokens(cut("The", "\n", "[SEP]", special=["[SEP]"]), cut("the", "</s>", "\t", special=["</s>"]))
    assert segments(found) == [("The", (0,), (0,)), ("\n", (1,), (2,)), ("[SEP]", (2,), (1,))]


def test_a_token_without_characters_stands_for_what_the_other_reads_there() -> None:
    found = align_tokens(cut("a ", "[UNK]", " b", special=["[UNK]"]), cut("a ", "猫", " b"))
    assert segments(found) == [("a ", (0,), (0,)), ("[UNK]", (1,), (1,)), (" b", (2,), (2,))]
    assert found.counterparts == ((0, True), (1, True), (2, True), (3, True))


def test_what_differs_is_one_stretch_between_what_is_alike() -> None:
    found = align_tokens(cut("one", " two", " three", " four"), cut("one", " 2", " and", " four"))
    assert segments(found) == [("one", (0,), (0,)), (" two three", (1, 2), (1, 2)), (" four", (3,), (3,))]
    assert found.counterparts[3] == (3, True)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((), ("a",), [("a", (), (0,))]),
        (("a",), (), [("a", (0,), ())]),
        (("ab",), ("ab", "c"), [("ab", (0,), (0,)), ("c", (), (1,))]),
        (("ab", "c"), ("ab",), [("ab", (0,), (0,)), ("c", (1,), ())]),
        (("ab",), ("abc",), [("ab", (0,), (0,))]),
        (("x",), ("y", "z"), [("x", (0,), (0, 1))]),
    ],
)
def test_texts_that_end_otherwise(
    first: tuple[str, ...], second: tuple[str, ...], expected: list[tuple[str, tuple[int, ...], tuple[int, ...]]]
) -> None:
    assert segments(align_tokens(cut(*first), cut(*second))) == expected


def test_source_is_aligned_with_source_and_target_with_target() -> None:
    def read(*pieces: tuple[str, ...]) -> tuple[Token, ...]:
        source = cut(*pieces[0], side="source")
        return source + cut(*pieces[1], side="target", start=len(source))

    found = align_tokens(read(("a", "b"), ("a", "b")), read(("ab",), ("a", "b")))
    assert segments(found) == [("ab", (0, 1), (0,)), ("a", (2,), (1,)), ("b", (3,), (2,))]


@given(text=st.text("abé猫 \n", min_size=1, max_size=30), data=st.data())
def test_law_of_any_two_cuts_of_one_text(text: str, data: st.DataObject) -> None:
    cuts = [
        sorted({0, len(text), *data.draw(st.lists(st.integers(0, len(text)), max_size=12), label="cuts")})
        for _ in range(2)
    ]
    first, second = (cut(*(text[a:b] for a, b in itertools.pairwise(places))) for places in cuts)
    found = align_tokens(first, second)
    assert "".join(one.text for one in found.segments) == text
    for side, tokens in (("first", first), ("second", second)):
        assert [p for one in found.segments for p in getattr(one, side)] == list(range(len(tokens)))
    ends = list(itertools.accumulate(len(one.text) for one in found.segments))
    assert ends == sorted(set(cuts[0][1:]) & set(cuts[1][1:]))
    for position, (there, begins_alike) in enumerate(found.counterparts[:-1]):
        start = cuts[0][position]
        assert cuts[1][there] <= start < cuts[1][there + 1]
        assert begins_alike == (start in cuts[1])


def test_a_tokenization_beside_itself_is_one_to_one() -> None:
    model = tiny_model("gpt2")
    tokens = model.tokens_of(model.encode("the café: 東京 👩‍🚀 keys"))
    found = align_tokens(tokens, tokens)
    assert any(token.glyph_start != token.position for token in tokens)
    assert found.counterparts == tuple((position, True) for position in range(len(tokens) + 1))
    assert all(one.first == one.second for one in found.segments)


def test_parts_of_characters_have_no_ends_of_their_own(smollm2: LanguageModel) -> None:
    text = "東京は café 👩‍🚀 です。"
    first, second = (model.tokens_of(model.encode(text)) for model in (smollm2, tiny_model("gpt2")))
    assert len(first) != len(second)
    found = align_tokens(first, second)
    assert "".join(one.text for one in found.segments) == text
    for one in found.segments:
        for tokens, places in ((first, one.first), (second, one.second)):
            spelled = "".join(tokens[p].glyph_text for p in places if tokens[p].glyph_start == p)
            assert spelled == one.text


def test_a_special_token_that_is_written_in_the_text_is_its_letters_for_who_reads_them() -> None:
    text = "<|im_start|>user\nHello there<|im_end|>\nx"
    first = cut(
        *("<|im_start|>", "user", "\n", "Hello", " there", "<|im_end|>", "\n", "x"),
        special=["<|im_start|>", "<|im_end|>"],
    )
    second = cut(*text)
    found = align_tokens(first, second)
    assert [one.text for one in found.segments] == [token.text for token in first]
    starts = [0, 12, 16, 17, 22, 28, 38, 39, 40]
    assert found.counterparts == tuple((start, True) for start in starts)
    back = align_tokens(second, first)
    assert [(one.second, one.first) for one in back.segments] == [(one.first, one.second) for one in found.segments]


def test_what_differs_in_several_places_leaves_what_is_alike_between_them() -> None:
    first = cut("[CLS]", "the ", "[UNK]", " and the ", "[UNK]", " sat", "[SEP]", special=["[CLS]", "[UNK]", "[SEP]"])
    second = cut("the ", "猫", " and", " the ", "犬", " sat")
    found = align_tokens(first, second)
    assert segments(found) == [
        ("[CLS]", (0,), ()),
        ("the ", (1,), (0,)),
        ("[UNK]", (2,), (1,)),
        (" and the ", (3,), (2, 3)),
        ("[UNK]", (4,), (4,)),
        (" sat", (5,), (5,)),
        ("[SEP]", (6,), ()),
    ]


SPECIAL = ("<s>", "</s>", "<mask>")


@given(
    pieces=st.lists(st.sampled_from([*SPECIAL, "a", "bc", " ", "猫", "É", "e"]), min_size=1, max_size=12),
    known=st.tuples(st.sets(st.sampled_from(SPECIAL)), st.sets(st.sampled_from(SPECIAL))),
)
def test_law_of_texts_whose_special_tokens_only_one_knows(pieces: list[str], known: tuple[set[str], set[str]]) -> None:
    sides = []
    for special in known:
        read = [part for piece in pieces for part in ([piece] if piece in special else list(piece))]
        sides.append(cut(*read, special=sorted(special)))
    found = align_tokens(*sides)
    for side, tokens in zip(("first", "second"), sides, strict=True):
        assert [p for one in found.segments for p in getattr(one, side)] == list(range(len(tokens)))
    there = [at for at, _ in found.counterparts]
    assert there == sorted(there)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a" * 20_000, "a" * 19_999 + "b"),
        ("A" * 20_000, "a" * 20_000),
        ("ab" * 10_000, "ba" * 9_000),
        ("ab" * 999, "ba" * 999),
    ],
    ids=["end", "case", "shifted", "short"],
)
def test_long_texts_that_repeat_themselves_take_no_time(one: str, other: str) -> None:
    first, second = (cut(*(text[i : i + 40] for i in range(0, len(text), 40))) for text in (one, other))
    started = time.perf_counter()
    found = align_tokens(first, second)
    assert time.perf_counter() - started < 5
    assert [p for segment in found.segments for p in segment.first] == list(range(len(first)))
    assert [p for segment in found.segments for p in segment.second] == list(range(len(second)))

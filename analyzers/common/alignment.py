"""Two tokenizations of one text, aligned by its characters."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from analyzers.common.tokens import Token

MOST_COMPARED = 4_000_000
"""Pairs of characters that are looked at where two texts differ, about a second; what is larger is one stretch."""
LEAST_ALIKE = 3
"""Characters of a stretch inside of what differs that is no accident."""


@dataclass(frozen=True)
class Segment:
    """The least stretch of a text whose ends both tokenizations have."""

    text: str
    """As the first has it, or the second where the first has nothing."""
    first: tuple[int, ...]
    """Positions; empty for what the other alone has, such as a token that opens every text."""
    second: tuple[int, ...]


@dataclass(frozen=True)
class Alignment:
    """How the tokens of two texts lie beside each other."""

    segments: tuple[Segment, ...]
    """In the order of the text; every token is in one."""
    counterparts: tuple[tuple[int, bool], ...]
    """Per position of the first: that of the token of the second which begins at the same character, or is the same part of
    it, and True; else of the one that holds that character, and False. After the last token comes one that was not written
    yet."""


@dataclass(frozen=True)
class _Run:
    """Tokens that spell whole characters together, and where these lie in what is compared."""

    positions: tuple[int, ...]
    text: str
    special: bool
    start: int
    end: int
    """Counted in half characters: odd inside of what the two texts do not have alike."""
    is_empty: bool
    """Whether it has no characters: a special token, or white space where that is not compared."""


@lru_cache(maxsize=32)  # a picture of two models asks for the same pair several times
def align_tokens(first: tuple[Token, ...], second: tuple[Token, ...]) -> Alignment:
    """Source with source and target with target, where there are two sides.

    Characters are compared as they are; where more is alike so, without white space, case and accents, which some
    vocabularies do not know. A special token that is written in the text counts as its letters where the other reads these.
    What differs even so is a stretch of its own, between what is alike before it and after it.
    """
    segments: list[Segment] = []
    counterparts = {len(first): (len(second), True)}
    for side in dict.fromkeys(token.side for token in (*first, *second)):
        on_side = ([token for token in tokens if token.side == side] for tokens in (first, second))
        ours, theirs = _place_runs(*map(_split_into_runs, on_side))
        pairs = _pair_empty_runs(ours, theirs)
        segments += _find_segments(ours, theirs, pairs)
        partner = {one: other for one, other in pairs if one is not None}
        solid = [run for run in theirs if not run.is_empty]
        starts = [run.start for run in solid]
        for run in ours:
            there, begins_alike = _find_counterpart(run, partner.get(run), solid, starts)
            if there is None:
                counterparts |= dict.fromkeys(run.positions, (len(second), False))
            elif begins_alike and there.end == run.end and len(there.positions) == len(run.positions):
                counterparts |= {one: (other, True) for one, other in zip(run.positions, there.positions, strict=True)}
            else:
                at = there.positions[0]
                counterparts |= {p: (at, begins_alike and p == run.positions[0]) for p in run.positions}
    return Alignment(tuple(segments), tuple(counterparts[p] for p in range(len(first) + 1)))


_Pairs = list[tuple[_Run | None, _Run | None]]
_Pieces = list[tuple[tuple[int, ...], str, bool]]


def _split_into_runs(tokens: Sequence[Token]) -> _Pieces:
    """Positions, characters, and whether it is a special token."""
    runs: dict[int, list[Token]] = defaultdict(list)
    for token in tokens:
        runs[token.glyph_start].append(token)
    return [
        (
            tuple(token.position for token in run),
            run[0].glyph_text if not run[0].special else run[0].text,
            run[0].special,
        )
        for run in runs.values()
    ]


def _place_runs(first: _Pieces, second: _Pieces) -> tuple[list[_Run], list[_Run]]:
    """Both on one scale, on which what differs has as much room as the longer side of it."""
    exact = [_characters(first, second), _characters(second, first)]
    simple = [[_simplify(text) for text in side] for side in exact]
    # As they are, unless more of them is alike without what some vocabularies do not know.
    texts, blocks = max(((texts, _match(*map("".join, texts))) for texts in (exact, simple)), key=_share_alike)
    return _lay(first, texts[0], [(a, b, size) for a, b, size in blocks]), _lay(
        second, texts[1], [(b, a, size) for a, b, size in blocks]
    )


def _characters(pieces: _Pieces, other: _Pieces) -> list[str]:
    """What is compared of each run. A special token has no characters, unless it is written in the text: where the other
    side reads it letter by letter."""
    plain = "".join(text for _, text, special in other if not special)
    return [text if not special or text in plain else "" for _, text, special in pieces]


def _match(one: str, other: str) -> list[tuple[int, int, int]]:
    """Stretches that two texts have alike, in order: where they begin in each, and how many characters they are. An empty one
    stands at the end."""
    before = _count_alike(one, other)
    after = _count_alike(one[before:][::-1], other[before:][::-1])
    inner = [text[before : len(text) - after] for text in (one, other)]
    blocks = [(0, 0, before)]
    if 0 < len(inner[0]) * len(inner[1]) <= MOST_COMPARED:
        found = SequenceMatcher(None, inner[0], inner[1], autojunk=False).get_matching_blocks()
        blocks += [(before + a, before + b, n) for a, b, n in found if n >= LEAST_ALIKE]
    blocks.append((len(one) - after, len(other) - after, after))
    return [block for block in blocks if block[2]] + [(len(one), len(other), 0)]


def _count_alike(one: str, other: str) -> int:
    """Characters at the beginning that both have."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _share_alike(compared: tuple[list[list[str]], list[tuple[int, int, int]]]) -> float:
    texts, blocks = compared
    longest = max(sum(map(len, side)) for side in texts)
    return sum(size for _, _, size in blocks) / longest if longest else 1.0


def _lay(pieces: _Pieces, texts: list[str], blocks: list[tuple[int, int, int]]) -> list[_Run]:
    """The runs of one text on the scale of both; `blocks` begin with the place in this one."""
    scale = _Scale(blocks)
    runs, place = [], 0
    for (positions, text, special), characters in zip(pieces, texts, strict=True):
        end = place + len(characters)
        start_mark, end_mark = scale.mark(place, is_start=bool(characters)), scale.mark(end, is_start=False)
        # A token without characters stands for what the other text has there.
        if not characters:
            end_mark = scale.mark(place, is_start=True)
        runs.append(_Run(positions, text, special, start_mark, end_mark, start_mark == end_mark))
        place = end
    return runs


class _Scale:
    """Where the characters of one text lie on the scale of both, counted in half characters."""

    def __init__(self, blocks: list[tuple[int, int, int]]) -> None:
        self._ends: list[int] = []
        """Per gap between two blocks where it ends in this text, and the block begins."""
        self._gaps: list[tuple[int, int, int, int]] = []
        """Per gap where it begins and ends in this text, and on the scale."""
        here = there = at = 0
        for begins, other_begins, size in blocks:
            room = max(begins - here, other_begins - there)
            self._gaps.append((here, begins, at, at + room))
            self._ends.append(begins)
            here, there, at = begins + size, other_begins + size, at + room + size

    def mark(self, place: int, *, is_start: bool) -> int:
        """Of a border between characters: odd inside of what the texts do not have alike. Where this text has nothing and the
        other has something, an end is before that and a start after it."""
        i = bisect_left(self._ends, place)
        if i < len(self._ends) and self._gaps[i][0] <= place:
            begins, ends, from_, to = self._gaps[i]
            if begins == ends:
                return 2 * (to if is_start else from_)
            if place == begins:
                return 2 * from_
            if place == ends:
                return 2 * to
            return 2 * (from_ + (to - from_) * (place - begins) // (ends - begins)) + 1
        _, ends, _, to = self._gaps[i - 1]
        return 2 * (to + place - ends)


def _simplify(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if not c.isspace() and not unicodedata.combining(c))


def _pair_empty_runs(ours: list[_Run], theirs: list[_Run]) -> _Pairs:
    """Those without characters at the same place, special ones with special ones, in their order."""
    pairs: _Pairs = []
    waiting: dict[tuple[int, bool], list[_Run]] = defaultdict(list)
    for run in theirs:
        if run.is_empty:
            waiting[run.start, run.special].append(run)
    for run in ours:
        if run.is_empty:
            there = waiting[run.start, run.special]
            pairs.append((run, there.pop(0) if there else None))
    return pairs + [(None, run) for there in waiting.values() for run in there]


def _find_segments(ours: list[_Run], theirs: list[_Run], pairs: _Pairs) -> list[Segment]:
    both = [[run for run in runs if not run.is_empty] for runs in (ours, theirs)]
    ends = [{run.end for run in runs if run.end % 2 == 0} for runs in both]
    cuts = sorted(ends[0] & ends[1])
    found: list[tuple[int, int, Segment]] = []
    start = 0
    taken = [0, 0]
    last = max((runs[-1].end for runs in both if runs), default=0)
    for cut in [*cuts, last]:
        inside = []
        for side, runs in enumerate(both):
            n = next((i for i in range(taken[side], len(runs)) if runs[i].end > cut), len(runs))
            inside.append(runs[taken[side] : n])
            taken[side] = n
        if any(inside):
            found.append((start, 1, _build_segment(*inside)))
        start = cut
    for one, other in pairs:
        there = [[run] if run is not None else [] for run in (one, other)]
        found.append(((there[0] or there[1])[0].start, 0, _build_segment(*there)))
    return [segment for _, _, segment in sorted(found, key=lambda one: one[:2])]


def _build_segment(ours: list[_Run], theirs: list[_Run]) -> Segment:
    positions = [tuple(position for run in runs for position in run.positions) for runs in (ours, theirs)]
    return Segment("".join(run.text for run in ours or theirs), positions[0], positions[1])


def _find_counterpart(
    run: _Run, partner: _Run | None, theirs: list[_Run], starts: list[int]
) -> tuple[_Run | None, bool]:
    """Among the other's runs that have characters, `starts` being where they begin."""
    if partner is not None:
        return partner, True
    i = bisect_right(starts, run.start) - 1
    if run.is_empty and (i < 0 or theirs[i].start < run.start):
        i += 1
    if not 0 <= i < len(theirs) or run.start >= theirs[i].end:
        return None, False
    return theirs[i], theirs[i].start == run.start and run.start % 2 == 0 and not run.is_empty

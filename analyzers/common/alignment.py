"""Two tokenizations of one text, aligned by its characters."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from analyzers.common.tokens import Token


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


def align_tokens(first: Sequence[Token], second: Sequence[Token]) -> Alignment:
    """Source with source and target with target, where there are two sides.

    Characters are compared as they are; where more is alike so, without white space, case and accents, which some
    vocabularies do not know. What differs even so is one stretch, between what is alike before it and after it.
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
    """Both on one scale, on which what differs is a single place."""
    exact = [["" if special else text for _, text, special in pieces] for pieces in (first, second)]
    simple = [[_simplify(text) for text in side] for side in exact]
    # As they are, unless more of them is alike without what some vocabularies do not know.
    texts, (before, after) = max(
        ((texts, _compare(*map("".join, texts))) for texts in (exact, simple)), key=_share_alike
    )
    return _lay(first, texts[0], before, after), _lay(second, texts[1], before, after)


def _compare(one: str, other: str) -> tuple[int, int | None]:
    """Characters that two texts have alike at the beginning, and then at the end; None where they are the same."""
    if one == other:
        return len(one), None
    before = _count_alike(one, other)
    return before, _count_alike(one[before:][::-1], other[before:][::-1])


def _share_alike(compared: tuple[list[list[str]], tuple[int, int | None]]) -> float:
    texts, (before, after) = compared
    longest = max(sum(map(len, side)) for side in texts)
    return 1.0 if after is None else (before + after) / longest


def _count_alike(one: str, other: str) -> int:
    """Characters at the beginning that both have."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _lay(pieces: _Pieces, texts: list[str], before: int, after: int | None) -> list[_Run]:
    """The runs of one text, of which so many characters at the beginning and at the end are those of the other; `after` is
    None where all are."""
    total = sum(map(len, texts))
    tail = total if after is None else total - after
    # From `tail` on stands the end that both have.

    def mark(place: int, *, is_start: bool) -> int:
        if after is None or place < before or (place == before and not (is_start and place == tail)):
            return 2 * place
        return 2 * before + 1 if place < tail else 2 * (place - tail + before + 1)

    runs, place = [], 0
    for (positions, text, special), characters in zip(pieces, texts, strict=True):
        end = place + len(characters)
        start_mark, end_mark = mark(place, is_start=bool(characters)), mark(end, is_start=False)
        stands_for_other = not characters and after is not None and place == before == tail
        if stands_for_other:  # no characters here, some in the other text
            end_mark = 2 * (before + 1)
        runs.append(_Run(positions, text, special, start_mark, end_mark, not characters and not stands_for_other))
        place = end
    return runs


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

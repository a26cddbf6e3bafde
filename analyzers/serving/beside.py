"""A second model beside the first: it reads what the first read and wrote, and is asked the same of the same places."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from analyzers.common.alignment import align_tokens
from analyzers.common.errors import InputError
from analyzers.common.kinds import Kind
from analyzers.common.sentences import Sentence
from analyzers.common.settings import Generation, LayerPredictionsSettings, SaliencySettings
from analyzers.common.stopping import always
from analyzers.common.tokens import Token, is_spelled, label_token
from analyzers.models.store import Store
from analyzers.serving.analyses import ANALYSES
from analyzers.serving.dispatch import AnyAnswer, Runner, Step, load_in_steps
from analyzers.serving.request import AnyRequest

if TYPE_CHECKING:
    from analyzers.models.completion import Completion
    from analyzers.models.language_model import LanguageModel
    from analyzers.models.prompt import Prompt

HALF = 0.5
"""Of the whole, what one model's part counts."""


def run_both(
    runner: Runner, request: AnyRequest, seconds: int | None = None, is_wanted: Callable[[], bool] = always
) -> Iterator[Step]:
    """As `Dispatcher.run`, one model after the other: the first's answer as soon as it is known, then the same with the
    second's `beside` it. Each has the whole time limit, and is told from what is known already.

    Raises InputError where the two are of different kinds, or do not fit into memory together.
    """
    assert request.beside is not None
    check_pair(runner.store, request)
    if runner.store.resolver.find(request.beside).folder is not None:  # what it refuses is said before the first is run
        model = yield from load_in_steps(runner.store, request.beside, request.device)
        given = None if model.facts.kind.fills_masks else request.generation.target_text
        _read(model, request.text, Generation(generate=0, target_text=given))
    first: AnyAnswer | None = None
    was_known = False
    with closing(runner.run(replace(request, beside=None), seconds, is_wanted)) as steps:  # type: ignore[type-var]
        for step in steps:
            was_known = step.is_known
            first = step.answer or first
            shown = None if step.answer is None else replace(step.answer, request=request, is_whole=False)
            yield _halve(step, 0.0, shown)
    assert first is not None
    model = yield from load_in_steps(runner.store, request.beside, request.device)
    asked, notes = ask_second(first, request, model)
    try:
        with closing(runner.run(asked, seconds, is_wanted)) as steps:  # type: ignore[type-var]
            for step in steps:
                shown = None if step.answer is None else _join(first, step.answer, request, notes)
                if step.phase == "done":
                    yield replace(step, answer=shown, is_known=step.is_known and was_known)
                else:
                    yield _halve(step, HALF, shown)
    except InputError as error:
        if error.sentence.key != "too_slow":
            raise InputError("beside_note", model=model.facts.id, note=error.sentence) from None
        # The first's is known, so it stays.
        notes = (*first.notes, Sentence.of("beside_note", model=model.facts.id, note=error.sentence))
        yield Step("done", 1.0, replace(first, request=request, notes=notes, is_whole=False))


def ask_second(first: AnyAnswer, request: AnyRequest, model: LanguageModel) -> tuple[AnyRequest, tuple[Sentence, ...]]:
    """The second model's request, with its own positions and layers for those of the first, and what to say where there is
    none that begins at the same place. Raises InputError."""
    check_kinds(first.model.id, first.model.kind, model.facts.id, model.facts.kind)
    text, generation = read_alike(first.completion, request, model)
    settings, notes = request.settings, list(tell_unread(first.completion, request, model))
    is_saliency = isinstance(settings, SaliencySettings)
    if is_saliency and first.model.kind.writes and generation.target_text is None:
        raise InputError("beside_reads_nothing", model=first.model.id, other=model.facts.id)
    place = getattr(settings, "first" if is_saliency else "position", None)
    if place is not None:
        prompt = _read(model, text, generation)
        there, note = _find_place(int(place), first.completion, request, model, prompt)
        notes += [] if note is None else [note]
        settings = replace(settings, **{"first": there} if is_saliency else {"position": there})
    if isinstance(settings, LayerPredictionsSettings) and isinstance(settings.layer, int) and settings.layer >= 0:
        depth = min(1.0, (settings.layer + 1) / first.model.n_layers)
        settings = replace(settings, layer=max(0, round(depth * model.facts.n_layers) - 1))
    asked = replace(request, model=request.beside, text=text, generation=generation, settings=settings, beside=None)
    return asked, tuple(notes)


def _read(model: LanguageModel, text: str, generation: Generation) -> Prompt:
    """A text through the second model's tokenizer. Raises InputError, which names the model."""
    from analyzers.models.prompt import read_prompt

    try:
        return read_prompt(model, text, generation)
    except InputError as error:
        raise InputError("beside_note", model=model.facts.id, note=error.sentence) from None


def _find_place(
    place: int, first: Completion, request: AnyRequest, model: LanguageModel, prompt: Prompt
) -> tuple[int | None, Sentence | None]:
    """Where the second is asked for a place of the first, and what to say of it; None for what it does not explain. Raises
    InputError where it predicts nothing there."""
    tokens = _tokens_read(model, prompt)
    counterparts = align_tokens(first.tokens, tokens).counterparts
    there, begins_alike = counterparts[min(place, len(counterparts) - 1)]
    if isinstance(request.settings, SaliencySettings):
        return there if there < len(tokens) else None, None
    n_unread = len(_unread(first, request))
    if n_unread and place > first.n_positions - n_unread:
        raise InputError("beside_not_read", model=model.facts.id, position=place)
    if model.facts.kind.writes and there <= prompt.n_source:
        raise InputError("beside_first_token", model=model.facts.id, position=place)
    if begins_alike or there >= len(tokens):
        return there, None
    token = label_token(tokens[there])
    return there, Sentence.of("beside_begins_elsewhere", model=model.facts.id, token=token, position=there)


def tell_unread(first: Completion, request: AnyRequest, model: LanguageModel) -> tuple[Sentence, ...]:
    """That a second model is not given all that the first wrote, where it is more than special tokens."""
    unread = _unread(first, request)
    if all(token.special for token in unread):
        return ()
    return (Sentence.of("beside_reads_less", n=len(unread), model=first.model, other=model.facts.id),)


def read_alike(first: Completion, request: AnyRequest, model: LanguageModel) -> tuple[str, Generation]:
    """The text and the continuation that let a second model read what the first read and wrote. Raises InputError where a
    hidden token is none of the second's."""
    kind, generation = model.facts.kind, request.generation
    written = generation.target_text or "".join(
        token.glyph_text for token in _written(first) if token.glyph_start == token.position
    )
    if kind != first.kind:
        return request.text + (written if first.kind.writes else ""), Generation(generate=0)
    if kind.writes and generation.target_text is None:
        return request.text, Generation(generate=0, target_text=written or None)
    if generation.hide is not None:
        generation = replace(generation, hide=_find_hidden(generation.hide, first, request.text, model))
    return request.text, generation


def _tokens_read(model: LanguageModel, prompt: Prompt) -> tuple[Token, ...]:
    """What stands there before anything is predicted."""
    if prompt.tokens:
        return prompt.tokens
    return model.tokens_of((*prompt.ids, *(prompt.continuation or ())), text=prompt.text, n_source=prompt.n_source)


def check_pair(store: Store, request: AnyRequest) -> None:
    """Before anything is computed. Raises InputError where a second model cannot stand beside the first: of another kind, as
    far as that is known, or too large to be held with it."""
    assert request.beside is not None
    names = request.model or store.resolver.default_id(), request.beside
    first, second = map(store.resolver.find, names)
    kinds = list(map(store.kind_of, names))
    is_joint = bool(ANALYSES[request.analysis].joint_function)
    if None not in kinds and (not is_joint or Kind.SEQ2SEQ in kinds):
        check_kinds(first.id, kinds[0], second.id, kinds[1])
    store.check_room(first, second, request.device)


def check_kinds(id: str, kind: Kind | None, other: str, other_kind: Kind | None) -> None:
    """Raises InputError for two models that are not of one kind."""
    if kind != other_kind:
        raise InputError("beside_other_kind", model=id, kind=kind, other=other, other_kind=other_kind)


def _written(first: Completion) -> list[Token]:
    """What a model wrote up to its first special token or part of a character, which no other model could be given."""
    outputs = first.outputs if first.kind.writes else ()
    return list(itertools.takewhile(lambda token: not token.special and is_spelled(token.glyph_text), outputs))


def _unread(first: Completion, request: AnyRequest) -> tuple[Token, ...]:
    """What the first wrote that the second is not given."""
    is_given = request.generation.target_text is not None or not first.kind.writes
    return () if is_given else first.outputs[len(_written(first)) :]


def _find_hidden(position: int, first: Completion, text: str, model: LanguageModel) -> int:
    """Position of the same hidden token for the second. Raises InputError where it cuts the text otherwise."""
    tokens = model.tokens_of(model.encode(text), text=text)
    alignment = align_tokens(first.unhidden, tokens)
    there, begins_alike = alignment.counterparts[position]
    if begins_alike and tokens[there].text == first.unhidden[position].text:
        return there
    for segment in alignment.segments:  # another spelling of the same stretch: case, accents
        if segment.first == (position,) and len(segment.second) == 1:
            return segment.second[0]
    raise InputError("hides_otherwise", model=model.facts.id, position=position)


def _halve(step: Step, from_: float, answer: AnyAnswer | None) -> Step:
    """A step of one of the two as a step of both."""
    if step.phase not in ("analyzing", "done"):
        return replace(step, answer=answer)
    return replace(step, phase="analyzing", fraction=from_ + HALF * step.fraction, answer=answer)


def _join(first: AnyAnswer, second: AnyAnswer, request: AnyRequest, notes: tuple[Sentence, ...]) -> AnyAnswer:
    told = tuple(Sentence.of("beside_note", model=second.model.id, note=note) for note in second.notes)
    seconds = {
        phase: first.seconds.get(phase, 0.0) + second.seconds.get(phase, 0.0)
        for phase in dict.fromkeys((*first.seconds, *second.seconds))
    }
    return replace(
        first,
        request=request,
        beside=second,
        notes=(*first.notes, *notes, *told),
        seconds=seconds,
        is_whole=first.is_whole and second.is_whole,
    )

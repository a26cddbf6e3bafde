"""Where the page does otherwise than `gr.Blocks`."""

from __future__ import annotations

from copy import copy

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.blocks import BlocksConfig

from analyzers.serving.analyses import public_analyses
from analyzers.serving.request import parameters_of
from ui.errors import language_of, sentence_for
from ui.listeners import LISTENERS, Mailboxes
from ui.texts import say
from ui.values import Options


class Page(gr.Blocks):
    """Blocks whose endpoints take the text alone, and that make nothing which nobody sees."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.default_config.__class__ = _PageConfig

    def queue(self, **options: object) -> Page:
        super().queue(**options)
        self._queue.pending_messages_per_session = Mailboxes(self._queue.pending_event_ids_session, LISTENERS)
        return self

    def validate_inputs(self, block_fn: BlockFunction, inputs: list[object]) -> None:
        """Gradio's own client fills in what is left out of a request, but to `curl` the server would only say "error"."""
        row = next((row for row in public_analyses() if row.endpoint == block_fn.api_name), None)
        if row is not None:
            defaults = ["", *(setting.default for setting in parameters_of(row.name))]
            inputs.extend(defaults[len(inputs) :])
        super().validate_inputs(block_fn, inputs)

    async def preprocess_data(
        self, block_fn: BlockFunction, inputs: list[object], state: object, explicit_call: bool = False
    ) -> list[object]:
        try:
            found: list[object] = await super().preprocess_data(block_fn, inputs, state, explicit_call)
        except Exception:
            raise _ValueRefused from None  # what Gradio says of it repeats the value
        return found

    async def process_api(
        self, block_fn: object, inputs: object, state: object = None, request: object = None, **more: object
    ) -> Options:
        """Whatever a visitor sends ends in an answer or a sentence, and none of it in the log."""
        try:
            answer: Options = await super().process_api(block_fn, inputs, state, request, **more)
        except Exception as error:
            if isinstance(error, gr.Error) and not error.print_exception:
                raise
            language = language_of(request if isinstance(request, gr.Request) else None)
            is_bad = isinstance(error, _ValueRefused)
            sentence = say("value_refused", language) if is_bad else sentence_for(error, language)
            raise gr.Error(sentence, print_exception=False) from None
        return answer

    async def postprocess_data(self, block_fn: BlockFunction, predictions: object, state: object) -> list[object]:
        """Of the components that a step leaves alone nothing is made. Gradio makes each of them anew, sixty at each step of
        a run, while no visitor is served."""
        changed = block_fn.outputs
        if isinstance(predictions, dict):
            changed = [output for output in changed if output in predictions]
        part = copy(block_fn)
        part.outputs = changed or block_fn.outputs
        values = dict(zip(part.outputs, await super().postprocess_data(part, predictions, state), strict=True))
        return [_whole(values.get(output, None if output.stateful else gr.skip())) for output in block_fn.outputs]

    def handle_streaming_diffs(
        self,
        block_fn: BlockFunction,
        data: list[object],
        session_hash: str | None,
        run: str | None,
        final: bool,
        simple_format: bool = False,
    ) -> list[object]:
        """What changed is sent whole. Gradio sends edits, which its page makes in the very objects of the message before: one
        that was not drawn by then, as on a busy machine, lost its picture."""
        before = self.pending_diff_streams.get(session_hash, {}).get(run)
        before = None if before is None else list(before)
        whole: list[object] = super().handle_streaming_diffs(block_fn, data, session_hash, run, final, True)
        if before is None or final or simple_format:
            return whole
        return [[] if new == old else [["replace", [], new]] for old, new in zip(before, whole, strict=True)]


def _whole(value: object) -> object:
    """A value without half characters, which a visitor can send and a message cannot hold."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_whole(name): _whole(one) for name, one in value.items()}
    return [_whole(one) for one in value] if isinstance(value, list) else value


class _ValueRefused(Exception):
    """A component does not take the value that was sent."""


class _PageConfig(BlocksConfig):
    """The components of the page."""

    def __copy__(self) -> BlocksConfig:
        """As one visitor has them, or one call of an endpoint. Gradio describes each of them, at first and whenever it
        changes, for deep links, which the page does not have: 20 ms, while no other visitor is served."""
        session = super().__copy__()
        session.config_for_block = lambda *_: {}  # type: ignore[method-assign]
        return session

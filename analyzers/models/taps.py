"""Hooks on one model that hear what each thread wants of its own forward, so that several can run at once.

They are set once around all workers: hooks that every forward set for itself would act on the others' too, and a list
of hooks must not change while another thread goes through it.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from analyzers.common.stopping import asked, check
from analyzers.models.library import Args, Output

if TYPE_CHECKING:
    from analyzers.models.anatomy import Anatomy


class _Wanted(threading.local):
    """What this thread wants of its forward; nothing, unless it says so."""

    embedded: list[Tensor] | None = None
    rows: Tensor | None = None
    head_inputs: list[Tensor] | None = None
    hidden: Tensor | None = None
    passes_norm: bool = False


class Taps:
    """The hooks of one anatomy, there while anybody is within `open` or `silenced`."""

    def __init__(self, anatomy: Anatomy) -> None:
        self._anatomy = anatomy
        self._wanted = _Wanted()
        self._lock = threading.Lock()
        self._open = _Shared(self._lock, self._set_hooks)
        self._silenced = _Shared(self._lock, self._replace_forwards)

    def __deepcopy__(self, memo: dict[int, object]) -> Taps:
        """A copied model hears its own hooks, of which none are set."""
        return Taps(copy.deepcopy(self._anatomy, memo))

    @contextmanager
    def open(self) -> Iterator[None]:
        """While open, forwards may run in several threads, each with its own `wanting`."""
        with self._open.entered():
            yield

    @contextmanager
    def wanting(
        self,
        *,
        embedded: tuple[Tensor, ...] = (),
        rows: Tensor | None = None,
        head_inputs: list[Tensor] | None = None,
    ) -> Iterator[None]:
        """For one forward in this thread: `embedded` enters in the place of what the embedding makes of the ids (a
        seq2seq model's source, then its target); the head runs for `rows` only; what enters it is put into `head_inputs`."""
        wanted = self._wanted
        before = wanted.embedded, wanted.rows, wanted.head_inputs
        wanted.embedded = list(embedded) or wanted.embedded
        wanted.rows = wanted.rows if rows is None else rows
        wanted.head_inputs = wanted.head_inputs if head_inputs is None else head_inputs
        try:
            with self._open.entered():
                yield
        finally:
            wanted.embedded, wanted.rows, wanted.head_inputs = before

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """While open, `reading` may be used in several threads."""
        with self._silenced.entered():
            yield

    @contextmanager
    def reading(self, hidden: Tensor, *, final_norm: bool) -> Iterator[None]:
        """For one forward in this thread: every block returns `hidden`, and the final norm is passed over where it is
        not wanted."""
        self._wanted.hidden, self._wanted.passes_norm = hidden, not final_norm
        try:
            with self._silenced.entered():
                yield
        finally:
            self._wanted.hidden, self._wanted.passes_norm = None, False

    def _set_hooks(self) -> ExitStack:
        anatomy, stack = self._anatomy, ExitStack()
        for table in {anatomy.embedding, anatomy.target_embedding or anatomy.embedding}:
            stack.callback(table.register_forward_hook(self._exchange_embedding).remove)
        if anatomy.head is not None:
            stack.callback(anatomy.head.register_forward_pre_hook(self._choose_rows).remove)
            stack.callback(anatomy.head.register_forward_hook(self._keep_head_input).remove)
        for block in {*anatomy.blocks, *anatomy.source_blocks}:
            stack.callback(block.register_forward_pre_hook(_look_forward).remove)
            stack.callback(block.register_forward_hook(_look_back).remove)
        return stack

    def _exchange_embedding(self, _module: nn.Module, _args: object, output: Tensor) -> Tensor | None:
        waiting = self._wanted.embedded
        if not waiting or output.shape[1] < waiting[0].shape[1]:
            return None
        own = waiting.pop(0).to(output)
        # A copy, as there are models that change in place what they are given (CTRL); padding to a window (LED) stays.
        return torch.cat([own, output[:, own.shape[1] :].expand(len(own), -1, -1)], dim=1)

    def _choose_rows(self, _head: nn.Module, args: Args) -> Args | None:
        rows = self._wanted.rows
        return None if rows is None else (args[0][:, rows.to(args[0].device)], *args[1:])

    def _keep_head_input(self, _head: nn.Module, args: Args, _output: object) -> None:
        if self._wanted.head_inputs is not None:
            self._wanted.head_inputs.append(args[0])

    def _replace_forwards(self) -> ExitStack:
        """An instance's own `forward` (accelerate's hooks) is put back."""
        anatomy, stack = self._anatomy, ExitStack()
        for block, length in zip(anatomy.blocks, anatomy.tuple_lengths, strict=True):
            if block.forward.__name__ != "return_hidden":  # ALBERT's one block stands there several times
                _exchange_forward(stack, block, self._silent_block(block.forward, length))
        if anatomy.final_norm is not None:
            _exchange_forward(stack, anatomy.final_norm, self._silent_norm(anatomy.final_norm.forward))
        return stack

    def _silent_block(self, own: Callable[..., Output], length: int) -> Callable[..., Output]:
        def return_hidden(*args: object, **kwargs: object) -> Output:
            hidden = self._wanted.hidden
            if hidden is None:
                return own(*args, **kwargs)
            return (hidden, *[None] * (length - 1)) if length else hidden

        return return_hidden

    def _silent_norm(self, own: Callable[..., Output]) -> Callable[..., Output]:
        def pass_norm(*args: object, **kwargs: object) -> Output:
            return (
                (args[0] if args else next(iter(kwargs.values()))) if self._wanted.passes_norm else own(*args, **kwargs)
            )

        return pass_norm


def _look_forward(_block: nn.Module, _args: object) -> None:
    check()


def _look_back(_block: nn.Module, _args: object, output: Output) -> None:
    """A backward looks at every block too, and on a GPU in a thread of its own."""
    hidden, is_wanted = (output[0] if isinstance(output, tuple) else output), asked()
    if isinstance(hidden, Tensor) and hidden.requires_grad:
        hidden.register_hook(lambda _gradient: check(is_wanted))


class _Shared:
    """Something that is set up while anybody is within."""

    def __init__(self, lock: threading.Lock, set_up: Callable[[], ExitStack]) -> None:
        self._lock, self._set_up = lock, set_up
        self._n = 0
        self._stack = ExitStack()

    @contextmanager
    def entered(self) -> Iterator[None]:
        with self._lock:
            if self._n == 0:
                self._stack = self._set_up()
            self._n += 1
        try:
            yield
        finally:
            with self._lock:
                self._n -= 1
                if self._n == 0:
                    self._stack.close()


def _exchange_forward(stack: ExitStack, part: nn.Module, forward: Callable[..., Output]) -> None:
    own = part.__dict__.get("forward")
    part.forward = forward

    def put_back() -> None:
        if own is None:
            part.__dict__.pop("forward", None)
        else:
            part.forward = own

    stack.callback(put_back)

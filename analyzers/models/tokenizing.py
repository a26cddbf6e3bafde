"""A model's files become its tokenizer, and the ids are proved: what is read is what the model's own file says."""

from __future__ import annotations

import importlib.metadata
import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tokenizers
from sentencepiece import SentencePieceProcessor
from tokenizers import decoders, models, normalizers
from transformers import AutoTokenizer, LlamaTokenizer, PreTrainedTokenizerFast

from analyzers.common.errors import InputError, reason_of
from analyzers.common.limits import LIMITS
from analyzers.models.library import Output, Tokenizer

PIECES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "source.spm")
"""Files of a sentencepiece model, by the names that repositories give them."""

HARD_TEXTS = (
    "The cat sat on the mat because it was tired.",
    "In 2023, 1984 and 7; 3.14159, 1,000,000 and 0x1F.",
    "Total:  42\tand   007",
    "Shopping list:\n\n1. milk\n\n2. eggs\n\n\n3. bread",
    " leading, trailing ",
    "two\u00a0fixed\u00a0\u00a0spaces, a\u3000wide one, a\u200bzero one",
    "line\r\nline\n \n\t\tdef f(x):\n    return x**2  # squared\n",
    "東京は日本の首都です。",
    "私はPythonで3個のプログラムを書いた。カタカナ、ひらがな、漢字!",
    "ﾊﾝｶｸ ABC 123 ㍻ ﬁ",
    "👩‍👩‍👧 🇯🇵 👍🏽 ❤️",
    "cafe\u0301 café naïve Z\u0351\u0302 ångström",
    "I'm, you'LL, they've; it’s don't 'tis",
    "camelCaseWord HTTPServer snake_case_word kebab-case",
    "https://example.org/a/b?c=1&d=%20#e user@example.org",
    "for (int i=0;i<10;++i){a[i]+=\"x\\n\";} // != === -> <|",
    "Привет, мир! مرحبا بالعالم नमस्ते สวัสดี 안녕하세요 你好",
    "WHAT?! …—“quoted” ‘single’ ½ € ™ ∑ ≠",
)  # fmt: skip
"""What tokenizers differ on: digits, white space, blank lines, scripts, joined and combining characters, code."""


def load_tokenizer(folder: Path, id: str) -> Tokenizer:
    """The tokenizer of a folder, with no network and no remote code, proved on `HARD_TEXTS`.

    Where there is a tokenizer.json, the ids and their way back to text are those that it gives by itself
    (`tokenizers.Tokenizer.from_file`): a class that rebuilds them otherwise is passed over for the file. A
    sentencepiece model alone is held against sentencepiece in the same way. Raises InputError, by name, for a tokenizer
    that cannot be read here, or reads otherwise than its file.
    """
    own = _read_own_file(folder, id)
    builders: list[Callable[..., Output]] = [AutoTokenizer.from_pretrained]
    if isinstance(own, tokenizers.Tokenizer):
        builders.append(PreTrainedTokenizerFast.from_pretrained)
    elif (folder / "tokenizer.model").is_file():
        builders.append(_llama)
    failures: list[InputError] = []
    for build in builders:
        try:
            with warnings.catch_warnings(action="ignore"):  # of packages that would be nice to have
                tokenizer = build(folder, local_files_only=True, trust_remote_code=False)
            if tokenizer.is_fast:
                _give_decoder(tokenizer.backend_tokenizer)
            differing = _find_difference(tokenizer, folder, own)
        except BaseException as error:  # tokenizers and sentencepiece raise nothing more precise
            if isinstance(error, MemoryError) or not (isinstance(error, Exception) or _is_panic(error)):
                raise
            failures.append(_unreadable(error, id))
            continue
        if differing is None:
            return tokenizer
        failures.append(InputError("tokenizer_disproved", model=id, text=differing))
    raise failures[0]


def find_around(tokenizer: Tokenizer, text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids that a tokenizer puts before and after a text, `text` being any that it cuts alike with them and without."""
    whole, bare = (tuple(tokenizer(text, add_special_tokens=added).input_ids) for added in (True, False))
    starts = range(len(whole) - len(bare) + 1)
    start = next((i for i in starts if whole[i : i + len(bare)] == bare), 0)
    return whole[:start], whole[start + len(bare) :] if whole[start : start + len(bare)] == bare else ()


@contextmanager
def told_of_panic(id: str) -> Iterator[None]:
    """Raises InputError where the tokenizers library breaks down on a text: its panics are no `Exception`."""
    try:
        yield
    except BaseException as error:
        if not _is_panic(error):
            raise
        raise InputError("tokenizer_failed", model=id) from None


def _is_panic(error: BaseException) -> bool:
    return type(error).__name__ == "PanicException"


def _read_own_file(folder: Path, id: str) -> tokenizers.Tokenizer | SentencePieceProcessor | None:
    """What tokenizer.json says by itself, else the sentencepiece model; None where there is neither, as with a plain list
    of words, which its class defines. Raises InputError for one that cannot be read."""
    path = folder / "tokenizer.json"
    pieces = next((folder / name for name in PIECES if (folder / name).is_file()), None)
    try:
        if path.is_file():
            file = tokenizers.Tokenizer.from_file(str(path))
            file.no_truncation()
            file.no_padding()
            _give_decoder(file)
            return file
        if pieces is not None and not _is_tiktoken(pieces):
            return SentencePieceProcessor(model_file=str(pieces))
    except BaseException as error:  # neither raises anything more precise
        if not (isinstance(error, Exception) or _is_panic(error)):
            raise
        raise _unreadable(error, id) from error
    return None


def _give_decoder(backend: tokenizers.Tokenizer) -> None:
    """Where a file names no decoder, the one that undoes what it does to a text: else its marks would stay in the text."""
    if backend.decoder is not None:
        return
    steps = [step for part in (backend.normalizer, backend.pre_tokenizer) for step in _steps(part)]
    kinds = {step["type"]: step for step in steps}
    if "ByteLevel" in kinds:
        backend.decoder = decoders.ByteLevel()
    elif (meta := kinds.get("Metaspace")) is not None:
        backend.decoder = decoders.Metaspace(meta["replacement"], meta["prepend_scheme"], meta["split"])
    elif (mark := kinds.get("Replace", {}).get("content")) == "▁":
        strip = [decoders.Strip(" ", 1, 0)] if "Prepend" in kinds else []
        backend.decoder = decoders.Sequence(
            [decoders.Replace(mark, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
        )
    elif isinstance(backend.model, models.WordPiece):
        backend.decoder = decoders.WordPiece(backend.model.continuing_subword_prefix)
    elif isinstance(backend.model, models.BPE) and backend.model.end_of_word_suffix:
        backend.decoder = decoders.BPEDecoder(backend.model.end_of_word_suffix)


def _steps(part: Any) -> list[dict[str, Any]]:
    """A normalizer's or pre-tokenizer's steps, sequences laid flat."""
    waiting = [] if part is None else [json.loads(part.__getstate__())]
    steps: list[dict[str, Any]] = []
    while waiting:
        step = waiting.pop(0)
        inner = step.get("normalizers") or step.get("pretokenizers")
        waiting = [*(inner or []), *waiting]
        steps += [] if inner else [step]
    return steps


def _llama(folder: Path, **kwargs: object) -> Tokenizer:
    """The tokenizer of a sentencepiece BPE model as sentencepiece reads it: a space before every text, whether it begins
    with one or not. (The class alone puts none before a space.)"""
    tokenizer = LlamaTokenizer.from_pretrained(folder, **kwargs)
    steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.backend_tokenizer.pre_tokenizer = None
    return tokenizer


def _is_tiktoken(path: Path) -> bool:
    """Whether a file is of tiktoken's kind, whatever its name: in each line a token in base 64 and its rank."""
    with path.open("rb") as stream:
        return re.fullmatch(rb"[A-Za-z0-9+/]+=* \d+\r?\n?", stream.readline(4096)) is not None


def _find_difference(
    tokenizer: Tokenizer, folder: Path, own: tokenizers.Tokenizer | SentencePieceProcessor | None
) -> str | None:
    """The first text that a tokenizer reads otherwise than its own file, or None."""
    if isinstance(own, tokenizers.Tokenizer):
        return _compare_with_file(tokenizer, own, _settings(folder))
    return None if own is None else _compare_with_pieces(tokenizer, own)


def _compare_with_file(tokenizer: Tokenizer, file: tokenizers.Tokenizer, settings: dict[str, Any]) -> str | None:
    texts = [*HARD_TEXTS, *_with_added(file)]
    read = tokenizer(texts, add_special_tokens=False).input_ids
    for text, ids, own in zip(texts, read, file.encode_batch(texts, add_special_tokens=False), strict=True):
        if list(ids) != own.ids or _decode(tokenizer, ids) != file.decode(own.ids, skip_special_tokens=False):
            return text
    # What is put around a text may be set beside the file, in tokenizer_config.json.
    is_set = "add_bos_token" in settings or "add_eos_token" in settings
    around = list(tokenizer(texts[0]).input_ids) == file.encode(texts[0]).ids
    return None if around or is_set else texts[0]


def _compare_with_pieces(tokenizer: Tokenizer, processor: SentencePieceProcessor) -> str | None:
    for text in HARD_TEXTS:
        own = [None if processor.IsUnknown(i) else processor.IdToPiece(i) for i in processor.Encode(text)]
        read = tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False).input_ids)
        if [None if piece == tokenizer.unk_token else piece for piece in read] != own:
            return text
    return None


def _decode(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _with_added(file: tokenizers.Tokenizer, most: int = 4) -> Iterable[str]:
    """Texts with tokens that the file adds to its vocabulary: what is cut off around them counts too."""
    added = [token.content for _, token in sorted(file.get_added_tokens_decoder().items())]
    return [f"one {content} two{content}three" for content in (*added[:most], *added[-1:])]


def _settings(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _unreadable(error: BaseException, id: str) -> InputError:
    """Why a tokenizer cannot be read here: a package that it needs is not installed, or the file is broken or newer."""
    if isinstance(error, InputError):
        return error
    if isinstance(error, ImportError):
        found = re.search(r"install ([\w-]+)|the ([\w-]+) library|'([\w.-]+)'", str(error))
        package = error.name or next((name for name in (found.groups() if found else ()) if name), None)
        if package is not None:
            return InputError("tokenizer_needs_package", model=id, package=package.split(".")[0])
    version = importlib.metadata.version("tokenizers")
    return InputError("tokenizer_unreadable", model=id, reason=reason_of(error), version=version)


def check_text(text: str, name: str) -> None:
    """Refuse, before any tokenizer sees it, what none can read. Raises InputError."""
    if not text:
        raise InputError("empty_text") if name == "text" else InputError("empty_setting", name=name)
    if len(text) > LIMITS.characters:
        raise InputError("text_too_long", name=name, n=f"{len(text):,}", limit=f"{LIMITS.characters:,}")
    for position, character in enumerate(text):
        if 0xD800 <= ord(character) <= 0xDFFF:
            raise InputError("lone_surrogate", name=name, code=f"{ord(character):04X}", position=position)

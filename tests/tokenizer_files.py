"""Tokenizer files of each kind, trained here on a few sentences of ours; at most 384 tokens, as the tiny models have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

CORPUS = [
    "The keys to the cabinet are in London, and London is in England.",
    "It is the capital of the country; is it not? This is his island.",
    "23 of 23, 23 of 123, 23 in 223; 202, 202, 202 and 20.",
    "In 2023 and 202 there were 42 and 100 of them: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10.",
    "東京は日本の首都です。京都は日本の古い首都でした。首都はどこですか。",
    "東京の天気は晴れです。日本の東京と大阪と京都。",
    "def f(x):\n    return x ** 2\n\n\nprint(f(3))",
] * 4


def byte_level(split: str | None = None) -> Tokenizer:
    """GPT-2's kind; `split` is a rule of its own in front, such as `\\d{1,3}`."""
    tokenizer = Tokenizer(models.BPE())
    own = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    steps = [] if split is None else [pre_tokenizers.Split(Regex(split), "isolated")]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*steps, own]) if steps else own
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384, special_tokens=["<|end|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def llama_like(opening: str = "<s>", closing: str = "") -> Tokenizer:
    """Llama 2's kind: a space put before every text, BPE, and bytes for what it does not know."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)],
        limit_alphabet=70,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.train_from_iterator([text.replace("\n", " ") for text in CORPUS[:3]], trainer)
    tokenizer.pre_tokenizer = None
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    around = [name for name in (opening, closing) if name]
    template = " ".join(name for name in (opening, "$A", closing) if name)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(name, tokenizer.token_to_id(name)) for name in around]
    )
    return tokenizer


def unigram() -> Tokenizer:
    """A Japanese model's kind: pieces by likelihood, none put together from letters."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>")
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def word_piece() -> Tokenizer:
    """BERT's kind: words in lower case, and pieces that go on with `##`."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=names))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    )
    return tokenizer


def pieces(path: Path, kind: str, **settings: Any) -> None:
    """A sentencepiece model of 300 pieces at `path`, `kind` being `bpe` or `unigram`."""
    corpus = path.with_suffix(".txt")
    corpus.write_text(
        "\n".join(line for text in CORPUS for line in text.splitlines() if line.strip()), encoding="utf-8"
    )
    sentencepiece.SentencePieceTrainer.Train(
        input=str(corpus),
        model_prefix=str(path.with_suffix("")),
        model_type=kind,
        minloglevel=2,
        hard_vocab_limit=False,
        **settings,
    )
    corpus.unlink()
    path.with_suffix(".vocab").unlink()
    path.with_suffix(".model").rename(path)


def lay(folder: Path, config: dict[str, Any], tokenizer: Tokenizer | None = None, **settings: Any) -> Path:
    """A folder with a configuration, a tokenizer.json and a tokenizer_config.json."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if tokenizer is not None:
        tokenizer.save(str(folder / "tokenizer.json"))
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder

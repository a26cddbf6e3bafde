"""Text to ids: what is loaded reads as the model's own file says, or is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizer_files as files
from families import tiny_module
from sentencepiece import SentencePieceProcessor
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from analyzers.common.errors import InputError
from analyzers.models import tokenizing
from analyzers.models.language_model import LanguageModel
from analyzers.models.token_reader import TokenReader
from analyzers.models.tokenizing import HARD_TEXTS, load_tokenizer

LLAMA = {"model_type": "llama"}
BY_CLASS: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "threes under GPT-2's class": (
        lambda: files.byte_level(r"\d{1,3}"),
        LLAMA,
        {"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|end|>", "add_prefix_space": False},
    ),
    "single digits under GPT-2's class": (
        lambda: files.byte_level(r"\d"),
        LLAMA,
        {"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|end|>"},
    ),
    "threes under Qwen's class": (
        lambda: files.byte_level(r"\d{1,3}"),
        LLAMA,
        {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|end|>"},
    ),
    "Unigram under Llama's class": (
        files.unigram,
        LLAMA,
        {"tokenizer_class": "LlamaTokenizer", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"},
    ),
    "Unigram under T5's class": (
        files.unigram,
        {"model_type": "t5"},
        {"tokenizer_class": "T5Tokenizer", "unk_token": "<unk>", "eos_token": "</s>", "extra_ids": 0},
    ),
    "bytes under Llama's class": (lambda: files.byte_level(r"\d"), LLAMA, {"tokenizer_class": "LlamaTokenizer"}),
    "Llama's own": (files.llama_like, LLAMA, {"tokenizer_class": "LlamaTokenizer", "unk_token": "<unk>"}),
    "BERT's own": (files.word_piece, {"model_type": "bert"}, {"tokenizer_class": "BertTokenizer"}),
    "no class": (lambda: files.byte_level(r"\d{1,3}"), LLAMA, {}),
    "a class that there is none of": (files.unigram, LLAMA, {"tokenizer_class": "OurOwnTokenizer"}),
}


@pytest.mark.parametrize("case", BY_CLASS)
def test_the_ids_are_those_of_the_models_own_file(tmp_path: Path, case: str) -> None:
    build, config, settings = BY_CLASS[case]
    folder = files.lay(tmp_path / "m", config, build(), **settings)
    read = load_tokenizer(folder, "m")
    own = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in HARD_TEXTS:
        ids = own.encode(text, add_special_tokens=False).ids
        assert read(text, add_special_tokens=False).input_ids == ids
        assert read.decode(ids, clean_up_tokenization_spaces=False) == own.decode(ids, skip_special_tokens=False)


def test_the_file_wins_where_a_class_would_split_otherwise(tmp_path: Path) -> None:
    """A class that makes its own split reads 2023 as 2,0,23 or so; the file says threes."""
    build, config, settings = BY_CLASS["threes under GPT-2's class"]
    folder = files.lay(tmp_path / "m", config, build(), **settings)
    by_class = AutoTokenizer.from_pretrained(folder)
    assert by_class.tokenize("2023") != ["202", "3"], "else this shows nothing"
    read = load_tokenizer(folder, "m")
    assert read.tokenize("2023") == ["202", "3"]
    assert read.eos_token == "<|end|>", "what stands beside the file is kept"


def test_japanese_is_read_in_the_pieces_of_its_file(tmp_path: Path) -> None:
    build, config, settings = BY_CLASS["Unigram under Llama's class"]
    folder = files.lay(tmp_path / "m", config, build(), **settings)
    pieces = load_tokenizer(folder, "m").tokenize("東京は日本の首都です。")
    assert len(pieces) < 8, "not character by character"
    assert "首都" in "|".join(pieces)


ALTERED: dict[str, Any] = {
    "a split": lambda t: setattr(t, "pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "a space before": lambda t: setattr(
        t,
        "pre_tokenizer",
        pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=True)]),
    ),
    "a normalizer": lambda t: setattr(t, "normalizer", normalizers.NFKC()),
    "an accent": lambda t: setattr(t, "normalizer", normalizers.NFC()),
    "lower case": lambda t: setattr(t, "normalizer", normalizers.Lowercase()),
    "the decoder": lambda t: setattr(t, "decoder", decoders.Metaspace()),
    "an added token": lambda t: t.add_special_tokens([AddedToken("<|end|>", lstrip=True, special=True)]),
    "a word": lambda t: t.add_tokens(["首都"]),
}


@pytest.mark.parametrize("rule", ALTERED)
def test_a_tokenizer_altered_by_one_rule_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    folder = files.lay(tmp_path / "m", LLAMA, files.byte_level(r"\d"))
    load_tokenizer(folder, "m")

    def altered(_folder: Path, **_: Any) -> Any:
        read = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        ALTERED[rule](read.backend_tokenizer)
        return read

    for name in ("AutoTokenizer", "PreTrainedTokenizerFast"):
        monkeypatch.setattr(getattr(tokenizing, name), "from_pretrained", altered)
    with pytest.raises(InputError, match=r"^m cannot be used: its tokenizer") as caught:
        load_tokenizer(folder, "m")
    assert caught.value.sentence.key == "tokenizer_disproved"


PIECES: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "Llama's": (
        "tokenizer.model",
        {"kind": "bpe", "byte_fallback": True, "remove_extra_whitespaces": False, "vocab_size": 400}
        | {"normalization_rule_name": "identity"},
        LLAMA,
        {"tokenizer_class": "LlamaTokenizer"},
    ),
    "Llama's without a class": (
        "tokenizer.model",
        {"kind": "bpe", "byte_fallback": True, "remove_extra_whitespaces": False, "vocab_size": 400}
        | {"normalization_rule_name": "identity"},
        LLAMA,
        {},
    ),
    "T5's": (
        "spiece.model",
        {"kind": "unigram", "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "vocab_size": 200},
        {"model_type": "t5"},
        {"tokenizer_class": "T5Tokenizer", "extra_ids": 0},
    ),
    "XLM-R's": ("sentencepiece.bpe.model", {"kind": "unigram", "vocab_size": 200}, {"model_type": "xlm-roberta"}, {}),
}


@pytest.mark.parametrize("case", PIECES)
def test_a_sentencepiece_model_alone_is_read_as_sentencepiece_reads_it(tmp_path: Path, case: str) -> None:
    name, settings, config, beside = PIECES[case]
    folder = files.lay(tmp_path / "m", config, **beside)
    files.pieces(folder / name, **settings)
    read = load_tokenizer(folder, "m")
    own = SentencePieceProcessor(model_file=str(folder / name))
    for text in (*HARD_TEXTS, " two  spaces", "東京は日本の首都です。"):
        pieces = ["?" if own.IsUnknown(id) else own.IdToPiece(id) for id in own.Encode(text)]
        found = read.convert_ids_to_tokens(read(text, add_special_tokens=False).input_ids)
        assert ["?" if piece == read.unk_token else piece for piece in found] == pieces


def test_pieces_that_a_class_misreads_are_refused(tmp_path: Path) -> None:
    """T5's class takes id 2 for what is unknown; here that is the end of the text."""
    folder = files.lay(tmp_path / "m", {"model_type": "t5"}, tokenizer_class="T5Tokenizer")
    files.pieces(folder / "spiece.model", "unigram", vocab_size=200)
    with pytest.raises(InputError) as caught:
        load_tokenizer(folder, "m")
    assert caught.value.sentence.key == "tokenizer_disproved"


def test_marian_is_read_from_its_two_models_each_side_by_its_own(tmp_path: Path) -> None:
    folder = files.lay(tmp_path / "m", {"model_type": "marian"}, source_lang="en", target_lang="ja")
    files.pieces(folder / "source.spm", "unigram", vocab_size=200)
    files.pieces(folder / "target.spm", "bpe", vocab_size=250)
    sides = [SentencePieceProcessor(model_file=str(folder / f"{side}.spm")) for side in ("source", "target")]
    names = dict.fromkeys(side.IdToPiece(i) for side in sides for i in range(side.GetPieceSize()))
    (folder / "vocab.json").write_text(json.dumps({name: i for i, name in enumerate([*names, "<pad>"])}))
    read = load_tokenizer(folder, "m")
    for side, key in zip(sides, ("text", "text_target"), strict=True):
        ids = read(**{key: "London is the capital"}, add_special_tokens=False).input_ids
        assert read.convert_ids_to_tokens(ids) == side.EncodeAsPieces("London is the capital")


def test_bytes_need_no_file(tmp_path: Path) -> None:
    folder = files.lay(tmp_path / "m", {"model_type": "t5", "tokenizer_class": "ByT5Tokenizer"})
    read = load_tokenizer(folder, "m")
    assert read("é1", add_special_tokens=False).input_ids == [0xC3 + 3, 0xA9 + 3, ord("1") + 3]


def test_a_package_that_is_not_there_is_named(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    folder = files.lay(
        tmp_path / "m", {"model_type": "bert"}, tokenizer_class="BertJapaneseTokenizer", word_tokenizer_type="mecab"
    )
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "東", "##京"]))
    with pytest.raises(InputError, match="pip install fugashi"):
        load_tokenizer(folder, "m")


def test_a_japanese_bert_of_characters_is_read(tmp_path: Path) -> None:
    folder = files.lay(
        tmp_path / "m",
        {"model_type": "bert"},
        tokenizer_class="BertJapaneseTokenizer",
        word_tokenizer_type="basic",
        subword_tokenizer_type="character",
    )
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "東", "京"]))
    assert load_tokenizer(folder, "m")("東京").input_ids == [2, 5, 6, 3]


BROKEN: dict[str, tuple[str, bytes]] = {
    "no JSON": ("tokenizer.json", b"junk"),
    "an object of another kind": ("tokenizer.json", b'{"version": "1.0"}'),
    "a list": ("tokenizer.json", b"[]"),
    "a model of later days": (
        "tokenizer.json",
        json.dumps({"version": "9.0", "model": {"type": "Quantum", "vocab": {}}, "added_tokens": []}).encode(),
    ),
    "no sentencepiece": ("tokenizer.model", b"junk"),
    "an empty one": ("spiece.model", b""),
    "bytes that are no text": ("tokenizer.json", b"\xff\xfe\x00"),
    "words without merges": ("vocab.json", b"[1, 2]"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_is_broken_or_newer_is_a_sentence(tmp_path: Path, case: str) -> None:
    name, content = BROKEN[case]
    folder = files.lay(tmp_path / "m", {"model_type": "gpt2"} if name == "vocab.json" else LLAMA)
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=r"^m cannot be used: its tokenizer cannot be read") as caught:
        load_tokenizer(folder, "m")
    assert str(tmp_path) not in str(caught.value)
    assert "tiktoken" not in str(caught.value), "that would be no way out"


def with_tokenizer(family: str, tokenizer: Tokenizer, kind: str = "causal", **settings: Any) -> LanguageModel:
    return LanguageModel(
        tiny_module(family), PreTrainedTokenizerFast(tokenizer_object=tokenizer, **settings), "tiny", kind=kind
    )


def test_a_token_without_a_row_is_refused_in_the_text_that_holds_it_alone() -> None:
    tokenizer = files.llama_like()
    tokenizer.add_special_tokens([f"<image{i}>" for i in range(100)])
    model = with_tokenizer("llama", tokenizer)
    assert model.encode("London is")
    with pytest.raises(InputError, match="<image99>") as caught:
        model.encode("London <image99> is")
    assert caught.value.sentence.values["last"] == 383


def test_absence_never_stands_on_a_token_without_a_row() -> None:
    tokenizer = files.llama_like()
    tokenizer.add_special_tokens([f"<more{i}>" for i in range(100)])
    model = with_tokenizer("llama", tokenizer, pad_token="<more99>", eos_token="</s>")
    assert model.baseline_id == tokenizer.token_to_id("</s>")


def test_what_the_tokenizer_puts_around_a_text_is_known() -> None:
    model = with_tokenizer("llama", files.llama_like("<s>", "</s>"))
    assert model.around == ((1,), (2,))
    assert model.encode("London")[-1] != 2, "a causal model goes on from the text, not from its end"
    assert model.encode("London</s>")[-1] == 2, "one that was written stays"


def test_characters_that_are_dropped_are_found() -> None:
    alphabet = sorted(set(pre_tokenizers.ByteLevel.alphabet()) - {"Ą", "ĸ"})
    tokenizer = files.byte_level()
    state = json.loads(tokenizer.to_str())
    assert "Ą" not in alphabet
    state["model"]["vocab"] = {name: i for i, name in enumerate(state["model"]["vocab"]) if "Ą" not in name}
    state["model"]["vocab"] = {name: i for i, name in enumerate(state["model"]["vocab"])}
    state["model"]["merges"] = []
    model = with_tokenizer("gpt2", Tokenizer.from_str(json.dumps(state)))
    assert model.find_dropped("a\x04b c") == "\x04"
    assert model.find_dropped("a plain 東京 é 👍 text\n") == ""


def ended_words() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(vocab_size=384, special_tokens=["<unk>"], end_of_word_suffix="</w>")
    tokenizer.train_from_iterator(files.CORPUS, trainer)
    return tokenizer


WITHOUT_DECODER = {
    "bytes": lambda: files.byte_level(r"\d{1,3}"),
    "Metaspace": files.unigram,
    "Prepend and Replace": files.llama_like,
    "WordPiece": files.word_piece,
    "ends of words": ended_words,
}


@pytest.mark.parametrize("kind", WITHOUT_DECODER)
def test_a_file_without_a_decoder_has_its_marks_undone_all_the_same(tmp_path: Path, kind: str) -> None:
    tokenizer = WITHOUT_DECODER[kind]()
    tokenizer.decoder = None
    folder = files.lay(tmp_path / "m", LLAMA, tokenizer)
    read = load_tokenizer(folder, "m")
    ids = read("The keys to London", add_special_tokens=False).input_ids
    assert read.decode(ids).lower() == "the keys to london"
    tokens = TokenReader(read).tokens_of(ids)
    assert "".join(token.text for token in tokens).lower() == "the keys to london"


def test_a_panic_of_the_tokenizers_library_is_a_sentence() -> None:
    """It is no `Exception`: nobody would hear of it, and the visitor wait for ever."""

    class PanicException(BaseException):
        pass

    with (
        pytest.raises(InputError, match="The tokenizer of tiny cannot read this text"),
        tokenizing.told_of_panic("tiny"),
    ):
        raise PanicException
    with pytest.raises(KeyboardInterrupt), tokenizing.told_of_panic("tiny"):
        raise KeyboardInterrupt

"""A GGUF file's text is split as the file says, or the file is refused."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from families import tiny_module
from gguf import GGUFReader
from tiny_gguf import write_gguf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from analyzers.common.errors import InputError
from analyzers.models.gguf_splits import SPLITS, set_split
from analyzers.models.language_model import LanguageModel
from analyzers.models.store import ModelStore
from analyzers.models.tokenizing import HARD_TEXTS
from analyzers.sources import catalog, gguf_cache, local_files
from analyzers.sources.resolver import Resolver


@pytest.fixture(scope="module")
def smollm2_by_hand() -> Tokenizer:
    """SmolLM2's own tokenizer: every digit alone, then GPT-2's split, over the vocabulary that lies in the file."""
    row = catalog.find_row(catalog.OFFLINE_MODEL)
    assert row is not None
    folder = local_files.find_bundled_folder(row)
    assert folder is not None
    fields = GGUFReader(str(folder / str(row.gguf_file))).fields
    names = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(pair.split(" ")) for pair in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


COUNTRIES = "1. Austria\n2. Germany\n3."


@pytest.mark.parametrize(
    "text",
    [*HARD_TEXTS, COUNTRIES, "The countries of the EU are:\n\n1. Austria\n\n2. Belgium\n\n3.", "Total:  42"],
)
def test_the_bundled_model_reads_as_its_own_tokenizer(
    smollm2: LanguageModel, smollm2_by_hand: Tokenizer, text: str
) -> None:
    assert smollm2.encode(text) == smollm2_by_hand.encode(text).ids


def test_random_texts_of_digits_and_white_space_are_read_alike(
    smollm2: LanguageModel, smollm2_by_hand: Tokenizer
) -> None:
    dice = random.Random(3)
    pieces = [
        "\n",
        "\n\n",
        " ",
        "  ",
        "\t",
        "1",
        "42",
        "2023",
        ".",
        "a",
        "The",
        "'s",
        "é",
        "京",
        "½",
        "٣",
        "\u3000",
        ",",
    ]
    for _ in range(400):
        text = "".join(dice.choice(pieces) for _ in range(dice.randint(1, 12)))
        assert smollm2.encode(text) == smollm2_by_hand.encode(text).ids, repr(text)


def test_a_numbered_list_has_its_blank_lines_and_its_next_word(smollm2: LanguageModel) -> None:
    ids = smollm2.encode("Shopping list:\n\n1. milk\n\n2.")
    assert ids.count(1116) == 2, "two line ends are one token"
    logits, _ = smollm2.next_logits(ids)
    assert float(logits.softmax(-1)[smollm2.encode(" eggs")[0]]) == pytest.approx(0.354, abs=5e-4)


BY_HAND: dict[str, list[str]] = {
    "default": ["Ab", "'", "s", " ", "123", "45", "\n", "\n", "x", "!?"],
    "gpt-2": ["Ab", "'s", " 12345", "\n", "\n", "x", "!?"],
    "smollm": ["Ab", "'s", " ", "1", "2", "3", "4", "5", "\n", "\n", "x", "!?"],
    "llama-bpe": ["Ab", "'s", " ", "123", "45", "\n\n", "x", "!?"],
    "qwen2": ["Ab", "'s", " ", "1", "2", "3", "4", "5", "\n\n", "x", "!?"],
    "qwen35": ["Ab", "'s", " ", "1", "2", "3", "4", "5", "\n\n", "x", "!?"],
    "falcon": ["Ab", "'", "s", " ", "123", "45", "\n", "\n", "x", "!?"],
    "tekken": ["Ab", "'s", " ", "1", "2", "3", "4", "5", "\n\n", "x", "!?"],
    "gpt-4o": ["Ab's", " ", "123", "45", "\n\n", "x", "!?"],
    "bloom": ["Ab's", " 12345", "\n\n", "x", "!?"],
    "viking": ["Ab's", " ", "1", "2", "3", "4", "5", "\n\n", "x", "!?"],
    "deepseek-v3": ["Ab", "'s", " ", "123", "45", "\n\n", "x", "!?"],
    "deepseek-coder": ["Ab", "'", "s", " ", "1", "2", "3", "4", "5", "\n", "\n", "x", "!?"],
    "superbpe": ["Ab's ", "12", "345", "\n\nx!?"],
    "dbrx": ["Ab", "'s", " ", "123", "45", "\n\n", "x", "!?"],
}


@pytest.mark.parametrize("name", BY_HAND)
def test_each_split_cuts_as_worked_by_hand(name: str) -> None:
    tokenizer = Tokenizer(models.BPE())
    set_split(tokenizer, name)
    text = "Ab's 12345\n\nx!?"
    cuts = [text[start:end] for _, (start, end) in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
    assert cuts == BY_HAND[name]


@pytest.mark.parametrize("name", SPLITS)
def test_no_split_loses_a_character(name: str) -> None:
    tokenizer = Tokenizer(models.BPE())
    set_split(tokenizer, name)
    for text in HARD_TEXTS:
        pieces = tokenizer.pre_tokenizer.pre_tokenize_str(text)
        assert decoders.ByteLevel().decode([piece for piece, _ in pieces]) == text


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ECCOLENS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


REFUSED = {
    "a split of later days": ({"split": "quantum-bpe"}, "gguf_split", "quantum-bpe"),
    "no split": ({"split": None}, "gguf_split", "—"),
    "a tokenizer of another kind": ({"tokenizer_model": "rwkv"}, "gguf_tokenizer", "rwkv"),
    "factors of Llama 3": ({"extra": "rope_freqs.weight"}, "gguf_positions", "rope_freqs.weight"),
    "factors of Phi 3": ({"extra": "rope_factors_long.weight"}, "gguf_positions", "rope_factors_long.weight"),
    "linear positions": ({"scaling": "linear"}, "gguf_positions", "rope.scaling.type = linear"),
    "YaRN": ({"scaling": "yarn"}, "gguf_positions", "rope.scaling.type = yarn"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_would_be_read_wrong_is_refused_by_name(folder: Path, case: str) -> None:
    changed, key, name = REFUSED[case]
    write_gguf(folder / "tiny.gguf", tiny_module("llama"), **changed)
    with pytest.raises(InputError) as caught:
        ModelStore(Resolver(models_folder=folder)).load("tiny.gguf", "cpu")
    assert (caught.value.sentence.key, caught.value.sentence.values["name"]) == (key, name)
    assert not (folder.parent / "cache").exists(), "nothing was converted"


def test_positions_that_are_not_stretched_are_no_reason(folder: Path) -> None:
    write_gguf(folder / "tiny.gguf", tiny_module("llama"), scaling="none")
    assert ModelStore(Resolver(models_folder=folder)).load("tiny.gguf", "cpu").facts.self_check == 0.0


def test_the_split_is_in_the_copy(folder: Path) -> None:
    file = write_gguf(folder / "tiny.gguf", tiny_module("llama"), split="smollm")
    model = ModelStore(Resolver(models_folder=folder)).load("tiny.gguf", "cpu")
    assert len(model.encode("2023")) == 4
    own = Tokenizer.from_file(str(gguf_cache.find_converted_folder(folder, file.name) / "tokenizer.json"))
    assert own.encode("2023\n\n1").ids == model.encode("2023\n\n1")


def test_a_copy_of_an_earlier_reader_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_gguf(folder / "tiny.gguf", tiny_module("llama"))
    now = gguf_cache.find_converted_folder(folder, file.name)
    monkeypatch.setattr(gguf_cache, "READER", gguf_cache.READER - 1)
    assert gguf_cache.find_converted_folder(folder, file.name) != now
    assert os.path.commonpath([now, folder.parent]) == str(folder.parent)


def test_copies_of_earlier_readers_go_when_a_new_one_is_made(folder: Path) -> None:
    file = write_gguf(folder / "tiny.gguf", tiny_module("llama"))
    another = write_gguf(folder / "another.gguf", tiny_module("llama"))
    old = [gguf_cache.find_converted_folder(folder, file.name, reader) for reader in range(gguf_cache.READER)]
    kept = gguf_cache.find_converted_folder(folder, another.name, 1)
    for made in (*old, kept):
        made.mkdir(parents=True)
        (made / "model.safetensors").write_bytes(b"0")
    ModelStore(Resolver(models_folder=folder)).load("tiny.gguf", "cpu")
    assert not any(made.exists() for made in old)
    assert kept.exists()
    assert gguf_cache.is_complete(gguf_cache.find_converted_folder(folder, file.name))

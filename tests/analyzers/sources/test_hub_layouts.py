"""Every repository of the catalog as it lies on the Hub, from the question to the numbers, against plain transformers and
tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from hub_layouts import LAYOUTS, NOT_WANTED, lay_out
from stub_hub import StubHub

from analyzers.common.settings import Generation
from analyzers.models.completion import complete
from analyzers.models.language_model import LanguageModel
from analyzers.models.store import ModelStore
from analyzers.models.tokenizing import HARD_TEXTS
from analyzers.sources import catalog, hub
from analyzers.sources.hub import HubId
from analyzers.sources.model_files import read_header
from analyzers.sources.resolver import Resolver


@pytest.fixture(params=LAYOUTS)
def repository(request: pytest.FixtureRequest, tmp_path: Path, stub_hub: StubHub) -> tuple[str, Path, Any]:
    """Catalog id, the folder as it was laid out, and the model itself."""
    folder = tmp_path / "repository"
    folder.mkdir()
    module = lay_out(LAYOUTS[request.param], folder)
    row = catalog.find_row(request.param)
    assert row is not None
    assert row.hub_id is not None
    n_by_type = read_header(folder / "model.safetensors", row.id).n_by_type
    stub_hub.add(row.hub_id, folder, safetensors={"parameters": dict(n_by_type), "total": n_by_type.total()})
    return request.param, folder, module


def test_every_repository_of_the_catalog_has_its_layout() -> None:
    assert set(LAYOUTS) == {row.id for row in catalog.CATALOG if not row.bundled}


def test_what_is_fetched_answers_as_plain_transformers_and_tokenizers_do(
    repository: tuple[str, Path, Any], stub_hub: StubHub
) -> None:
    id, folder, module = repository
    store = ModelStore(Resolver(any_hub_id=True))
    told = store.describe(id, "cpu")
    row = catalog.find_row(id)
    assert row is not None
    assert told.kind == row.kind
    assert told.n_parameters == sum(weight.numel() for weight in module.parameters())

    assert row.hub_id is not None
    check_listing(hub.ask(id, HubId(row.hub_id)), folder)
    model = store.load(id, "cpu")
    for name in NOT_WANTED:
        assert stub_hub.sent(name) == 0, name
    assert (model.facts.kind, model.facts.n_layers) == (row.kind, 3)
    check_ids(model, tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")))
    check_numbers(model, module)


def check_ids(model: LanguageModel, file: tokenizers.Tokenizer) -> None:
    """The ids are the file's, and the drawn glyphs its decoding of them."""
    for text in HARD_TEXTS:
        ids = model.tokenizer(text).input_ids
        assert list(ids) == file.encode(text).ids
        drawn = model.tokens_of(ids)
        plain = [token.id for token in drawn if not token.special]
        glyphs = "".join(t.glyph_text for t in drawn if t.glyph_start == t.position and not t.special)
        said = file.decode(plain)
        if model.reader.is_word_piece:  # whose decoding has spaces between the characters of Japanese
            glyphs, said = ("".join(text.split()) for text in (glyphs, said))
        assert glyphs == said
        assert not any(mark in glyphs for mark in ("▁", "Ġ", "##", "\ufffd"))


def check_numbers(model: LanguageModel, module: Any) -> None:
    text = "The keys to [MASK] are in 2023." if model.facts.kind == "masked" else "東京 is the capital: 1."
    *_, whole = complete(model, text, Generation(generate=3))
    ids, n = torch.tensor([whole.ids]), whole.n_source
    sides = {"input_ids": ids} if n == 0 else {"input_ids": ids[:, :n], "decoder_input_ids": ids[:, n:]}
    with torch.no_grad():
        theirs, ours = module(**sides).logits, model.module(**sides).logits
    assert torch.equal(theirs, ours)
    assert whole.outputs
    for token in whole.outputs:
        assert token.id == int(theirs[0, whole.row_of(token.position)].argmax())


def check_listing(asked: hub.HubModel, folder: Path) -> None:
    """What would be fetched is what is needed and nothing else, the configuration first."""
    root = {path.name for path in folder.iterdir() if path.is_file()}
    assert {name for name, _ in asked.files} == root - set(NOT_WANTED)
    assert asked.files[0][0] == "config.json"
    assert all(n_bytes == (folder / name).stat().st_size for name, n_bytes in asked.files)

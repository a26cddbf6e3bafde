"""A model's files become a model: which class reads them, what may be missing, and how many weights there are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from families import BERT_LIKE, FAMILIES, LLAMA_LIKE, random_module, tiny_module, tiny_tokenizer
from safetensors.torch import load_file, save_file

from analyzers.common.errors import InputError
from analyzers.common.kinds import Kind
from analyzers.common.progress import finish
from analyzers.common.settings import Generation, SaliencySettings
from analyzers.models.completion import complete
from analyzers.models.loading import check_kind, count_parameters, find_reader, load_model
from analyzers.saliency import compute_saliency
from analyzers.sources.model_files import ModelFiles, inspect_folder
from analyzers.sources.source import Source

Save = Callable[..., Path]


def save_files(folder: Path, module: Any, kind: str = "causal") -> Path:
    module.save_pretrained(folder)
    tiny_tokenizer(kind).save_pretrained(folder)
    return folder


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


TEXT_PART = LLAMA_LIKE | dict(head_dim=8)
PICTURES = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=28)
ROPE = {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10_000.0}}
OF_PICTURES_TOO: dict[str, dict[str, Any]] = {
    "Qwen2VLForConditionalGeneration": {
        "text_config": TEXT_PART | ROPE,
        "vision_config": dict(depth=2, embed_dim=32, num_heads=4, hidden_size=32),
    },
    "Mistral3ForConditionalGeneration": {"text_config": TEXT_PART, "vision_config": PICTURES | dict(patch_size=14)},
    "LlavaForConditionalGeneration": {"text_config": TEXT_PART, "vision_config": PICTURES | dict(patch_size=14)},
    "SmolVLMForConditionalGeneration": {"text_config": TEXT_PART, "vision_config": PICTURES | dict(patch_size=14)},
    "Gemma3ForConditionalGeneration": {
        "text_config": TEXT_PART | dict(query_pre_attn_scalar=8),
        "vision_config": PICTURES | dict(patch_size=14),
        "mm_tokens_per_image": 4,
    },
}


@pytest.mark.parametrize("name", OF_PICTURES_TOO)
def test_of_a_model_that_sees_pictures_too_the_text_part_is_run(tmp_path: Path, name: str) -> None:
    folder = save_files(tmp_path / "wrapper", random_module(name, **OF_PICTURES_TOO[name]))
    assert inspect_folder(folder, name).kind == "causal"
    model = load_model(folder, name, device="cpu")
    assert (model.facts.n_layers, model.facts.d_model, model.facts.self_check) == (3, 32, 0.0)
    *_, whole = complete(model, "the café: the keys", Generation(generate=4))
    with torch.no_grad():
        own = model.module(input_ids=torch.tensor([whole.ids])).logits[0].softmax(-1)
    for token in whole.outputs:  # greedy, from a cache: what one plain forward says
        assert token.id == int(own[token.position - 1].argmax())
    saliency = finish(compute_saliency(model, whole, SaliencySettings(method="occlusion")))
    values = [float(own[token.position - 1, token.id]) for token in whole.outputs]
    assert saliency.values.tolist() == pytest.approx(values, rel=1e-4)


@pytest.mark.parametrize(
    ("type_", "kind"),
    [("qwen2_audio", "causal"), ("vit", "encoder"), ("wav2vec2", "masked"), ("pix2struct", "seq2seq")],
)
def test_a_type_without_a_model_of_text_is_refused_by_name(type_: str, kind: str) -> None:
    with pytest.raises(InputError, match=rf"x cannot be used: .*\({type_}\)") as caught:
        find_reader(type_, Kind(kind), "x")
    assert str(caught.value).endswith("The model in use is unchanged.")


@pytest.mark.parametrize("architecture", ["BertModel", "BertForTokenClassification", None])
def test_an_encoder_saved_without_its_pooler_is_read(tmp_path: Path, architecture: str | None) -> None:
    full = random_module("BertModel", **BERT_LIKE)
    folder = save_files(tmp_path / "encoder", random_module("BertForTokenClassification", **BERT_LIKE), "encoder")
    tensors = load_file(folder / "model.safetensors")
    assert not any("pooler" in name for name in tensors)
    own = {name.removeprefix("bert."): tensor for name, tensor in tensors.items() if name.startswith("bert.")}
    full.load_state_dict(own, strict=False)
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = [architecture] if architecture else None
    (folder / "config.json").write_text(json.dumps(config))
    assert inspect_folder(folder, "encoder").kind == "encoder"
    model = load_model(folder, "encoder", kind="encoder", device="cpu")
    ids = torch.tensor([model.encode("the café")])
    with torch.no_grad():
        theirs = full(input_ids=ids).last_hidden_state.mean(1)
    torch.testing.assert_close(model.pool(ids), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lost", ["encoder.layer.2.output.dense.weight", "embeddings.LayerNorm.bias"])
def test_an_encoder_that_lacks_what_is_read_is_refused(tmp_path: Path, lost: str) -> None:
    folder = save_files(tmp_path / "encoder", random_module("BertModel", **BERT_LIKE), "encoder")
    tensors = load_file(folder / "model.safetensors")
    for name in (lost, "pooler.dense.weight"):
        del tensors[name]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="its files lack 2 weights"):
        load_model(folder, "encoder", kind="encoder", device="cpu")


def test_a_model_saved_for_pretraining_answers_as_a_masked_one(tmp_path: Path) -> None:
    module = random_module("BertForPreTraining", **BERT_LIKE)
    folder = save_files(tmp_path / "bert", module, "masked")
    kind = inspect_folder(folder, "bert").kind
    model = load_model(folder, "bert", kind=kind, device="cpu")
    ids = torch.tensor([model.encode("the [MASK] café")])
    with torch.no_grad():
        torch.testing.assert_close(model.module(input_ids=ids).logits, module(input_ids=ids).prediction_logits)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_counted_weights_are_the_models_own_whatever_its_files_hold(save_model: Save, family: str) -> None:
    """Buffers that old files hold (masks, positions, frequencies) and a tied head saved twice are no weights."""
    module = tiny_module(family)
    folder = save_model(family, module)
    own = sum(weight.numel() for weight in module.parameters())
    held = load_file(folder / "model.safetensors")
    for name, tensor in module.state_dict().items():  # the head too
        held.setdefault(name, tensor.clone())
    for name, buffer in module.named_buffers():
        held.setdefault(name, buffer.clone())
    held["mask.bias"] = torch.ones(1, 1, 128, 128)
    save_file({name: tensor.contiguous() for name, tensor in held.items()}, folder / "model.safetensors")
    figures = inspect_folder(folder, family)
    assert figures.config is not None
    assert figures.n_numbers > own
    assert count_parameters(figures.config, family, figures.kind) == own


@pytest.mark.parametrize(
    ("config", "n"),
    [
        ({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}, 124_439_808),
        (
            {
                "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "vocab_size": 151_936, "hidden_size": 1024,
                "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16,
                "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": True,
            },
            596_049_920,
        ),
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, 109_514_298),
    ],
)  # fmt: skip
def test_known_models_have_as_many_weights_as_their_authors_say(config: dict[str, Any], n: int) -> None:
    assert count_parameters(config, "x", Kind.MASKED if config["model_type"] == "bert" else Kind.CAUSAL) == n


FILES = ModelFiles(Kind.CAUSAL, 10, 40, {"model_type": "gpt2"})


def test_the_kind_that_is_said_of_a_model_goes_before_that_of_its_files() -> None:
    assert check_kind(Source("a", None, kind=Kind.ENCODER), FILES) == "encoder"
    assert check_kind(Source("a", None), FILES) == "causal"


def test_a_type_that_needs_code_of_its_own_is_refused_whatever_is_said_of_it() -> None:
    with pytest.raises(InputError, match="own-code") as refused:
        check_kind(Source("a", None, kind=Kind.CAUSAL), ModelFiles(Kind.CAUSAL, 10, 40, {"model_type": "own-code"}))
    assert refused.value.sentence.key == "model_type_unknown"


@pytest.mark.parametrize(("family", "name"), [("gpt2", "n_layer"), ("llama", "num_hidden_layers")])
def test_layers_that_the_configuration_does_not_describe_are_told(tmp_path: Path, family: str, name: str) -> None:
    """The model would end before its last ones, and say so nowhere."""
    folder = save_files(tmp_path / "short", tiny_module(family))
    change(folder / "config.json", **{name: 1, "layer_types": None})
    with pytest.raises(InputError, match=r"weights of 3 layers .*, and its configuration describes 1"):
        load_model(folder, "short")

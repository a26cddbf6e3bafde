"""What a model's files say of it, and what they may not say: known before a weight is read."""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from families import CAUSAL, FAMILIES, tiny_module
from safetensors.torch import load_file, save_file

from analyzers.common.errors import InputError
from analyzers.sources.model_files import (
    BOTH_WAYS,
    Header,
    check_config,
    check_type,
    check_types,
    choose_weights,
    inspect_folder,
    kind_of,
    read_header,
)

Save = Callable[..., Path]


def refusal_of(of: Callable[..., Any], *given: Any) -> str:
    with pytest.raises(InputError) as caught:
        of(*given)
    return caught.value.sentence.key


@pytest.mark.parametrize("family", sorted(CAUSAL))
def test_the_figures_of_a_folder_are_those_of_the_loaded_model(save_model: Save, family: str) -> None:
    folder = save_model(family)
    found = inspect_folder(folder, family)
    assert found.kind == "causal"
    # A head that is tied is not saved, and is no parameter of its own either.
    assert found.n_numbers == sum(weight.numel() for weight in tiny_module(family).parameters())
    assert found.n_bytes == (folder / "model.safetensors").stat().st_size


def test_weights_in_several_files_are_added_up(save_model: Save) -> None:
    whole = inspect_folder(save_model("gpt2"), "gpt2")
    folder = save_model("gpt2")
    tensors = list(load_file(folder / "model.safetensors").items())
    (folder / "model.safetensors").unlink()
    parts = {"model-1.safetensors": dict(tensors[::2]), "model-2.safetensors": dict(tensors[1::2])}
    for name, part in parts.items():
        save_file(part, folder / name, metadata={"format": "pt"})
    index = {"weight_map": {key: name for name, part in parts.items() for key in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert inspect_folder(folder, "gpt2").n_numbers == whole.n_numbers
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(InputError, match="1 of its 2 weight files are missing"):
        inspect_folder(folder, "gpt2")


@pytest.mark.parametrize("name", ["../../secret.safetensors", "/etc/passwd", "sub/x.safetensors", None, 3])
def test_an_index_leads_to_files_that_are_there_and_nowhere_else(name: Any) -> None:
    assert (
        refusal_of(choose_weights, {"model.safetensors.index.json"}, {"weight_map": {"a": name}}, "x") == "model_broken"
    )


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": []}, {"weight_map": "x"}])
def test_an_index_that_lists_nothing_is_refused(index: dict[str, Any]) -> None:
    assert refusal_of(choose_weights, {"model.safetensors.index.json"}, index, "x") == "model_broken"


def test_pickles_are_refused_by_name_and_an_empty_repository_by_another() -> None:
    assert refusal_of(choose_weights, {"config.json", "pytorch_model.bin"}, None, "x") == "model_pickles_only"
    assert refusal_of(choose_weights, {"config.json", "tf_model.h5"}, None, "x") == "model_pickles_only"
    assert refusal_of(choose_weights, {"config.json"}, None, "x") == "model_no_weights"
    assert choose_weights({"pytorch_model.bin", "model.safetensors"}, None, "x") == ("model.safetensors",)


def test_a_header_is_checked_against_the_file(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(3, 4), "b": torch.zeros(5)}, file)
    assert read_header(file, "x") == Header(("a", "b"), Counter(F32=17))
    whole = file.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    for n in (0, 4, 8, 8 + length // 2, 8 + length, len(whole) - 1):
        file.write_bytes(whole[:n])
        assert refusal_of(read_header, file, "x") == "model_cut_short", n
    file.write_bytes(struct.pack("<Q", 2**62) + whole[8:])
    assert refusal_of(read_header, file, "x") == "model_cut_short"
    for header in (
        b"[]",
        b'{"a": 1}',
        b'{"a": {"shape": "x", "data_offsets": [0, 4]}}',
        b'{"a": {"shape": [1]}}',
        b"{nope",
    ):
        file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))
        assert refusal_of(read_header, file, "x") == "model_broken", header


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_usual_configuration_asks_for_nothing_that_is_refused(family: str) -> None:
    check_config(tiny_module(family).config.to_dict(), "x")


def test_the_defaults_of_every_type_that_transformers_knows_are_within_the_bounds() -> None:
    refused = {}
    for name, of in transformers.CONFIG_MAPPING.items():
        try:
            config = json.loads(json.dumps(of().to_dict(), default=str))
        except Exception:  # a configuration that cannot stand alone
            continue
        try:
            check_config(config, name)
        except InputError as error:
            refused[name] = str(error)
    assert refused == {}


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"hidden_size": 10**9}, "model_absurd"),
        ({"hidden_size": 1e300}, "model_absurd"),
        ({"text_config": {"intermediate_size": 10**9}}, "model_absurd"),
        ({"parts": [{"num_hidden_layers": 10**7}]}, "model_absurd"),
        ({"encoder_layers": 10**6}, "model_absurd"),
        ({"hidden_sizes": 5, "num_layers": [4, 10**6]}, "model_absurd"),
        ({"vocab_size": 10**12}, "model_absurd"),
        ({"num_local_experts": 10**9}, "model_absurd"),
        ({"kernel_config": {"a": "b/c"}}, "model_kernels"),
        ({"use_kernels": True}, "model_kernels"),
        ({"attn_implementation": "owner/kernel"}, "model_kernels"),
        ({"_attn_implementation": "owner/kernel@v1:flash"}, "model_kernels"),
        ({"attn_implementation": {"text_config": "paged|owner/kernel"}}, "model_kernels"),
        ({"vision_config": {"experts_implementation": "owner/kernel"}}, "model_kernels"),
        ({"quantization_config": {"quant_method": "fp8"}}, "model_quantized"),
        ({"quantization_config": {}}, "model_quantized"),
        ({"text_config": {"quantization_config": {"quant_method": "mxfp4"}}}, "model_quantized"),
        ({"quantization": {"group_size": 64, "bits": 4}}, "model_quantized"),
        ({"compression_config": {"format": "pack-quantized"}}, "model_quantized"),
        ({"quantize_config": {"bits": 4}}, "model_quantized"),
        ({"torchao": {"quant_method": "int4"}}, "model_quantized"),
        ({"quant_method": "exl2"}, "model_quantized"),
    ],
)
def test_what_a_configuration_may_not_ask_for(config: dict[str, Any], key: str) -> None:
    assert refusal_of(check_config, config, "x") == key


@pytest.mark.parametrize(
    "config",
    [
        {"attn_implementation": "sdpa", "experts_implementation": None, "use_kernels": False, "kernel_config": None},
        {"vocab_size": 262_144, "hidden_size": 16_384, "num_hidden_layers": 126, "num_experts": 512},
        {"max_position_embeddings": 10**7, "rope_theta": 1e9, "eos_token_id": 10**8, "quantization_config": None},
    ],
)
def test_what_a_configuration_may_say(config: dict[str, Any]) -> None:
    check_config(config, "x")


def test_a_type_that_is_known_needs_no_code_of_its_own() -> None:
    mapped = {"auto_map": {"AutoModelForCausalLM": "evil.Model"}}
    check_type({"model_type": "gpt2"} | mapped, "x", {"gpt2"})
    assert refusal_of(check_type, {"model_type": "mine"} | mapped, "x", {"gpt2"}) == "model_remote_code"
    assert refusal_of(check_type, {"model_type": "mine"}, "x", {"gpt2"}) == "model_type_unknown"
    assert refusal_of(check_type, {"model_type": ["gpt2"]}, "x", {"gpt2"}) == "model_type_unknown"
    assert refusal_of(check_type, {}, "x", {"gpt2"}) == "model_type_unknown"


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "causal"),
        ({"architectures": ["LlamaForCausalLM"]}, "causal"),
        ({"architectures": ["Gemma3ForConditionalGeneration"]}, "causal"),
        ({"architectures": ["BertForMaskedLM"]}, "masked"),
        ({"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}, "seq2seq"),
        ({"architectures": ["BertModel"]}, "encoder"),
        ({"architectures": ["T5EncoderModel"], "is_encoder_decoder": True}, "encoder"),
        ({"architectures": ["BertForPreTraining"]}, "masked"),
        ({"architectures": ["AlbertForPreTraining"]}, "masked"),
        ({"architectures": ["ElectraForPreTraining"]}, "encoder"),
        ({"architectures": ["BertForTokenClassification"]}, "encoder"),
        ({"architectures": ["XLMWithLMHeadModel"]}, "masked"),
        ({"architectures": ["GPT2DoubleHeadsModel"]}, "causal"),
        ({"architectures": "GPT2LMHeadModel"}, "causal"),
        ({"architectures": [], "model_type": "gpt2"}, "causal"),
        ({"architectures": [None], "model_type": "bert"}, "encoder"),
        ({"model_type": "llama"}, "causal"),
        ({"model_type": "bert"}, "encoder"),
        ({"model_type": "bert", "is_decoder": True}, "causal"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "seq2seq"),
    ],
)
def test_the_kind_is_read_off_the_architecture(config: dict[str, Any], kind: str) -> None:
    assert kind_of(config) == kind


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_kind_of_files_without_an_architecture_is_that_of_the_same_with_one(save_model: Save, family: str) -> None:
    folder = save_model(family)
    file = folder / "config.json"
    config = json.loads(file.read_text())
    assert config.pop("architectures") == [FAMILIES[family].model]
    file.write_text(json.dumps(config))
    assert inspect_folder(folder, family).kind == FAMILIES[family].kind


def test_the_types_that_read_both_ways_are_those_with_a_masked_head_of_their_own() -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as NAMES

    theirs = {name for name, model in NAMES.items() if str(model).endswith(("ForMaskedLM", "WithLMHeadModel"))}
    # Of pictures too, or of code, or a decoder unless it is told otherwise.
    assert theirs - BOTH_WAYS == {"modernvbert", "ultravbert", "reformer"}
    assert BOTH_WAYS - theirs == {"bert-generation", "clip_text_model"}


def test_weights_that_another_tool_made_integers_of_are_refused(save_model: Save) -> None:
    folder = save_model("gpt2")
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["transformer.h.0.mlp.c_fc.qweight"] = torch.zeros(320, 16, dtype=torch.int32)
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"its weights are quantized \(I32\)"):
        inspect_folder(folder, "gpt2")
    config = json.loads((folder / "config.json").read_text())
    check_types({"I8": 900, "F16": 100}, config | {"quantization_config": {"quant_method": "bitsandbytes"}}, "x")
    check_types({"F32": 1_000, "I64": 512, "BOOL": 900, "U8": 900, "I32": 5}, config, "x")  # positions and masks

"""Models on the Hugging Face Hub that anyone may name: what one is, before anything is fetched, and fetching it.

No token is ever sent: what a visitor names is read as anybody could read it. Nothing here looks at a path.
"""

from __future__ import annotations

import errno
import json
import os
import re
import urllib.error
import urllib.request
from dataclasses import dataclass

from analyzers.common.errors import InputError
from analyzers.common.kinds import Kind
from analyzers.common.threads import start
from analyzers.sources import model_files
from analyzers.sources.hub_errors import to_input_error
from analyzers.sources.hub_probe import endpoint
from analyzers.sources.model_files import Json, ModelFiles

# Read when huggingface_hub is imported. Its other way of fetching (Xet) neither hears Stop nor tells a full disk.
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")

SECONDS = 5.0
"""All questions about one model together."""
GGUF_BITS = 4.5
"""A parameter of a GGUF file, where the Hub does not say how many there are."""
LARGEST_GGUF_NAME = 200

SMALL = re.compile(r"(?!(pytorch_model|tf_model|flax_model)\b).*\.(json|model|spm|tiktoken)|(vocab|merges)\.txt")
"""Names of files beside the weights that a model is read from."""


@dataclass(frozen=True)
class HubId:
    """`owner/name`, `owner/name@revision`, `owner/name/file.gguf` or both, taken apart."""

    repository: str
    revision: str | None = None
    gguf_file: str | None = None


@dataclass(frozen=True)
class HubModel:
    """What the Hub says of one model at one commit."""

    id: str
    """As it was asked for."""
    repository: str
    revision: str
    commit: str
    model_files: ModelFiles
    files: tuple[tuple[str, int], ...]
    """What loading needs, name and bytes, the small files first."""
    gguf_file: str | None = None

    @property
    def n_bytes(self) -> int:
        return sum(n for _, n in self.files)


def parse_id(model: str) -> HubId | None:
    """A Hub id taken apart; None for anything else. Asks neither the disk nor the Hub."""
    if len(model) > 400 or not model.isascii() or not model.isprintable():
        return None
    name, at, revision = model.partition("@")
    parts = name.split("/")
    gguf_file = parts.pop() if len(parts) == 3 and parts[2].lower().endswith(".gguf") else None
    if len(parts) != 2 or (at and not re.fullmatch(r"[\w][\w.\-/]{0,119}", revision)) or ".." in revision:
        return None
    if gguf_file is not None and not re.fullmatch(r"[\w][\w.\-]*", gguf_file[:LARGEST_GGUF_NAME]):
        return None
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id("/".join(parts))
    except HFValidationError:
        return None
    return HubId("/".join(parts), revision or None, gguf_file)


def ask(id: str, hub_id: HubId, seconds: float = SECONDS) -> HubModel:
    """What the Hub says of a model, within `seconds`, nothing fetched but its configuration.

    Raises InputError where there is none that can be used: unknown, private, gated, without safetensors, needing code.
    """
    for is_last in (False, True):
        try:
            return start(lambda: _ask(id, hub_id, seconds), "hub-question").result(seconds)
        except InputError:
            raise
        except Exception as error:
            if is_last or not _was_closed_elsewhere(error):
                raise to_input_error(id, hub_id.revision, SECONDS, error) from error
    raise AssertionError("the last try returns or raises")


def _was_closed_elsewhere(error: BaseException | None) -> bool:
    """huggingface_hub keeps one connection for all threads, and closes it when one of them finds no server."""
    while error is not None:
        if (isinstance(error, OSError) and error.errno == errno.EBADF) or "client has been closed" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _ask(id: str, hub_id: HubId, seconds: float) -> HubModel:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint(), token=False)
    info = api.model_info(
        hub_id.repository, revision=hub_id.revision, files_metadata=True, timeout=seconds, token=False
    )
    if info.gated:
        raise InputError("hub_gated", model=id)
    if info.private or info.disabled:
        raise InputError("hub_not_found", model=id)
    commit = str(info.sha)
    revision = hub_id.revision or "main"
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise InputError("download_failed", model=id, reason="the Hub names no commit")
    sizes = {file.rfilename: int(file.size or 0) for file in info.siblings or () if "/" not in file.rfilename}
    if hub_id.gguf_file is not None:
        figures = _gguf_figures(id, hub_id.gguf_file, sizes, getattr(info, "gguf", None))
        only = ((hub_id.gguf_file, figures.n_bytes),)
        return HubModel(id, hub_id.repository, revision, commit, figures, only, hub_id.gguf_file)
    if "config.json" not in sizes:
        is_gguf = any(name.lower().endswith(".gguf") for name in sizes)
        raise InputError("hub_name_the_file" if is_gguf else "model_no_config", model=id)
    config = _get_json(hub_id.repository, commit, "config.json", model_files.LARGEST_CONFIG, seconds, id)
    model_files.check_config(config, id)
    index = None
    if model_files.INDEX in sizes and "model.safetensors" not in sizes:
        index = _get_json(hub_id.repository, commit, model_files.INDEX, model_files.LARGEST_HEADER, seconds, id)
    weights = model_files.choose_weights(sizes, index, id)
    model_files.check_tokenizer(sizes, id, config)
    small = [name for name in sizes if SMALL.fullmatch(name) and name != "config.json"]
    n_by_type = info.safetensors.parameters if info.safetensors is not None else None
    if not n_by_type:
        headers = api.get_safetensors_metadata(hub_id.repository, revision=commit, token=False, timeout=seconds)
        n_by_type = headers.parameter_count
    model_files.check_types(n_by_type, config, id)
    n_bytes = sum(sizes[name] for name in weights)
    figures = ModelFiles(model_files.kind_of(config), sum(n_by_type.values()), n_bytes, config)
    files = tuple((name, sizes[name]) for name in ("config.json", *sorted(small), *weights))
    return HubModel(id, hub_id.repository, revision, commit, figures, files)


def _gguf_figures(id: str, name: str, sizes: dict[str, int], told: object) -> ModelFiles:
    """Of one file that holds everything. Raises InputError where it is not there."""
    if name not in sizes:
        offered = ", ".join(sorted(file for file in sizes if file.lower().endswith(".gguf"))[:8])
        raise InputError("hub_no_file", model=id, choices=offered or "—")
    total = told.get("total") if isinstance(told, dict) else None
    is_known = isinstance(total, int) and not isinstance(total, bool) and total > 0
    n_parameters = int(total or 0) if is_known else int(sizes[name] * 8 / GGUF_BITS)
    return ModelFiles(Kind.CAUSAL, n_parameters, sizes[name])


def _get_json(repository: str, commit: str, name: str, most: int, seconds: float, id: str) -> Json:
    """A small file of a repository, read but not kept. Raises InputError where it is no object or larger than `most`."""
    url = f"{endpoint()}/{repository}/resolve/{commit}/{name}"
    with urllib.request.urlopen(url, timeout=seconds) as reply:
        text = reply.read(most + 1)
    if len(text) > most:
        raise InputError("model_broken", model=id, reason=f"{name} is larger than {most:,} bytes")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError("model_broken", model=id, reason=f"{name} is not JSON") from error
    return model_files.as_mapping(found, name, id)

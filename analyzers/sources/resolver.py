"""Which models may be named, and where each name leads. Nothing is loaded or fetched here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from analyzers.common.errors import InputError
from analyzers.common.sentences import quote
from analyzers.sources import catalog, hub, hub_probe, local_files
from analyzers.sources.hub import HubId
from analyzers.sources.source import Source, find_by_path, is_path, source_at


class Resolver:
    """The catalog, what the operator named or keeps in a folder, and where it is allowed any path or any model of the Hub."""

    def __init__(
        self,
        *,
        models_folder: Path | None = None,
        any_folder: bool = False,
        any_hub_id: bool = False,
        default: str | None = None,
    ) -> None:
        """`models_folder`: the operator's folder whose models are on offer; `any_folder`: any path may be named (the
        command line, where whoever types is the operator); `any_hub_id`: any public model of the Hub may be named."""
        self._models_folder = models_folder
        self._any_folder = any_folder
        self.any_hub_id = any_hub_id
        self._default = default
        self._named: dict[str, Source] = {}
        self._only: tuple[str, ...] | None = None

    def restrict_to(self, ids: tuple[str, ...]) -> None:
        """Have only these named from now on."""
        self._only = ids

    def default_id(self) -> str:
        """The model of a request that names none."""
        if self._default is None:
            self._default = default_model()
        if self._only and self._default not in self._only:
            return self._only[0]
        return self._default

    def set_default(self, model: str) -> None:
        """The operator's choice, so a path is one too; visitors get the model by its name. Raises InputError where there
        is none."""
        named = find_by_path(model) if catalog.find_row(model) is None else None
        if named is None:
            self._default = self.find(model).id
            return
        id = named.id if catalog.find_row(named.id) is None else f"{named.id} (folder)"
        self._named[id] = replace(named, id=id)
        self._default = id

    def local_names(self) -> tuple[str, ...]:
        """What the operator named, then what the models folder holds: sub-folders with a model, GGUF files in it or in a
        sub-folder. One whose name is not UTF-8 is left out."""
        if self._models_folder is None or not self._models_folder.is_dir():
            return tuple(self._named)
        folders = {path.parent for path in self._models_folder.glob("*/config.json")}
        files = {*self._models_folder.glob("*.gguf"), *self._models_folder.glob("*/*.gguf")}
        found = folders | {file for file in files if file.parent not in folders}
        names = sorted(path.relative_to(self._models_folder).as_posix() for path in found)
        return (*self._named, *(name for name in names if name not in self._named and is_utf8(name)))

    def names(self) -> tuple[str, ...]:
        """Ids that can be loaded, catalog first."""
        if self._only is not None:
            return self._only
        return (*(row.id for row in catalog.CATALOG), *self.local_names())

    def find(self, model: str) -> Source:
        """Where a model id leads. The same refusal whether or not a path of that name exists. Raises InputError."""
        source = self._find(model)
        if self._only is not None and source.id not in self._only:
            raise InputError("unknown_model", model=quote(model), choices=", ".join(self._only))
        return source

    def _find(self, model: str) -> Source:
        row = catalog.find_row(model)
        if row is not None:
            folder = local_files.find_bundled_folder(row) if row.bundled else local_files.find_cached_folder(row)
            if folder is None and row.bundled:
                raise InputError("bundled_missing", model=row.label)
            hub_id = None if row.hub_id is None else HubId(row.hub_id)
            return Source(row.id, folder, hub_id, row.gguf_file, row.kind)
        if model in self._named:
            return self._named[model]
        if model in self.local_names() and self._models_folder is not None:
            return source_at(self._models_folder / model, model)
        hub_id = hub.parse_id(model)
        if self._any_folder and is_path(model):
            found = find_by_path(model)
            if found is not None:
                return found
            if hub_id is None or not self.any_hub_id:
                raise InputError("no_such_folder", model=quote(model))
        if hub_id is not None and self.any_hub_id:
            folder = local_files.find_snapshot(hub_id.repository, hub_id.revision, hub_id.gguf_file)
            return Source(model, folder, hub_id, hub_id.gguf_file)
        choices = ", ".join(self.names())
        if self.any_hub_id:
            raise InputError("hub_id_only", model=quote(model), choices=choices)
        raise InputError("unknown_model" if hub_id is None else "hub_off", model=quote(model), choices=choices)


def is_utf8(name: str) -> bool:
    """Whether a file's name can be sent to a browser."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def default_model() -> str:
    """gpt2 where it is cached or the Hub answers, else the bundled SmolLM2."""
    row = catalog.find_row(catalog.PREFERRED_MODEL)
    return (
        catalog.PREFERRED_MODEL
        if row and (local_files.is_on_this_machine(row) or hub_probe.HUB.answers())
        else catalog.OFFLINE_MODEL
    )

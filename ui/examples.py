"""What the study group tried, one click each: the text, the tab and the settings, and the model it was tried on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from analyzers.common.languages import Language
from analyzers.models.store import Store
from analyzers.serving.analyses import ANALYSES
from analyzers.serving.request import AnyRequest, parameters_of
from analyzers.sources import catalog, hub_probe, local_files
from ui.texts import say
from ui.values import Options

HEATHROW = "Heathrow airport is located in the city of"
COUNTRIES = "The countries of the European Union are:\n1. Austria\n2. Belgium\n3. Bulgaria\n4."
WILDLIFE = (
    "Other species I saw on foot were Japanese grass lizards moving along the edges of the road, horseflies or "
    "carpenter bees flying near flowers with low buzzing sounds, small birds that I don’t see very often, and "
    "crows. I also heard a low buzzing sound coming from the high voltage lines. I thought the horseflies and "
    "carpenter bees, which fly with a low buzzing sound for their size, might alert humans and other animals "
    "with their sound."
)


@dataclass(frozen=True)
class Example:
    """One button."""

    number: int
    """The experiment; its variants stand in one row."""
    analysis: str
    """The tab it opens."""
    label: str
    """As it stands on the button, or the key of the text where `is_variant`."""
    values: Options
    """Settings that differ from the defaults."""
    models: tuple[str, ...] = ()
    """What it was tried on, then the bundled model that stands in for it. Empty: whatever is chosen."""
    is_variant: bool = False
    id: str = ""
    on: Mapping[str, Options] = field(default_factory=dict)
    """Settings by model, where the point shows with others."""

    def model(self, store: Store, chosen: object) -> str:
        """The model to run on: the one named, if it can be had, else its stand-in; else the chosen one, unless that does
        not continue a text."""
        if self.models:
            return next((id for id in self.models[:-1] if _can_be_had(id, self.analysis)), self.models[-1])
        if isinstance(chosen, str) and (kind := store.kind_of(chosen)) is not None and kind.continues_its_text:
            return chosen
        return store.resolver.default_id()

    def values_on(self, model: str) -> Options:
        """Its settings on a model."""
        return {**self.values, **self.on.get(model, {})}

    def asks(self, model: str) -> Options:
        """What the gate is given for it on a model; what its tab alone knows is left out."""
        known = {"text"} | {setting.name for setting in parameters_of(self.analysis)}
        return {name: value for name, value in self.values_on(model).items() if name in known} | {"model": model}

    def can_be_had(self, store: Store) -> bool:
        """Whether its model, or its stand-in, is one that this machine may have: a Space has no bundled ones."""
        if not self.models:
            return True
        row = catalog.find_row(self.model(store, None))
        return (
            row is not None
            and row.id in store.resolver.names()
            and (not row.bundled or local_files.is_on_this_machine(row))
        )

    def stand_in(self, model: str) -> StandIn | None:
        """Where another model runs than the example was tried on."""
        if not self.models or model == self.models[0]:
            return None
        return StandIn(label_of(self.models[0]), model, str(self.values_on(model)["text"]))


@dataclass(frozen=True)
class StandIn:
    """A model that runs in the place of the one that an example was tried on."""

    missing: str
    """Label of that one."""
    model: str
    text: str

    def runs(self, request: AnyRequest) -> bool:
        """Whether a request is the example's still."""
        return (self.model, self.text) == (request.model, request.text)

    def say(self, language: Language) -> str:
        return say("stand_in", language, missed=self.missing, model=label_of(self.model))


def label_of(id: str) -> str:
    """As the catalog calls a model."""
    row = catalog.find_row(id)
    return id if row is None else row.label


def _can_be_had(id: str, analysis: str) -> bool:
    row = catalog.find_row(id)
    if row is None or row.kind not in ANALYSES[analysis].kinds:
        return False
    return local_files.is_on_this_machine(row) or hub_probe.HUB.answers()


def _of(number: int, analysis: str, label: str, **values: object) -> Example:
    return Example(number, analysis, label, values, id=f"example-{number}-{analysis}")


def _variant(name: str, of: Example, **values: object) -> Example:
    return Example(of.number, of.analysis, f"example_{name}", of.values | values, of.models, True, f"{of.id}-{name}")


def _factors(number: int, label: str, *models: str, **values: object) -> Example:
    values = {"text": WILDLIFE, "generate": 0, "factors": 8} | values
    return Example(number, "neuron-factors", label, values, models, id=f"example-{number}-neuron-factors")


_LAYERS = _of(
    6,
    "layer-predictions",
    "␣Heathrow airport is located in the city of …",
    text=f" {HEATHROW}",
    generate=1,
    top=10,
)
_AFTERNOON = _of(9, "rankings", "Good afternoon.␣ …", text="Good afternoon. ", generate=10)
_WHOLE: Options = {"include_special": True, "include_first_token": True}
_DISTILBERT = _factors(3, "Other species I saw on foot … · DistilBERT", "distilbert", "minilm-l6", **_WHOLE)
_BERT = _factors(4, "Other species I saw on foot … · BERT", "bert", "minilm-l6", **_WHOLE)

EXAMPLES: tuple[Example, ...] = (
    _of(
        1,
        "saliency",
        "Heathrow airport is located in the city of …",
        text=HEATHROW,
        generate=1,
        method="integrated-gradients",
        target="probability",
    ),
    _of(
        2,
        "saliency",
        "In summer, when I hear the sound of cicadas, …",
        text="In summer, when I hear the sound of cicadas,",
        generate=10,
        sample=True,
        seed=1,
        method="integrated-gradients",
        target="probability",
    ),
    _of(
        12,
        "saliency",
        "The countries of the European Union are: …",
        text=COUNTRIES,
        generate=20,
        target="log-probability",
    ),
    _LAYERS,
    _variant("last_layer", _LAYERS, layer="last"),
    _of(
        7,
        "layer-predictions",
        "␣The capital of Japan is the city of …",
        text=" The capital of Japan is the city of",
        generate=1,
    ),
    # Where a space is a token of its own, the digit comes after it.
    replace(
        _of(11, "layer-predictions", "␣1, 1, …", text=" 1, 1,", generate=1),
        on={catalog.OFFLINE_MODEL: {"text": " 1, 1, "}},
    ),
    _of(
        8,
        "rankings",
        "Heathrow / ␣Heathrow",
        text=HEATHROW,
        generate=1,
        watch=[" London"],
        compare="text",
        compare_text=f" {HEATHROW}",
    ),
    _AFTERNOON,
    _variant("sampled", _AFTERNOON, sample=True, seed=1),
    _of(10, "rankings", "The keys to the cabinet: is / are", text="The keys to the cabinet", watch=[" is", " are"]),
    _of(12, "rankings", "The countries of the European Union are: …", text=COUNTRIES, generate=20),
    _DISTILBERT,
    _variant("first_layer", _DISTILBERT, layers="first"),
    _variant("last_layer", _DISTILBERT, layers="last"),
    _BERT,
    _variant("last_layer", _BERT, layers="last"),
    _factors(5, "Other species I saw on foot … · GPT-2", "gpt2", "smollm2-135m-instruct"),
)
"""In the order of the tabs, then of the study group's list."""

"""The one strict gate: whatever a visitor, a script or a command line sends becomes a `Request` here, or a sentence.

Gradio enforces little of what its widgets promise (not NaN, not null, not a list in a single drop-down), so nothing
that comes from outside is used before it passed `parse_request`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Generic, Literal, TypeAlias, TypeVar

from analyzers.common.errors import InputError
from analyzers.common.limits import LIMITS
from analyzers.common.parameters import Parameter, Setting, Settings, build_settings, settings_of, show_value
from analyzers.common.settings import Generation
from analyzers.serving.analyses import ANALYSES

S = TypeVar("S", bound=Settings)
S_co = TypeVar("S_co", bound=Settings, covariant=True)


@dataclass(frozen=True)
class Where(Settings):
    """Which model, and where it runs."""

    model: Annotated[
        str | None,
        Parameter("a catalog id; where allowed any Hub id (owner/name@revision, owner/name/file.gguf) or local folder"),
    ] = None
    """None for the default model."""
    device: Annotated[Literal["auto", "cpu", "cuda"], Parameter("where to compute")] = "auto"


@dataclass(frozen=True)
class Beside(Settings):
    """Which model stands beside the first."""

    beside: Annotated[
        str | None, Parameter("a second model, named as the first: it reads the same text, and both are shown")
    ] = None


_MODEL, _DEVICE = settings_of(Where)
(_BESIDE,) = settings_of(Beside)
COMMON: tuple[Setting, ...] = (_MODEL, *settings_of(Generation), _DEVICE)
"""What every analysis takes beside its own settings."""
SAMPLING = ("temperature", "top_k", "top_p", "seed")


@dataclass(frozen=True)
class Request(Generic[S_co]):
    """What one run needs to know; plain data."""

    analysis: str
    """A row of `ANALYSES`."""
    model: str | None
    """None for the default model."""
    text: str
    generation: Generation
    device: str
    settings: S_co
    """Of the analysis's own class."""
    beside: str | None = None
    """The second model, if there is one."""

    @property
    def has_two_answers(self) -> bool:
        """Whether two models answer it, each for itself."""
        return self.beside is not None and not ANALYSES[self.analysis].joint_function

    def ask(self, analysis: str, settings: S) -> Request[S]:
        """Another analysis of the same text on the same model; on both, where it takes a second one."""
        beside = self.beside if ANALYSES[analysis].takes_second else None
        return Request(analysis, self.model, self.text, self.generation, self.device, settings, beside)


AnyRequest: TypeAlias = Request[Settings]


def parameters_of(analysis: str) -> tuple[Setting, ...]:
    """Everything that an analysis takes beside its text, in the order in which the endpoints have it."""
    row = ANALYSES[analysis]
    return (*COMMON, *settings_of(row.settings), *((_BESIDE,) if row.takes_second else ()))


def parse_request(analysis: str, raw: Mapping[str, object]) -> AnyRequest:
    """A request from untrusted values; what is left out has its default. Raises InputError for everything else.

    Raises KeyError for an analysis that does not exist: no visitor chooses that.
    """
    parameters = {setting.name: setting for setting in parameters_of(analysis)}
    for name in raw:
        if name != "text" and name not in parameters:
            raise InputError("unknown_setting", name=show_value(name), choices=", ".join(parameters))
    text = raw.get("text")
    if not isinstance(text, str):
        raise InputError("not_a_text", name="text", value=show_value(text))
    if not text:
        raise InputError("empty_text")
    if len(text) > LIMITS.characters:
        raise InputError("text_too_long", name="text", n=f"{len(text):,}", limit=f"{LIMITS.characters:,}")
    given = {name: setting.parse(raw[name]) for name, setting in parameters.items() if name in raw}
    where = build_settings(Where, given)
    generation = build_settings(Generation, given)
    settings = build_settings(ANALYSES[analysis].settings, given)
    beside = build_settings(Beside, given).beside
    return Request(analysis, where.model, text, generation, where.device, settings, beside)


def value_in(request: AnyRequest, setting: Setting) -> object:
    """What a request holds for a setting, by its public meaning."""
    if setting.name in ("model", "device", "beside"):
        return getattr(request, setting.name)
    holder = request.generation if setting in COMMON else request.settings
    value = getattr(holder, setting.field)
    return not value if setting.turns_off else value


def settings_given(request: AnyRequest) -> Mapping[str, object]:
    """Every setting of a request that differs from its default and has a part in it, by its public name."""
    return {
        setting.name: value
        for setting in parameters_of(request.analysis)
        if setting.name != "model"
        and not is_idle(setting.name, request)
        and (value := value_in(request, setting)) != setting.default
    }


def is_idle(name: str, request: AnyRequest) -> bool:
    """Whether a setting has no part in a request."""
    generation = request.generation
    is_given = generation.target_text is not None
    return (
        (name in SAMPLING and not generation.sample)
        or (name == "generate" and is_given)
        or (name == "device" and request.device == "auto")
    )

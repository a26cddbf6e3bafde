"""What a visitor takes home of a view: the words on every file, and the same view as a command and as Python."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import fields

from analyzers.common.languages import Language
from analyzers.common.parameters import settings_of
from analyzers.common.settings import Generation, SaliencySettings
from analyzers.common.version import VERSION
from analyzers.serving.analyses import ANALYSES
from analyzers.serving.dispatch import AnyAnswer
from analyzers.serving.request import AnyRequest, parameters_of, settings_given
from ui.charts.style import name_model, quote_text
from ui.texts import say, text_keys
from ui.values import Value

WORDS = ("title", "page", "picture", "table", "python", "command", "copied", "copy", "text", "chart", "made_with")


def take_home(answers: Sequence[AnyAnswer], language: Language) -> Value:
    """The value of a tab's `TakeHome`: an answer, and what is compared with it."""
    answer = answers[0]
    analysis = answer.request.analysis
    help_key = f"{analysis}_help"
    return {
        "name": file_name(answer.request),
        "title": f"{say(analysis, language)} · {quote_text(answer.request.text, language, 80)}",
        "caption": [describe(one, language) for one in answers],
        "help": plain_paragraphs(say(help_key, language)) if help_key in text_keys() else [],
        "python": "\n\n".join(python_code(one.request, one.model.id) for one in asked_for(answers)),
        "command": "\n".join(command_line(one.request, one.model.id) for one in asked_for(answers)),
        "words": {name: say(f"home_{name}", language) for name in WORDS},
    }


def asked_for(answers: Sequence[AnyAnswer]) -> list[AnyAnswer]:
    """Those that were asked for by themselves: not what came as a second model's beside another."""
    return [answer for answer in answers if all(answer is not other.beside for other in answers)]


def describe(answer: AnyAnswer, language: Language) -> str:
    """What an answer is of, in one line: model with revision and precision, method, seed, version."""
    request = answer.request
    parts = [name_model(answer.model)]
    if isinstance(request.settings, SaliencySettings):
        settings = request.settings
        parts += [say(f"method_{settings.method}", language), say(f"baseline_{settings.baseline}", language)]
    if not getattr(request.settings, "final_norm", True):
        parts.append(say("without_norm", language))
    if request.generation.sample:
        parts.append(say("sampled", language, seed=request.generation.seed))
    return " · ".join([*parts, f"Eccolens {VERSION}"])


def file_name(request: AnyRequest) -> str:
    """Without what tells its kind: `eccolens-heathrow-airport-is-saliency`."""
    words = "-".join(re.findall(r"\w+", request.text.lower()))[:30].strip("-_")
    return "-".join(filter(None, ("eccolens", words, request.analysis)))


def command_line(request: AnyRequest, model: str) -> str:
    """The same question on the command line, quoted for a POSIX shell."""
    parts = ["python", "-m", "analyzers", request.analysis, f"--model={model}"]
    settings = {setting.name: setting for setting in parameters_of(request.analysis)}
    for name, value in settings_given(request).items():
        flag = settings[name].flag
        values = value if isinstance(value, tuple) else (value,)
        parts += [flag if one is True else f"{flag}={one}" for one in values]
    return " ".join(shlex.quote(part) for part in (*parts, "--json", "--", request.text))


def python_code(request: AnyRequest, model: str) -> str:
    """The same question as a script; `result` is a frozen dataclass of numpy arrays."""
    if request.beside is not None:
        return _python_of_both(request, model)
    module, function = ANALYSES[request.analysis].function.split(":")
    settings = request.settings
    generation, own = _construct(request.generation), _construct(settings)
    return f"""from analyzers.common.progress import finish
from analyzers.common.settings import {Generation.__name__}, {type(settings).__name__}
from analyzers.models.completion import complete
from analyzers.models.store import ModelStore
from analyzers.sources.resolver import Resolver
from {module} import {function}

model = ModelStore(Resolver(any_folder=True, any_hub_id=True)).load({model!r})
*_, completion = complete(model, {request.text!r}, {generation})
result = finish({function}(model, completion, {own}))
print(result)"""


def _python_of_both(request: AnyRequest, model: str) -> str:
    given = {"text": request.text, "model": model, **settings_given(request)}
    both = "" if ANALYSES[request.analysis].joint_function else "\nprint(found.beside.result)  # the second model's"
    return f"""from analyzers.models.store import ModelStore
from analyzers.serving.dispatch import Dispatcher, answer
from analyzers.serving.request import parse_request
from analyzers.sources.resolver import Resolver

dispatcher = Dispatcher(ModelStore(Resolver(any_folder=True, any_hub_id=True)))
found = answer(dispatcher, parse_request({request.analysis!r}, {given!r}))
result = found.result
print(result){both}"""


def plain_paragraphs(markdown: str) -> list[str]:
    """A help text without its marks, a paragraph or a point of a list each."""
    blocks = re.split(r"\n\s*\n|\n(?=- )", markdown.strip())
    return [" ".join(block.split()).replace("**", "").replace("*", "").replace("`", "") for block in blocks]


def _construct(settings: object) -> str:
    """How settings are made, without what has its default."""
    cls = type(settings)
    defaults = {item.name: item.default for item in fields(cls)}  # type: ignore[arg-type]
    given = {
        setting.field: getattr(settings, setting.field)
        for setting in settings_of(cls)  # type: ignore[arg-type]
        if getattr(settings, setting.field) != defaults[setting.field]
    }
    return f"{cls.__name__}({', '.join(f'{name}={value!r}' for name, value in given.items())})"

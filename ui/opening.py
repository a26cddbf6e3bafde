"""What an address opens: its question, what the widgets hold for it, and whether it may be computed here unasked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from analyzers.common.errors import InputError
from analyzers.common.languages import Language
from analyzers.common.memory import format_bytes
from analyzers.common.version import VERSION
from analyzers.models.store import Store
from analyzers.serving.dispatch import AnyAnswer
from analyzers.serving.request import AnyRequest, parameters_of
from analyzers.serving.sharing import SharedRuns
from analyzers.sources.source import Source
from ui.controls import Controls
from ui.lessons import link_of_lesson
from ui.links import Link, read_link
from ui.model_choices import model_choices
from ui.questions import ask, values_of
from ui.tabs.tab import AnyTab
from ui.texts import say
from ui.values import Options, Updates

LINK_BYTES = 8 * 2**30
"""Of memory that a model needs: a link loads no larger one by itself."""


@dataclass(frozen=True)
class View:
    """What a link asks for, checked."""

    link: Link
    tab: AnyTab
    requests: tuple[AnyRequest, ...]
    model: str
    values: Updates
    """What the widgets hold for it."""
    why_waits: Callable[[Language], str] | None
    """Why it is not computed unasked, if it is not: nothing is fetched for a link, and no large model loaded."""

    def tell_differences(self, language: Language, answer: AnyAnswer | None) -> list[str]:
        """What is not as it was when the link was made, in words."""
        link, said = self.link, []
        found = None if answer is None else answer.model.revision
        if link.revision is not None and found is not None and link.revision != found:
            said.append(say("link_other_model", language, model=self.model))
        if link.version is not None and link.version != VERSION:
            said.append(say("link_other_version", language, version=link.version[:20]))
        return said


def find_view(query: object, runner: SharedRuns, controls: Controls, tabs: list[AnyTab]) -> View:
    """Nothing is loaded or fetched. Raises InputError where the address is none of this page, or asks for what is not
    allowed here."""
    link = link_of_lesson(query, runner.store) or read_link(query)
    tab = next(tab for tab in tabs if tab.analysis == link.tab)
    link = replace(link, raw=_with_page_defaults(tab, link.raw))
    requests = ask(tab, link.raw, link.extras, link.pin)
    source = runner.store.resolver.find(requests[0].model or runner.store.resolver.default_id())
    named = {} if requests[0].model else {"model": source.id}  # an address by hand may leave it out
    values = values_of(tab.analysis, link.raw | named | link.extras, controls, tabs)
    if source.folder is None and source.id not in (id for _, id in model_choices(runner)):
        del values[controls.settings["model"]]  # it cannot be chosen now: what is chosen stays
    waits = None if runner.known(requests[0]) is not None else _why_wait(runner.store, source)
    if requests[0].beside is not None:
        waits = waits or _why_wait(runner.store, runner.store.resolver.find(requests[0].beside))
    return View(link, tab, requests, source.id, values, waits)


def _with_page_defaults(tab: AnyTab, raw: Options) -> Options:
    """What an address by hand leaves out is what the page begins with."""
    named = {setting.name for setting in parameters_of(tab.analysis)}
    return {name: value for name, value in tab.extra_defaults.items() if name in named} | raw


def _why_wait(store: Store, source: Source) -> Callable[[Language], str] | None:
    if source.folder is None:
        return lambda language: say("link_elsewhere", language, model=source.id)
    try:
        if store.holds(source) or (needed := store.describe(source).placement.needed) <= LINK_BYTES:
            return None
    except InputError:  # said in its own words when it is run
        return None
    return lambda language: say("link_large", language, model=source.id, size=format_bytes(needed))

"""Which models the page offers, as the one that is asked and as a second one beside it."""

from __future__ import annotations

from analyzers.serving.dispatch import Runner
from analyzers.sources import catalog, hub_probe, local_files
from ui.components.inputs import OptionalChoice
from ui.i18n import T
from ui.values import Mark


def model_choices(runner: Runner) -> list[tuple[str, str]]:
    """✓ is on this machine, ↓ is downloaded when first used. What must be fetched is on offer while the Hub answers."""
    choices, names = [], runner.store.resolver.names()
    for row in catalog.CATALOG:
        is_here = row.id in names and local_files.is_on_this_machine(row)
        if row.id in names and (is_here or (not row.bundled and hub_probe.HUB.answers())):
            where = "✓" if is_here else f"↓ {row.megabytes:,} MB"
            kind = "" if row.kind.continues_its_text else f" ({row.kind})"
            choices.append((f"{row.label}{kind}  {where}", row.id))
    return choices + [(f"{name}  ✓", name) for name in runner.store.resolver.local_names()]


def second_choices(runner: Runner) -> list[Mark]:
    """None, or a model that is on offer."""
    return [(T("beside_none"), ""), *model_choices(runner)]


def choose_second_model(runner: Runner, analysis: str) -> OptionalChoice:
    """The widget of the setting `beside`. Called where it is to stand."""
    return OptionalChoice(
        second_choices(runner),
        value="",
        label=T("beside"),
        info=T("beside_info"),
        allow_custom_value=runner.store.resolver.any_hub_id,
        min_width=220,
        elem_id=f"{analysis}-beside",
    )

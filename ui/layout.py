"""The page: shared text, model and generation on the left, the tabs on the right."""

from __future__ import annotations

import gradio as gr
from starlette.middleware import Middleware

from analyzers.common.limits import LIMITS
from analyzers.serving.analyses import analyses_with_tab
from analyzers.serving.sharing import SharedRuns
from ui.components.heading import Heading
from ui.components.top_bar import TopBar
from ui.controls import build_controls
from ui.downloads import say_goodbye
from ui.endpoints import add_endpoints
from ui.gate import Gate, Names
from ui.gradio_patches import Page
from ui.i18n import I18N, label_of
from ui.lessons import build_lesson_card
from ui.page_head import OwnHead
from ui.tabs import layer_predictions, neuron_factors, plain, rankings, saliency
from ui.tabs.tab import AnyTab, TabBuilder
from ui.theme import CSS
from ui.values import Options
from ui.wiring import connect

BUILDERS: dict[str, TabBuilder] = {
    "saliency": saliency.build_tab,
    "layer-predictions": layer_predictions.build_tab,
    "rankings": rankings.build_tab,
    "neuron-factors": neuron_factors.build_tab,
}
"""An analysis without one has a plain tab: its settings, and its answer as text."""


def launch_options(names: Names) -> Options:
    """What the app is launched with, everywhere: tests pass the same. It answers under `names`."""
    return {
        "theme": gr.themes.Default(primary_hue="orange", neutral_hue="zinc", font=["system-ui", "sans-serif"]).set(
            # Gradio's own greys for what explains a control are too faint to read on a projector.
            button_primary_background_fill="#c2410c",  # white on the theme's orange is too faint as well
            button_primary_background_fill_hover="#9a3412",
            button_primary_background_fill_dark="#c2410c",
            button_primary_background_fill_hover_dark="#9a3412",
            block_info_text_color="*neutral_600",
            block_info_text_color_dark="*neutral_300",
            block_label_text_color="*neutral_700",
            block_label_text_color_dark="*neutral_200",
            body_text_color_subdued="*neutral_600",
            body_text_color_subdued_dark="*neutral_300",
            input_placeholder_color="*neutral_500",
            input_placeholder_color_dark="*neutral_400",
        ),
        "css": CSS,
        "i18n": I18N,
        "show_error": False,
        "max_file_size": "1mb",
        "enable_monitoring": False,
        "run_history": False,
        "state_session_capacity": 100,
        "max_threads": 128,  # whoever waits for a turn has one
        "footer_links": ["api", "settings"],
        "app_kwargs": {"middleware": [Middleware(Gate, names=names), Middleware(OwnHead)]},
    }


def build_app(runner: SharedRuns) -> gr.Blocks:
    """The whole page and its endpoints. Loads no model."""
    with Page(title="Eccolens", fill_width=True, analytics_enabled=False, delete_cache=(3600, 7200)) as app:
        with gr.Sidebar(width=380, elem_id="sidebar"):
            controls = build_controls(runner)
        pinned = gr.State(None)
        # Above the tabs and always in view: with the sidebar folded or scrolled, a run still says how it goes.
        with gr.Row(elem_id="bar"):
            controls.status.render()
            controls.stop_here.render()
            bar = TopBar(elem_id="top-bar")
        build_lesson_card(runner.store, app.load)
        tabs: list[AnyTab] = []
        items: list[gr.Tab] = []
        headings: list[Heading] = []
        with gr.Tabs() as tab_bar:
            for row in analyses_with_tab():
                with (
                    gr.Tab(label_of(row.name), id=row.name, elem_id=row.name) as item,
                    gr.Column(elem_classes=["stage"]),
                ):
                    build = BUILDERS.get(row.name)
                    headings.append(Heading(elem_id=f"{row.name}-heading", render=build is None))
                    tabs.append(
                        plain.build_tab(row) if build is None else build(runner, pinned, controls.status, headings[-1])
                    )
                items.append(item)
        connect(runner, controls, tabs, items, tab_bar, headings, pinned, bar, app.load)
        add_endpoints(runner)
        app.unload(say_goodbye)
    app.queue(max_size=LIMITS.queue, default_concurrency_limit=4, api_open=False)
    return app

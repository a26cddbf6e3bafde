"""Colours and sizes: of the page, the strip and the charts."""

from __future__ import annotations

FOR = "234, 88, 12"
"""Orange, red-green-blue: supports the prediction."""
AGAINST = "37, 99, 235"
"""Blue: works against it. Orange and blue are told apart by all common kinds of colour blindness."""

FOR_HEX = "#ea580c"
AGAINST_HEX = "#3b82f6"

RANDOM_HEX = "#8b8b94"
INTERVAL_HEX = "#71717a"
"""Grey that shows on a light page, a dark one, and on both colours."""

SKIP_LINK = """
.skip-link { position: absolute; left: 8px; top: -60px; z-index: 99; padding: 8px 14px; border-radius: 6px; background: #c2410c; color: white; }
.skip-link:focus { top: 8px; }
"""
"""Of the first stop of the keyboard, which stands outside what Gradio draws."""

CSS = """
.gradio-container { max-width: 1500px !important; }
.gradio-container [data-testid="altair"] { align-items: stretch; overflow-x: auto; }
.gradio-container [data-testid="altair"] .vega-embed { width: 100%; }
.notice:has(.ecco-notice:empty) { display: none; }
#title h1 { margin: 0 0 .1em; font-size: 1.5rem; }
#title p { margin: 0; opacity: .75; font-size: .9rem; }
#examples { gap: 6px; }
#examples p { margin: 6px 0 0; font-size: .8rem; opacity: .75; }
#examples .example { gap: 4px; flex-wrap: nowrap; }
#examples .example button:not(:first-child) { flex: 0 0 auto; padding-inline: 8px; }
#settings-row > .form { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 240px), 1fr)); gap: 0; background: var(--block-background-fill); }
#bar { position: sticky; top: 0; z-index: 30; background: var(--body-background-fill); align-items: center; padding: 0; }
#bar #status { padding: 0; }
#bar #stop-here { flex: 0 0 auto; min-width: 90px; }
#examples button { justify-content: flex-start; text-align: left; white-space: normal; }
.dark #factors-leading .token .text { color: white !important; }
.dark #factors-leading .legend-item { color: white !important; }
.dark #saliency-highlighted .token .text { color: white !important; }
.tabs button[role=tab][aria-selected=true] { color: #c2410c; }
.dark .tabs button[role=tab][aria-selected=true] { color: #fb923c; }
.tabs > .tab-wrapper, .tabs .tab-container { height: auto; }
.tabs > .tab-wrapper { margin-bottom: 0; }
.tabs .tab-container { align-items: stretch; }
.tabs .tab-container.visually-hidden button { padding: 0; font-size: 6px; }
.tabs .tab-container button[role=tab] { flex-direction: column-reverse; justify-content: flex-end; align-items: flex-start; height: auto; padding-block: 4px 6px; }
.tabs .tab-container button[role=tab]::before { font-size: .8125rem; line-height: 1.25; font-weight: 400; color: var(--body-text-color-subdued); white-space: normal; text-align: left; }
.tab-container:not(.visually-hidden) #saliency-button::before { content: var(--question-saliency) / ""; }
.tab-container:not(.visually-hidden) #layer-predictions-button::before { content: var(--question-layer-predictions) / ""; }
.tab-container:not(.visually-hidden) #rankings-button::before { content: var(--question-rankings) / ""; }
.tab-container:not(.visually-hidden) #neuron-factors-button::before { content: var(--question-neuron-factors) / ""; }
.stage :is(.ecco-hover-strip, .ecco-factor-view, .ecco-lens-grid, [data-testid="altair"]) { transition: opacity 120ms linear; }
#bar #status { flex: 1 1 0; min-width: 200px; }
#bar #top-bar { flex: 0 0 max-content; width: auto !important; padding: 0; min-width: 0; }
#bar .html-container { padding: 4px 12px; }
.column:has(> #bar) { gap: 8px; }
#lesson-card .html-container, .stage .html-container { padding: 2px 12px; }
.large :is(.stage, #text, #status) { zoom: 1.5; }
.stage { gap: 10px; }
.lens { align-items: flex-start; }
.lens #overview-grid { flex: 4 1 420px; }
.lens #overview-cell { flex: 1 1 170px; }
.lens #overview-cell p { white-space: pre-wrap; margin: 0; padding-block: 1px; font-size: .875rem; border: 0; }
.stage:not(.moved) .ecco-heading .stale { display: none; }
.take-home { align-items: flex-start; gap: 6px; }
.take-home > button, .take-home > a { flex: 0 0 auto !important; min-height: 30px; }
.take-home > .block { flex: 1 1 300px; padding: 0; }
.compare-maps { align-items: flex-start; gap: 8px; }
.compare-maps > button { flex: 0 0 auto !important; min-height: 34px; }
.compare-maps > .chip-box { flex: 0 1 auto !important; }
.compare-maps > .chip-box:has(> button.open) { flex: 1 1 100% !important; }
:is(.settings-box, .chip-box) { padding-block: 2px !important; }
:is(.settings-box, .chip-box):has(> button:not(.open)) { width: fit-content !important; min-width: 0 !important; margin: 0 auto 0 0 !important; border-radius: 16px !important; }
:is(.settings-box, .chip-box) > button:not(.open) { gap: 10px; }
:is(.settings-box, .chip-box) > button { font-size: .875rem; }
#status p { font-size: .875rem; }
.tabitem:has(> .column > .stage, > .stage, .stage) { padding-top: 6px; }
.stage:is(.moved, .pending) :is(.ecco-hover-strip, .ecco-factor-view, .ecco-lens-grid, [data-testid="altair"]) { opacity: .4; }
.stage.pending :is(.ecco-hover-strip, .ecco-factor-view, .ecco-lens-grid, [data-testid="altair"]) { transition-delay: 300ms; }
#model-line p { font-size: .8rem; line-height: 1.45; }
#text textarea { font-size: 1.05rem; }
@media (min-width: 1200px) {
  .tabs .tab-container button[role=tab] { padding-inline: 12px; flex-shrink: 0; }
  .tabs .tab-container button[role=tab]::before { white-space: nowrap; }
}
@media (max-width: 640px) {
  #bar { flex-wrap: wrap; }
  #bar #status, #bar #top-bar { flex: 1 1 100%; }
  .gradio-container { padding: 0 !important; }
  .lens > .block { flex: 1 1 100% !important; }
  .tabs { margin-inline: -22px; width: calc(100% + 44px); max-width: none; }
  .tabs .tab-container button[role=tab] { padding: 2px 5px 6px !important; font-size: .8rem !important; letter-spacing: -.01em; flex: 1 1 0; white-space: normal; text-align: left; }
}
"""

CHART = {
    "background": "transparent",
    "font": "Helvetica, Arial, 'Noto Sans', 'Noto Sans CJK JP', sans-serif",
    "view": {"stroke": "transparent"},
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "domainColor": "currentColor",
        "tickColor": "currentColor",
        "gridColor": "#8885",
        "labelFontSize": 13,
        "titleFontSize": 13,
        "labelLimit": 220,
    },
    "legend": {"labelColor": "currentColor", "titleColor": "currentColor", "labelFontSize": 13, "titleFontSize": 13},
    "title": {"color": "currentColor", "subtitleColor": "currentColor", "anchor": "start", "fontSize": 15},
    "header": {"labelColor": "currentColor", "titleColor": "currentColor", "labelFontSize": 13},
    "text": {"color": "currentColor"},
}
EMBED = {
    "embedOptions": {
        "renderer": "svg",
        "actions": False,
    }
}

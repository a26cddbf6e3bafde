"""Masked, encoder–decoder and encoder models on the page: what is shown of each kind, and what is said."""

from __future__ import annotations

from typing import Any

import pytest

MASK = "the café [MASK] the keys"


def choose_model(seen: Any, name: str) -> None:
    """Pick a model of the operator's folder by its name."""
    seen.page.get_by_label("Model", exact=True).click()
    seen.page.get_by_role("option", name=f"{name}  ✓", exact=True).locator("visible=true").click()
    shows = {"tiny-bert": "#masking", "tiny-t5": "#generate", "tiny-encoder": "#target-text"}
    seen.page.wait_for_selector(shows[name], state="visible")


@pytest.mark.parametrize(
    ("name", "shown", "hidden"),
    [
        ("tiny-bert", ["#masking"], ["#generate"]),
        ("tiny-t5", ["#generate"], ["#masking"]),
        ("tiny-encoder", ["#target-text"], ["#masking", "#generate"]),
    ],
)
def test_only_what_a_kind_has_is_shown(used: Any, name: str, shown: list[str], hidden: list[str]) -> None:
    seen = used
    choose_model(seen, name)
    for selector in shown:
        seen.page.wait_for_selector(selector, state="visible")
    for selector in hidden:
        seen.page.wait_for_selector(selector, state="hidden")


def test_a_mask_is_put_in_at_the_cursor_answered_and_explained_from_both_sides(used: Any) -> None:
    seen = used
    choose_model(seen, "tiny-bert")
    seen.go_to("Saliency")
    seen.page.fill("#text textarea", "the café  the keys")
    seen.page.eval_on_selector("#text textarea", "box => box.setSelectionRange(9, 9)")
    seen.page.click("#masking button")
    assert seen.page.input_value("#text textarea") == MASK
    seen.press_run()
    seen.answered("saliency", "→")
    assert "<mask> → " in seen.drawn("saliency")
    positions = seen.page.eval_on_selector_all(
        "#saliency-strip .fill",
        "fills => fills.filter(f => f.style.backgroundColor !== 'transparent').map(f => +f.dataset.position)",
    )
    output = seen.page.eval_on_selector("#saliency-strip .output", "button => +button.dataset.position")
    assert min(positions) < output < max(positions)
    assert output not in positions
    for tab in ("Layer Predictions", "Rankings", "Neuron Factors"):
        seen.go_to(tab)
        assert seen.page.locator("#status p.error").count() == 0, tab


def test_a_text_that_hides_nothing_is_told_how(used: Any) -> None:
    seen = used
    choose_model(seen, "tiny-bert")
    seen.go_to("Saliency")
    seen.page.fill("#text textarea", "the keys")
    seen.press_run()
    assert "Put [MASK] where it should guess" in seen.status()
    seen.page.fill("#hide textarea, #hide input", "2")
    seen.page.keyboard.press("Tab")
    seen.press_run()
    seen.answered("saliency", "→")
    seen.page.fill("#hide textarea, #hide input", "")


def test_source_and_target_stand_apart_and_both_are_coloured(used: Any) -> None:
    seen = used
    choose_model(seen, "tiny-t5")
    seen.go_to("Saliency")
    seen.page.fill("#text textarea", "the café: the keys")
    seen.press_run()
    seen.answered("saliency")
    sides = seen.page.locator("#saliency-strip .side").all_inner_texts()
    assert sides == ["source (encoder)", "target (decoder)"]
    for tab in ("Layer Predictions", "Rankings", "Neuron Factors"):
        seen.go_to(tab)
        if tab != "Neuron Factors":  # one token on the target's side is left to factorise
            assert seen.page.locator("#status p.error").count() == 0, tab
    seen.show_settings()
    seen.page.wait_for_selector("#side", state="visible")
    seen.choose("Side", "source (encoder)")
    seen.press_run()
    assert seen.page.locator("#status p.error").count() == 0
    seen.choose("Side", "target (decoder)")


def test_an_encoder_compares_two_texts_and_says_what_it_cannot(used: Any) -> None:
    seen = used
    choose_model(seen, "tiny-encoder")
    seen.go_to("Saliency")
    seen.page.fill("#text textarea", "the café: the keys")
    seen.press_run()
    assert "Give a second text" in seen.status()
    seen.page.fill("#target-text textarea, #target-text input", "a café")
    seen.page.keyboard.press("Tab")
    seen.press_run()
    seen.answered("saliency", "≈a␣café")
    seen.go_to("Rankings")
    seen.page.wait_for_selector("#status p.error")
    assert "predicts no token" in seen.status()

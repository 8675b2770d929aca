"""What WCAG 2.2 AA asks of the page, in a real browser: keys, names, contrasts, small screens."""

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from page_fixtures import SEVEN, draw, phone
from serving_fixtures import Service

CONTRASTS = """() => {
    const luminance = (rgb) => {
        const [r, g, b] = rgb.map((v) => v / 255)
            .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const colour = (text) => text.match(/[\\d.]+/g).map(Number);
    const back = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const found = colour(getComputedStyle(at).backgroundColor);
            if (found.length === 3 || found[3] > 0) return found.slice(0, 3);
        }
        throw new Error("nothing is behind the text");
    };
    const texts = [...document.querySelectorAll("body *")].filter((element) =>
        element.checkVisibility() &&
        [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()));
    return texts.map((element) => {
        const two = [colour(getComputedStyle(element).color).slice(0, 3), back(element)];
        const [dark, light] = two.map(luminance).sort((a, b) => a - b);
        return [element.outerHTML.slice(0, 80), (light + 0.05) / (dark + 0.05)];
    });
}"""

FOCUSED = """() => {
    const at = document.activeElement;
    const seen = at.closest(".button") ?? at;
    const box = seen.getBoundingClientRect();
    const { outlineStyle, outlineWidth } = getComputedStyle(seen);
    const name = at.getAttribute("aria-label") ?? at.labels?.[0]?.textContent
        ?? (at.textContent.trim() || at.querySelector?.("img")?.alt);
    return { id: at.id, tag: at.tagName, name, width: box.width, height: box.height,
             outline: outlineStyle === "none" ? 0 : parseFloat(outlineWidth) };
}"""


def test_every_control_is_reached_by_key_named_large_and_seen_to_be_focused(page: Page) -> None:
    draw(page, SEVEN)
    page.locator("#undo").click()  # so that undo, redo and clear can all be used
    page.evaluate("document.activeElement.blur(); getSelection().removeAllRanges()")
    page.locator("h1").click()
    reached: list[dict[str, Any]] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        if focused["tag"] == "BODY":
            break
        reached.append(focused)
    ids = [control["id"] for control in reached if control["id"]]
    assert ids == ["paper", "undo", "redo", "clear", "brush", "file", "look", "other"]
    tags = [control["tag"] for control in reached]
    assert (tags.count("A"), tags.count("SUMMARY"), tags.count("BUTTON")) == (1, 1, 6)
    for control in reached:
        assert (control["name"] or "").strip(), control
        assert min(control["width"], control["height"]) >= 24, control
        assert control["outline"] >= 2, control


def test_a_digit_is_drawn_undone_and_cleared_by_key_alone_and_each_step_is_announced(
    page: Page,
) -> None:
    spoken = page.get_by_role("status").and_(page.locator("#spoken"))
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.locator("#paper")).to_be_focused()
    for keys, said in (([" "], "Pen down"), (["ArrowDown"] * 10 + [" "], "Pen up")):
        for key in keys:
            page.keyboard.press(key)
        expect(spoken).to_have_text(said)
    expect(spoken).to_contain_text("% sure")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(spoken).to_have_text("Nothing drawn yet")
    # Undo has nothing left to undo now, and is left by Tab for Redo.
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(spoken).to_contain_text("% sure")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(page: Page, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    draw(page, SEVEN)
    page.locator("#other").select_option("small")
    expect(page.locator("#other-verdict")).to_contain_text("% sure")
    page.get_by_text("Where the model comes from").click()
    page.evaluate(
        "() => { document.getElementById('notice').textContent = 'said';"
        " document.getElementById('login').hidden = false; }"
    )
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 40
    assert [pair for pair in contrasts if pair[1] < 4.5] == []


def test_what_is_wrong_is_said_in_a_place_that_is_always_there(page: Page) -> None:
    # A status that appears together with its text is not announced by every screen reader.
    notice = page.get_by_role("status").and_(page.locator("#notice"))
    expect(notice).to_have_count(1)
    expect(notice).to_have_text("")
    expect(notice).to_be_hidden()  # it takes no room


def test_a_phone_scrolls_down_only_with_all_of_it_open(browser: Browser, service: Service) -> None:
    def act(page: Page) -> None:
        page.get_by_text("Where the model comes from").click()
        page.locator("#other").select_option("small")
        page.locator("#paper").tap()
        expect(page.locator("#other-verdict")).to_contain_text("look like a digit")  # a dot
        page.evaluate("document.getElementById('login').hidden = false")
        row = "0123456789" + "?" * 2
        page.evaluate("(row) => { document.getElementById('digit').textContent = row; }", row)

    phone(browser, service, act)


def test_the_focus_goes_on_from_a_button_that_there_is_no_more_use_of(page: Page) -> None:
    draw(page, SEVEN[:1])
    for button in ("#undo", "#redo", "#clear"):
        page.locator(button).focus()
        page.keyboard.press("Enter")
        expect(page.locator(button)).to_be_disabled()
        expect(page.locator("#paper")).to_be_focused()

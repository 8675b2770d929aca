"""The page, in a real browser: pens, fingers, cameras, keys, and what WCAG 2.2 AA asks of them."""

import pytest
from playwright.sync_api import Page, expect

from page_fixtures import SEVEN, draw, ink

# Pointer events as a tablet's driver makes them: [x, y, pressure] in shares of the paper.
POINT = """([kind, type, places]) => {
    const paper = document.getElementById("paper");
    paper.setPointerCapture = () => {};  // there is no such pointer
    const box = paper.getBoundingClientRect();
    const events = places.map(([x, y, pressure]) => new PointerEvent(kind, {
        pointerType: type, pointerId: 7, pressure, bubbles: true,
        clientX: box.left + x * box.width, clientY: box.top + y * box.height,
    }));
    const last = events.at(-1);
    if (places.length > 1) last.getCoalescedEvents = () => events;
    paper.dispatchEvent(last);
}"""


def point(page: Page, kind: str, *places: tuple[float, float, float], pen: str = "pen") -> None:
    page.evaluate(POINT, [kind, pen, places])


def across(page: Page, *, pen: str, pressure: float) -> int:
    """The ink of a line that is drawn with this pressure, after which the paper is clear."""
    point(page, "pointerdown", (0.2, 0.5, pressure), pen=pen)
    point(page, "pointermove", (0.8, 0.5, pressure), pen=pen)
    point(page, "pointerup", (0.8, 0.5, 0), pen=pen)
    drawn = ink(page)
    page.locator("#clear").click()
    return drawn


def test_a_pen_that_is_pressed_harder_leaves_a_wider_stroke_and_a_finger_does_not(
    page: Page,
) -> None:
    light, hard = (across(page, pen="pen", pressure=pressure) for pressure in (0.1, 0.9))
    assert hard > 1.8 * light > 0
    assert across(page, pen="touch", pressure=0.1) == across(page, pen="touch", pressure=0.9)


def test_the_places_between_two_frames_of_the_screen_are_drawn(page: Page) -> None:
    point(page, "pointerdown", (0.2, 0.2, 0.5))
    corner = [(0.2, 0.8, 0.5), (0.5, 0.8, 0.5), (0.8, 0.8, 0.5), (0.8, 0.2, 0.5)]
    point(page, "pointermove", *corner)
    point(page, "pointerup", corner[-1])
    low = page.evaluate(
        "() => document.getElementById('paper').getContext('2d')"
        ".getImageData(280, 448, 1, 1).data[0]"
    )
    assert low < 128  # the straight way from the first place to the last one is far above


def test_the_reading_follows_the_pen_while_it_is_down(page: Page) -> None:
    box = page.locator("#paper").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 100, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 60, steps=5)
    expect(page.locator("#verdict")).to_contain_text("% sure")
    page.wait_for_load_state("networkidle")
    before = page.locator("#bars .share:not(.second)").all_text_contents()
    page.mouse.move(box["x"] + 150, box["y"] + 300, steps=8)
    expect(page.locator("#bars .share:not(.second)")).not_to_have_text(before)
    page.mouse.up()


@pytest.mark.parametrize("how", ["undo", "clear"])
def test_what_is_undone_or_cleared_while_the_pen_is_down_stays_away(page: Page, how: str) -> None:
    point(page, "pointerdown", (0.2, 0.5, 0.5))
    point(page, "pointermove", (0.5, 0.5, 0.5))
    if how == "undo":
        page.keyboard.press("Control+z")
    else:
        page.evaluate("document.getElementById('clear').click()")  # with another finger
    point(page, "pointermove", (0.8, 0.5, 0.5))
    point(page, "pointerup", (0.8, 0.5, 0))
    assert ink(page) == 0
    if how == "undo":
        page.locator("#redo").click()
    else:
        page.locator("#undo").click()
    # The line as it was then: up to the middle.
    assert 0 < ink(page) < 560 * 560 * (0.3 + 0.1) * 20 / 280


def test_a_key_that_undoes_in_a_text_leaves_the_drawing_alone(page: Page) -> None:
    draw(page, SEVEN)
    drawn = ink(page)
    page.evaluate("document.getElementById('login').hidden = false")
    page.locator("#token").press_sequentially("abc")
    page.keyboard.press("Control+z")
    assert ink(page) == drawn
    page.locator("#brush").focus()
    page.keyboard.press("Control+z")
    assert 0 < ink(page) < drawn

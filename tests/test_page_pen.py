"""The page, in a real browser: pens, fingers, cameras, keys, and what WCAG 2.2 AA asks of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from page_fixtures import SEVEN, draw, ink
from serving_fixtures import Service, drawing

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


# Decoding that takes until `decode()`.
SLOWLY = """() => {
    const bitmap = window.createImageBitmap.bind(window);
    const gate = new Promise((resolve) => { window.decode = resolve; });
    window.createImageBitmap = async (blob) => { await gate; return bitmap(blob); };
}"""


def test_what_is_done_while_a_large_photo_is_decoded_comes_after_it(
    page: Page, tmp_path: Path
) -> None:
    Image.new("L", (64, 64), 0).save(tmp_path / "black.png")
    page.evaluate(SLOWLY)
    page.locator("#file").set_input_files(tmp_path / "black.png")
    expect(page.locator("#verdict")).to_have_text("No ink found")  # sent, and not yet shown
    draw(page, SEVEN)  # there is nothing yet to draw on
    page.locator("#clear").click()
    draw(page, SEVEN)
    drawn = ink(page)
    page.evaluate(
        "async () => { decode(); for (let i = 0; i < 9; i++) await new Promise(setTimeout); }"
    )
    expect(page.locator("#notice")).to_be_hidden()
    assert ink(page) == drawn > 0
    for _ in range(3):
        page.locator("#undo").click()
    assert ink(page) == 560 * 560


def test_of_a_large_photo_no_more_is_kept_than_the_paper_shows(page: Page, tmp_path: Path) -> None:
    page.evaluate(
        "() => { const bitmap = window.createImageBitmap.bind(window); window.opened = [];"
        " window.createImageBitmap = async (blob) => {"
        " opened.push(await bitmap(blob)); return opened.at(-1); }; }"
    )
    Image.new("L", (1600, 800), 0).save(tmp_path / "wide.png")
    page.locator("#file").set_input_files(tmp_path / "wide.png")
    page.wait_for_function("() => opened.length && opened[0].width === 0")  # it is closed
    assert ink(page) > 0


def test_a_phone_takes_a_photo_with_its_own_camera(
    browser: Browser, service: Service, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(drawing(file_format="JPEG"))

    def act(page: Page) -> None:
        expect(page.locator("#look")).to_be_hidden()
        camera = page.get_by_label("Take a photo")
        assert camera.get_attribute("capture") == "environment"
        camera.set_input_files(tmp_path / "photo.jpg")
        expect(page.locator("#verdict")).to_contain_text("% sure")
        assert ink(page) > 0

    phone(browser, service, act)


# Whether each stream that was given is still live.
STREAMS = """() => {
    const devices = navigator.mediaDevices;
    const given = devices.getUserMedia.bind(devices);
    window.tracks = [];
    devices.getUserMedia = async (wanted) => {
        const stream = await given(wanted);
        tracks.push(...stream.getTracks());
        return stream;
    };
}"""


@pytest.mark.parametrize("way", ["take", "cancel", "escape"])
def test_a_computer_shows_its_camera_and_takes_a_photo_by_key_alone(page: Page, way: str) -> None:
    page.evaluate(STREAMS)
    expect(page.get_by_label("Take a photo")).to_be_hidden()
    look = page.get_by_role("button", name="Use the camera")
    look.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Camera")).to_be_visible()
    expect(page.get_by_role("button", name="Take the photo")).to_be_focused()
    assert page.evaluate("tracks.map((track) => track.readyState)") == ["live"]
    if way == "take":
        with page.expect_response("**/predict*") as asked:
            page.keyboard.press("Enter")
        assert asked.value.ok
        page.wait_for_function("() => !document.getElementById('undo').disabled")
        assert ink(page) > 0
    elif way == "cancel":
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
    else:
        page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(look).to_be_focused()
    assert page.evaluate("tracks.map((track) => track.readyState)") == ["ended"]
    expect(page.locator("#undo")).to_be_enabled(enabled=way == "take")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("NotAllowedError", "The camera may not be used"),
        ("NotFoundError", "There is no camera."),
        ("NotReadableError", "Another program uses the camera."),
        ("AbortError", "The camera cannot be used."),
    ],
)
def test_a_camera_that_cannot_be_used_is_said_so(page: Page, error: str, said: str) -> None:
    page.evaluate(
        "(name) => { navigator.mediaDevices.getUserMedia ="
        " async () => { throw new DOMException('', name); }; }",
        error,
    )
    page.locator("#look").click()
    expect(page.locator("#notice")).to_contain_text(said)
    expect(page.get_by_role("dialog")).to_be_hidden()
    draw(page, SEVEN)
    expect(page.locator("#notice")).to_be_hidden()


def test_a_computer_whose_browser_gives_no_camera_offers_none(
    browser: Browser, service: Service
) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        # As it is where the page comes over plain HTTP from another machine.
        page.add_init_script("delete Navigator.prototype.mediaDevices")
        page.goto(f"http://127.0.0.1:{service.port}/")
        expect(page.locator("#bars tr")).to_have_count(10)
        expect(page.get_by_label("Choose an image")).to_be_visible()
        for name in ("#look", "#camera"):
            expect(page.locator(name)).to_be_hidden()


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


def phone(browser: Browser, service: Service, act: Callable[[Page], None]) -> None:
    with browser.new_context(
        viewport={"width": 320, "height": 740}, has_touch=True, is_mobile=True
    ) as context:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{service.port}/")
        expect(page.locator("#bars tr")).to_have_count(10)
        act(page)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 320


def test_a_phone_scrolls_down_only_with_all_of_it_open(browser: Browser, service: Service) -> None:
    def act(page: Page) -> None:
        page.get_by_text("Where the model comes from").click()
        page.locator("#other").select_option("small")
        page.locator("#paper").tap()
        expect(page.locator("#other-verdict")).to_contain_text("% sure")
        page.evaluate("document.getElementById('login').hidden = false")
        row = "0123456789" + "?" * 2
        page.evaluate("(row) => { document.getElementById('digit').textContent = row; }", row)

    phone(browser, service, act)

"""The page's photos, in a real browser: large files, a phone's camera and a computer's."""

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from page_fixtures import SEVEN, draw, ink, phone
from serving_fixtures import Service, drawing

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
    page.wait_for_function("() => tracks.every((track) => track.readyState === 'ended')")
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

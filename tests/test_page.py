"""The page, in a real browser: drawing, and images from elsewhere."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Page, Route, expect

from page import read as replayed
from page_fixtures import SEVEN, draw, ink, seen
from serving_fixtures import (
    SELECTED,
    drawing,
)


def test_a_drawing_is_read_and_everything_about_the_answer_is_shown(page: Page) -> None:
    expect(page.locator("#verdict")).to_have_text("Nothing drawn yet")
    with page.expect_response("**/predict*") as asked:
        draw(page, SEVEN)
    assert asked.value.ok
    expect(page.locator("#verdict")).to_contain_text("% sure")
    page.wait_for_load_state("networkidle")
    with page.expect_response("**/predict*") as last:
        draw(page, [[(0.1, 0.1), (0.12, 0.1)]])
    page.wait_for_load_state("networkidle")
    assert last.value.ok
    digit = page.locator("#digit").text_content()
    assert digit in list("0123456789")
    assert page.locator("#bars th.best").text_content() == digit
    shares = page.locator("#bars .share:not(.second)").all_text_contents()
    assert sum(float(share.strip("> %")) for share in shares) == pytest.approx(100, abs=0.6)
    assert max(seen(page)) == 255
    assert len(seen(page)) == 28 * 28 * 4
    expect(page.locator("#model")).to_have_text(f"tiny, version {SELECTED['version']}")
    expect(page.locator("#run")).to_have_text(str(SELECTED["run_id"]))
    page.get_by_text("Where the model comes from").click()
    lineage = page.evaluate("fetch('/model').then((response) => response.json())")
    expect(page.locator("#commit")).to_have_text(f"git commit {lineage['git_commit']}")
    expect(page.locator("#data")).to_have_text(f"{lineage['dataset']}, {lineage['data_digest']}")
    expect(page.locator("#tag")).to_have_text(lineage["tag"])
    expect(page.locator("#lineage")).to_have_text(f"digits lineage {lineage['run_id']}")
    assert lineage["data_digest"].startswith(
        page.locator("#lineage-data").inner_text().removeprefix("digits lineage ")
    )
    expect(page.locator("#accuracy")).to_have_text(f"87.50 % of 16 right ({lineage['dataset']})")
    expect(page.locator("#latency")).to_contain_text("ms")
    expect(page.locator("#spoken")).to_contain_text(f"{digit}, ")


@pytest.mark.parametrize(
    ("answer", "digit", "verdict", "spoken"),
    [
        (
            {
                "reason": "several",
                "row": [
                    {"digit": 4, "confidence": 0.9, "accepted": True},
                    {"digit": 2, "confidence": 0.9, "accepted": False},
                ],
            },
            "42?",
            "Several digits, read one by one",
            "42?, Several digits",
        ),
        ({"reason": "unlike_a_digit"}, "?", "That does not look like a digit", "That does not"),
        ({"reason": "unsure", "digit": 3, "confidence": 0.5}, "3?", "Not sure", "3?, Not sure"),
        (
            {"reason": "unsure", "digit": 3, "confidence": 0.999},
            "3?",
            "Not sure: an unusual 3",
            "3?, Not sure: an unusual 3",
        ),
    ],
)
def test_what_is_not_one_digit_is_said_so(
    page: Page, answer: dict[str, Any], digit: str, verdict: str, spoken: str
) -> None:
    def changed(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, json=response.json() | {"accepted": False} | answer)

    page.route("**/predict*", changed)
    draw(page, SEVEN)
    expect(page.locator("#verdict")).to_have_text(verdict)
    expect(page.locator("#digit")).to_have_text(digit)
    expect(page.locator("#spoken")).to_contain_text(spoken)
    page.wait_for_load_state("networkidle")
    page.unroute_all(behavior="wait")


def test_strokes_are_undone_redone_and_cleared(page: Page) -> None:
    for name in ("#undo", "#redo", "#clear"):
        expect(page.locator(name)).to_be_disabled()
    draw(page, SEVEN)
    whole = ink(page)
    page.locator("#undo").click()
    assert 0 < ink(page) < whole
    page.locator("#redo").click()
    assert ink(page) == whole
    page.locator("#clear").click()
    assert ink(page) == 0
    expect(page.locator("#verdict")).to_have_text("Nothing drawn yet")
    page.keyboard.press("Control+z")
    assert ink(page) == whole
    expect(page.locator("#verdict")).to_contain_text("% sure")
    page.keyboard.press("Control+Shift+Z")
    assert ink(page) == 0


def test_the_benchmark_replays_a_recorded_drawing_and_reads_the_answer(page: Page) -> None:
    strokes = [[(200 * x, 200 * y) for x, y in stroke] for stroke in SEVEN]
    digit, latency_ms = replayed(page, {"canvas": 200, "pen": 12, "strokes": strokes})
    shown = page.locator("#bars .share:not(.second)").all_text_contents()
    shares = [float(share.strip("> %")) for share in shown]
    assert ink(page) > 0
    assert digit == str(shares.index(max(shares)))
    assert latency_ms > 0


def test_a_thicker_brush_leaves_more_ink(page: Page) -> None:
    amounts = []
    for brush in ("8", "32"):
        page.locator("#brush").fill(brush)
        draw(page, SEVEN[:1])
        amounts.append(ink(page))
        page.locator("#clear").click()
    assert amounts[1] > 2.5 * amounts[0]


def test_the_keyboard_draws(page: Page) -> None:
    page.locator("#paper").focus()
    page.keyboard.press(" ")
    for _ in range(12):
        page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    expect(page.locator("#verdict")).to_contain_text("% sure")
    drawn = ink(page)
    page.keyboard.press("ArrowRight")
    assert drawn > 0
    assert ink(page) == pytest.approx(drawn, rel=0.1)  # the pen is up: only its mark moves


def test_an_image_is_chosen_pasted_and_dropped(page: Page, tmp_path: Path) -> None:
    (tmp_path / "digit.jpg").write_bytes(drawing(file_format="JPEG"))
    page.locator("#file").set_input_files(tmp_path / "digit.jpg")
    expect(page.locator("#verdict")).to_contain_text("% sure")
    chosen = seen(page)
    assert ink(page) > 0
    for event, field in (("paste", "clipboardData"), ("drop", "dataTransfer")):
        page.locator("#clear").click()
        expect(page.locator("#verdict")).to_have_text("Nothing drawn yet")
        page.evaluate(
            """([event, field, data]) => {
                const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
                const transfer = new DataTransfer();
                transfer.items.add(new File([bytes], "digit.jpg", { type: "image/jpeg" }));
                const kind = event === "paste" ? ClipboardEvent : DragEvent;
                const init = { [field]: transfer, bubbles: true, cancelable: true };
                document.getElementById("paper").dispatchEvent(new kind(event, init));
            }""",
            [event, field, base64.b64encode(drawing(file_format="JPEG")).decode()],
        )
        expect(page.locator("#verdict")).to_contain_text("% sure")
        assert seen(page) == chosen  # the file itself was sent, not what the paper shows of it


def test_a_drawing_on_an_image_is_read_with_it(page: Page, tmp_path: Path) -> None:
    picture = Image.new("L", (100, 100), 255)
    ImageDraw.Draw(picture).line([(50, 20), (50, 80)], fill=0, width=8)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    (tmp_path / "one.png").write_bytes(buffer.getvalue())
    page.locator("#file").set_input_files(tmp_path / "one.png")
    expect(page.locator("#verdict")).to_contain_text("% sure")
    before = seen(page)
    draw(page, [[(0.5, 0.2), (0.3, 0.3)]])
    page.wait_for_load_state("networkidle")
    page.wait_for_function("() => document.getElementById('latency').textContent")
    assert seen(page) != before


def middle(page: Page) -> int:
    """How light the middle of the paper is, 0 to 255."""
    return int(
        page.evaluate(
            "() => document.getElementById('paper').getContext('2d')"
            ".getImageData(280, 280, 1, 1).data[0]"
        )
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("size", "back", "stroke"),
    [((100, 100), 255, 0), ((100, 100), 0, 255), ((100, 40), 0, 255)],
    ids=["white", "black", "wide and black"],
)
def test_what_is_drawn_on_an_image_stands_out_from_it_on_the_screen_and_in_what_is_sent(
    page: Page, tmp_path: Path, scheme: Any, size: tuple[int, int], back: int, stroke: int
) -> None:
    page.emulate_media(color_scheme=scheme)
    Image.new("L", size, back).save(tmp_path / "plain.png")
    page.locator("#file").set_input_files(tmp_path / "plain.png")
    expect(page.locator("#verdict")).to_have_text("No ink found")
    assert middle(page) == back
    draw(page, [[(0.5, 0.1), (0.5, 0.9)]])
    assert middle(page) == stroke
    # From edge to edge, also beside an image that is not square.
    expect(page.locator("#verdict")).not_to_have_text("No ink found")
    page.wait_for_load_state("networkidle")
    assert np.argmax(np.bincount(np.array(seen(page)[::4]) > 127)) == 0
    assert max(seen(page)) == 255


def test_a_file_that_is_no_image_is_said_to_be_none_and_no_more(page: Page, tmp_path: Path) -> None:
    (tmp_path / "digit.txt").write_text("seven")
    page.locator("#file").set_input_files(tmp_path / "digit.txt")
    expect(page.locator("#verdict")).to_contain_text("the 5 bytes are not an image")
    expect(page.locator("#notice")).to_be_hidden()


def test_an_image_that_the_browser_cannot_show_is_read_and_not_drawn_on(
    page: Page, tmp_path: Path
) -> None:
    (tmp_path / "digit.tiff").write_bytes(drawing(file_format="TIFF"))
    page.locator("#file").set_input_files(tmp_path / "digit.tiff")
    expect(page.locator("#verdict")).to_contain_text("% sure")
    expect(page.locator("#notice")).to_contain_text("Your browser cannot show this image.")
    read = seen(page)
    draw(page, SEVEN)
    page.locator("#paper").focus()
    for key in (" ", "ArrowDown", "ArrowDown", " "):
        page.keyboard.press(key)
    page.wait_for_load_state("networkidle")
    assert seen(page) == read
    page.locator("#undo").click()
    expect(page.locator("#verdict")).to_have_text("Nothing drawn yet")
    expect(page.locator("#notice")).to_be_hidden()
    draw(page, SEVEN)
    expect(page.locator("#verdict")).to_contain_text("% sure")


def test_a_file_that_is_no_image_is_refused_in_the_services_words(
    page: Page, tmp_path: Path
) -> None:
    (tmp_path / "notes.png").write_text("no image")
    page.locator("#file").set_input_files(tmp_path / "notes.png")
    expect(page.locator("#verdict")).to_contain_text("are not an image that can be read")
    expect(page.locator("#digit")).to_have_text("?")

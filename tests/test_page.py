"""The page, in a real browser: every control, and what it says when the service goes away."""

import base64
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from digits.serving.access import TOKENS
from page import ARGUMENTS, BROWSERS
from serving_fixtures import (
    PIXEL,
    SAMPLES,
    SELECTED,
    SMALL_RUN,
    SMALL_SIZE,
    Packaged,
    Service,
    drawing,
    serve,
)

# A seven with a bar, in shares of the paper.
SEVEN = [[(0.25, 0.25), (0.7, 0.25), (0.45, 0.8)], [(0.4, 0.5), (0.7, 0.5)]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        sentence = f"none of {', '.join(BROWSERS)} is installed; `apt-get install chromium`"
        pytest.fail(sentence) if os.environ.get("CI") else pytest.skip(sentence)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    """The page, opened; no script of it may fail and nothing of it may be refused."""
    with browser.new_context(viewport={"width": 1000, "height": 900}) as context:
        opened = context.new_page()
        complaints: list[str] = []
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on(
            "console",
            lambda message: complaints.append(message.text) if message.type == "error" else None,
        )
        opened.goto(f"http://127.0.0.1:{service.port}/")
        expect(opened.locator("#bars tr")).to_have_count(10)
        yield opened
        # That the service refused a file is for the page to say; the browser says it as well.
        assert not [said for said in complaints if "status of 422" not in said]


def draw(page: Page, strokes: list[list[tuple[float, float]]]) -> None:
    box = page.locator("#paper").bounding_box()
    assert box is not None
    for stroke in strokes:
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=8)
        page.mouse.up()


def seen(page: Page) -> Any:
    """The frame that the page shows, in bytes."""
    return page.evaluate(
        "() => { const c = document.getElementById('seen');"
        " return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]; }"
    )


def ink(page: Page) -> int:
    """How many pixels of the paper are not as white as it."""
    return int(
        page.evaluate(
            "() => { const c = document.getElementById('paper');"
            " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
            " return d.filter((v, i) => i % 4 === 0 && v < 128).length; }"
        )
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
    assert sum(float(share.rstrip(" %")) for share in shares) == pytest.approx(100, abs=0.6)
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
    expect(page.locator("#accuracy")).to_have_text("87.50 % of 16 right")
    expect(page.locator("#latency")).to_contain_text("ms")
    expect(page.locator("#spoken")).to_contain_text(f"{digit}, ")


@pytest.mark.parametrize(
    ("answer", "digit", "verdict", "spoken"),
    [
        (
            {
                "reason": "several",
                "row": [{"digit": 4, "confidence": 0.9}, {"digit": 2, "confidence": 0.9}],
            },
            "42",
            "Several digits, read one by one",
            "42, Several digits",
        ),
        ({"reason": "unlike_a_digit"}, "?", "That does not look like a digit", "That does not"),
        ({"reason": "unsure", "digit": 3}, "3?", "Not sure", "3?, Not sure"),
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
    page.unroute("**/predict*")


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


def test_a_file_that_is_no_image_is_refused_in_the_services_words(
    page: Page, tmp_path: Path
) -> None:
    (tmp_path / "notes.png").write_text("no image")
    page.locator("#file").set_input_files(tmp_path / "notes.png")
    expect(page.locator("#verdict")).to_contain_text("are not an image that can be read")
    expect(page.locator("#digit")).to_have_text("?")


@pytest.mark.parametrize(
    ("facts", "said", "lineage"),
    [
        ({"released": True}, ", released with the project; make repro makes yours", False),
        (
            {"fallback": True, "dataset": "optdigits"},
            ", learnt from optdigits, a stand-in; make repro tries again",
            True,
        ),
    ],
)
def test_it_says_of_a_model_that_is_not_ones_own_or_not_of_mnist(
    page: Page, facts: dict[str, Any], said: str, lineage: bool
) -> None:
    def other(route: Route) -> None:
        route.fulfill(json={**route.fetch().json(), **facts})

    page.route("**/model", other)
    page.reload()
    expect(page.locator("#model")).to_have_text(f"tiny, version {SELECTED['version']}{said}")
    page.get_by_text("Where the model comes from").click()
    expect(page.locator("#more")).to_be_visible(visible=lineage)


def test_samples_right_and_wrong_can_be_tried(page: Page) -> None:
    expect(page.locator("#right button")).to_have_count(1)
    expect(page.locator("#wrong button")).to_have_count(1)
    assert page.locator("#wrong img").get_attribute("alt") == "a 4, read as 9"
    expect(page.locator("#wrong button")).to_have_text("a 4")
    page.locator("#right button").click()
    expect(page.locator("#verdict")).to_have_text("No ink found")  # of a single pixel
    assert [sample["png"] for sample in SAMPLES] == [PIXEL, PIXEL]


def test_another_model_answers_beside_the_selected_one(page: Page) -> None:
    for name in ("#other-digit", "#other-seen", "#other-run"):
        expect(page.locator(name)).to_be_hidden()
    draw(page, SEVEN)
    page.locator("#other").select_option("small")
    expect(page.locator("#other-verdict")).to_contain_text("% sure")
    expect(page.locator("#name-0")).to_have_text("tiny")
    expect(page.locator("#name-1")).to_have_text("small")
    expect(page.locator("#other-run")).to_have_text(SMALL_RUN["run_id"])
    expect(page.locator("#other-accuracy")).to_have_text("not evaluated")
    # It sees the drawing in its own way, and both are shown.
    expect(page.locator("#other-size")).to_have_text(f"{SMALL_SIZE}×{SMALL_SIZE}")  # noqa: RUF001
    expect(page.locator("#size")).to_have_text("28×28")  # noqa: RUF001
    for shares in ("#bars .share:not(.second)", "#bars .share.second"):
        texts = page.locator(shares).all_text_contents()
        assert sum(float(text.rstrip(" %")) for text in texts) == pytest.approx(100, abs=0.6)
        marked = page.locator(f"{shares}.best").text_content()
        assert marked == max(texts, key=lambda text: float(text.rstrip(" %")))
    expect(page.locator("#spoken")).to_contain_text(". small: ")
    page.locator("#clear").click()
    expect(page.locator("#other-digit")).to_have_text("?")
    page.locator("#other").select_option("")
    for name in ("#other-digit", "#other-seen", "#other-run"):
        expect(page.locator(name)).to_be_hidden()


def test_the_selected_model_answers_also_where_the_other_does_not(page: Page) -> None:
    page.locator("#other").select_option("small")
    expect(page.locator("#other-digit")).to_be_visible()
    page.route("**/predict*model=small*", lambda route: route.fulfill(status=422, json={}))
    draw(page, SEVEN)
    expect(page.locator("#verdict")).to_contain_text("% sure")
    expect(page.locator("#other-digit")).to_have_text("?")
    page.route("**/model?model=*", lambda route: route.fulfill(status=422, json={}))
    page.locator("#other").select_option("")
    asked: list[Route] = []
    page.route("**/predict?frame=true", lambda route: asked.append(route))
    page.locator("#undo").click()
    page.locator("#redo").click()
    for _ in range(100):
        if asked:
            break
        page.wait_for_timeout(50)
    page.locator("#other").select_option("small")
    expect(page.locator("#notice")).to_have_text("small does not answer.")
    # It stands there still when an answer comes that was asked for before.
    with page.expect_response("**/predict?frame=true"):
        asked[0].continue_()
    expect(page.locator("#verdict")).to_contain_text("% sure")
    expect(page.locator("#notice")).to_have_text("small does not answer.")
    expect(page.locator("#other")).to_have_value("")
    expect(page.locator("#other-digit")).to_be_hidden()
    page.unroute_all()


def test_it_fits_a_phone_in_the_dark(browser: Browser, service: Service) -> None:
    with browser.new_context(
        viewport={"width": 360, "height": 740},
        has_touch=True,
        is_mobile=True,
        color_scheme="dark",
    ) as context:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{service.port}/")
        expect(page.locator("#bars tr")).to_have_count(10)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
        paper, digit = (page.locator(name).bounding_box() for name in ("#paper", "#digit"))
        assert paper is not None
        assert digit is not None
        # The answer and the whole paper are in sight together.
        assert digit["y"] < paper["y"] < paper["y"] + paper["height"] < 740
        page.touchscreen.tap(paper["x"] + 150, paper["y"] + 150)
        expect(page.locator("#verdict")).to_contain_text("% sure")
        assert page.evaluate("() => scrollY") == 0


def test_a_service_that_goes_away_costs_no_drawing_and_is_found_again(
    browser: Browser, packaged: Packaged, bento_python: Path, tmp_path: Path
) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        with serve(bento_python, str(packaged.bento), cwd=tmp_path, home=packaged.home) as running:
            page.goto(f"http://127.0.0.1:{running.port}/")
            draw(page, SEVEN[:1])
            expect(page.locator("#verdict")).to_contain_text("% sure")
            context.set_offline(True)
            draw(page, SEVEN[1:])
            expect(page.locator("#notice")).to_contain_text("Your drawing is kept")
            kept = ink(page)
            context.set_offline(False)
            expect(page.locator("#notice")).to_be_hidden(timeout=10_000)
            assert ink(page) == kept > 0
            expect(page.locator("#verdict")).to_contain_text("% sure")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_against_wcag(page: Page, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}

    def violations() -> list[str]:
        found = Axe().run(page, options=rules).response
        assert found["passes"], "axe looked at nothing"
        return [
            f"{rule['id']}: {node['html']}"
            for rule in found["violations"]
            for node in rule["nodes"]
        ]

    assert violations() == []
    draw(page, SEVEN)
    expect(page.locator("#verdict")).to_contain_text("% sure")
    page.evaluate("document.getElementById('login').hidden = false")
    page.locator("#other").select_option("small")
    expect(page.locator("#other-verdict")).to_contain_text("% sure")
    assert violations() == []


def test_the_page_asks_for_the_token_that_the_service_wants(
    browser: Browser,
    packaged: Packaged,
    bento_python: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(TOKENS, "known")
    with (
        browser.new_context() as context,
        serve(bento_python, str(packaged.bento), cwd=tmp_path, home=packaged.home) as running,
    ):
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{running.port}/")
        expect(page.locator("#notice")).to_have_text("This service asks for a token.")
        for token, rows in (("guessed", 0), ("known", 10)):
            page.locator("#token").fill(token)
            page.locator("#login button").click()
            expect(page.locator("#bars tr")).to_have_count(rows)
        expect(page.locator("#login")).to_be_hidden()
        draw(page, SEVEN)
        expect(page.locator("#verdict")).to_contain_text("% sure")

"""The page, in a real browser: models, samples, tokens, and a service that goes away."""

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from digits.serving.access import TOKENS
from page_fixtures import SEVEN, draw, ink, seen
from serving_fixtures import (
    PIXEL,
    SAMPLES,
    SELECTED,
    SMALL_RUN,
    SMALL_SIZE,
    Packaged,
    Service,
    serve,
)


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
    expect(page.locator("#right button")).to_have_accessible_name("a 3")
    expect(page.locator("#wrong button")).to_have_accessible_name("4 read as 9")
    expect(page.locator("#wrong button")).to_have_text("4 read as 9")  # no pointer needed
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
        assert sum(float(text.strip("> %")) for text in texts) == pytest.approx(100, abs=0.6)
        marked = page.locator(f"{shares}.best").text_content()
        assert marked == max(texts, key=lambda text: float(text.strip("> %")))
    expect(page.locator("#spoken")).to_contain_text(". small: ")
    page.locator("#clear").click()
    expect(page.locator("#other-digit")).to_have_text("?")
    page.locator("#other").select_option("")
    for name in ("#other-digit", "#other-seen", "#other-run"):
        expect(page.locator(name)).to_be_hidden()


def test_the_selected_model_answers_also_where_the_other_does_not(page: Page) -> None:
    draw(page, SEVEN[:1])
    page.locator("#other").select_option("small")
    expect(page.locator("#other-verdict")).to_contain_text("% sure")
    page.route("**/predict*model=small*", lambda route: route.fulfill(status=422, json={}))
    draw(page, SEVEN[1:])
    expect(page.locator("#verdict")).to_contain_text("% sure")
    expect(page.locator("#other-verdict")).to_have_text("does not answer")
    # Nothing is left of what it said of the drawing before.
    expect(page.locator("#other-digit")).to_have_text("?")
    expect(page.locator("#bars .share.second")).to_have_text(["0.0 %"] * 10)
    assert not any(seen(page, "other-seen"))
    expect(page.locator("#spoken")).to_contain_text(". small does not answer")
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


def test_the_other_model_that_is_busy_is_asked_again_when_it_said(quiet: Page) -> None:
    quiet.locator("#other").select_option("small")
    expect(quiet.locator("#other-digit")).to_be_visible()
    busy = {"Retry-After": "7"}
    small = "**/predict*model=small*"
    quiet.route(small, lambda route: route.fulfill(status=503, headers=busy, json={}))
    with quiet.expect_request_finished(lambda request: "model=small" in request.url):
        quiet.locator("#paper").click()
    expect(quiet.locator("#other-verdict")).to_have_text("does not answer")
    quiet.unroute_all()
    quiet.clock.run_for(7_500)
    expect(quiet.locator("#other-verdict")).not_to_have_text("does not answer")


def test_it_fits_a_phone_in_the_dark(browser: Browser, service: Service) -> None:
    with browser.new_context(
        viewport={"width": 320, "height": 740},
        has_touch=True,
        is_mobile=True,
        color_scheme="dark",
    ) as context:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{service.port}/")
        expect(page.locator("#bars tr")).to_have_count(10)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 320
        paper, digit = (page.locator(name).bounding_box() for name in ("#paper", "#digit"))
        assert paper is not None
        assert digit is not None
        # The answer and the whole paper are in sight together.
        assert digit["y"] < paper["y"] < paper["y"] + paper["height"] < 740
        page.touchscreen.tap(paper["x"] + 150, paper["y"] + 150)
        expect(page.locator("#verdict")).to_have_text("That does not look like a digit")  # a dot
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
        field = page.locator("#token")
        expect(field).to_have_attribute("aria-invalid", "false")
        for token, said in (
            ("gueßed", "A token has only letters, digits and signs of ASCII."),
            ("guessed", "That token is not known."),
        ):
            field.fill(token)
            page.locator("#login button").click()
            expect(page.locator("#notice")).to_have_text(said)
            expect(field).to_have_attribute("aria-invalid", "true")
            expect(field).to_have_accessible_description(said)
            expect(field).to_be_focused()
            expect(page.locator("#bars tr")).to_have_count(0)
            assert page.evaluate("sessionStorage.length") == 0
        # Who draws in the meantime is not called away from it, and the sentence stands.
        draw(page, SEVEN[:1])
        page.wait_for_load_state("networkidle")
        expect(page.locator("#paper")).to_be_focused()
        expect(page.locator("#notice")).to_have_text("That token is not known.")
        # A refusal that comes after the token does not ask for it once more.
        late: list[Route] = []
        page.route("**/predict*", lambda route: late.append(route), times=1)
        with page.expect_request("**/predict*"):
            draw(page, SEVEN[1:])
        field.fill(" known ")
        page.locator("#login button").click()
        late[0].fulfill(status=401, json={})
        expect(page.locator("#bars tr")).to_have_count(10)
        expect(page.locator("#login")).to_be_hidden()
        expect(page.locator("#notice")).to_be_hidden()
        # What was drawn before the token was known is read without another stroke.
        expect(page.locator("#verdict")).to_contain_text("% sure")
        draw(page, SEVEN)
        expect(page.locator("#verdict")).to_contain_text("% sure")

"""The page, in a real browser, while its service is stopped, silent, busy, or another one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from page_fixtures import SEVEN, draw, ink
from serving_fixtures import Packaged, package, serve

READ = "% sure"
AWAY = "The service does not answer. Your drawing is kept; trying again …"
BUSY = "The service is busy. Your drawing is kept; trying again …"


def test_a_service_that_accepts_and_never_answers_is_away(quiet: Page) -> None:
    held: list[Route] = []
    quiet.route("**/predict*", lambda route: held.append(route))
    draw(quiet, SEVEN)
    kept = ink(quiet)
    expect(quiet.locator("#notice")).to_be_hidden()
    place = quiet.locator("#paper").bounding_box()
    quiet.clock.run_for(16_000)
    expect(quiet.locator("#notice")).to_have_text(AWAY)
    assert quiet.locator("#paper").bounding_box() == place  # it does not move under the pen
    assert held
    quiet.unroute_all(behavior="ignoreErrors")
    quiet.clock.run_for(3_000)
    expect(quiet.locator("#verdict")).to_contain_text(READ)
    expect(quiet.locator("#notice")).to_be_hidden()
    assert ink(quiet) == kept > 0


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo of half a megabyte: ten seconds of a slow line."""
    noise = np.random.default_rng(0).integers(0, 256, (500, 1000), np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    assert 500_000 < (tmp_path / "photo.png").stat().st_size < 520_000
    return tmp_path / "photo.png"


def test_a_photo_has_the_time_that_a_slow_line_takes_and_then_is_not_sent_by_itself_again(
    quiet: Page, photo: Path
) -> None:
    held: list[Route] = []
    quiet.route("**/predict*", lambda route: held.append(route))
    quiet.locator("#file").set_input_files(photo)
    expect(quiet.locator("#verdict")).to_have_text("Sending the image …")
    quiet.clock.run_for(24_000)
    expect(quiet.locator("#verdict")).to_have_text("Sending the image …")
    expect(quiet.locator("#notice")).to_be_hidden()
    quiet.clock.run_for(2_000)
    expect(quiet.locator("#notice")).to_contain_text("Sending this image takes too long.")
    expect(quiet.locator("#verdict")).to_have_text("Not read")
    quiet.clock.run_for(60_000)
    assert len(held) == 1
    quiet.unroute_all(behavior="ignoreErrors")
    draw(quiet, SEVEN)
    expect(quiet.locator("#verdict")).to_contain_text(READ)
    expect(quiet.locator("#notice")).to_be_hidden()


@pytest.mark.parametrize("status", [408, 504])
def test_a_photo_that_is_cut_off_on_its_way_after_long_is_not_sent_by_itself_again(
    quiet: Page, photo: Path, status: int
) -> None:
    held: list[Route] = []
    quiet.route("**/predict*", lambda route: held.append(route))
    quiet.locator("#file").set_input_files(photo)
    expect(quiet.locator("#verdict")).to_have_text("Sending the image …")
    quiet.clock.run_for(20_000)
    held[0].fulfill(status=status, json={})
    expect(quiet.locator("#notice")).to_contain_text("Sending this image takes too long.")
    quiet.clock.run_for(60_000)
    assert len(held) == 1


def test_a_photo_that_is_no_longer_wanted_is_not_sent_to_its_end(quiet: Page, photo: Path) -> None:
    held: list[Route] = []
    quiet.route("**/predict*", lambda route: held.append(route))
    quiet.locator("#file").set_input_files(photo)
    expect(quiet.locator("#verdict")).to_have_text("Sending the image …")
    quiet.unroute_all(behavior="ignoreErrors")
    quiet.locator("#clear").click()
    expect(quiet.locator("#verdict")).to_have_text("Nothing drawn yet")
    draw(quiet, SEVEN)
    expect(quiet.locator("#verdict")).to_contain_text(READ)


@pytest.mark.parametrize(
    ("status", "headers", "said", "after_ms"),
    [
        (503, {"Retry-After": "1"}, BUSY, 1_000),
        (429, {"Retry-After": "7"}, BUSY, 7_000),
        (429, {}, BUSY, 2_000),
        (503, {}, AWAY, 2_000),
        (502, {}, AWAY, 2_000),
    ],
)
def test_a_busy_service_is_told_from_one_that_is_away_and_asked_again_when_it_said(
    quiet: Page, status: int, headers: dict[str, str], said: str, after_ms: int
) -> None:
    quiet.clock.pause_at(quiet.evaluate("Date.now() + 1000"))
    quiet.route("**/predict*", lambda route: route.fulfill(status=status, headers=headers, json={}))
    draw(quiet, SEVEN)
    expect(quiet.locator("#notice")).to_have_text(said)
    expect(quiet.locator("#verdict")).to_have_text("Not read")  # and nothing of another drawing
    quiet.unroute_all()
    quiet.clock.run_for(after_ms - 500)
    expect(quiet.locator("#notice")).to_have_text(said)
    quiet.clock.run_for(600)
    expect(quiet.locator("#verdict")).to_contain_text(READ)
    expect(quiet.locator("#notice")).to_be_hidden()


def test_what_fails_in_the_service_is_said_and_not_asked_for_ever(quiet: Page) -> None:
    asked = []

    def fail(route: Route) -> None:
        asked.append(route)
        route.fulfill(status=500, json={"error": "the service failed; its log says why"})

    quiet.clock.pause_at(quiet.evaluate("Date.now() + 1000"))
    quiet.route("**/predict*", fail)
    draw(quiet, SEVEN)
    expect(quiet.locator("#verdict")).to_have_text("the service failed; its log says why")
    quiet.wait_for_load_state("networkidle")  # the pen's last move has been asked about, too
    num = len(asked)
    quiet.clock.run_for(10_000)
    expect(quiet.locator("#notice")).to_be_hidden()
    assert len(asked) == num


def test_a_page_opened_while_the_service_is_busy_says_so_and_starts(quiet: Page) -> None:
    quiet.route("**/model", lambda route: route.fulfill(status=503, headers={"Retry-After": "1"}))
    quiet.reload()
    expect(quiet.locator("#notice")).to_have_text("The service is busy. Trying again …")
    quiet.unroute_all()
    quiet.clock.run_for(1_500)
    expect(quiet.locator("#bars tr")).to_have_count(10)
    expect(quiet.locator("#notice")).to_be_hidden()


@pytest.fixture
def retrained(packaged: Packaged, tmp_path: Path) -> Callable[[], Packaged]:
    """The same project a version later: packaged again, from another run."""

    def again() -> Packaged:
        project, home = tmp_path / "project", tmp_path / "home"
        shutil.copytree(packaged.project, project)
        crowned = project / "champion/champion.json"
        facts = json.loads(crowned.read_text()) | {"version": 4, "run_id": "feedfacefeedface"}
        crowned.write_text(json.dumps(facts))
        result = package(project, home=home)
        assert result.returncode == 0, result.stderr
        return Packaged(project=project, home=home, output=result.stdout)

    return again


def test_a_service_that_was_stopped_and_serves_another_model_is_found_again(
    browser: Browser,
    packaged: Packaged,
    retrained: Callable[[], Packaged],
    bento_python: Path,
    tmp_path: Path,
) -> None:
    later = retrained()
    with browser.new_context() as context:
        page = context.new_page()
        with serve(bento_python, str(packaged.bento), cwd=tmp_path, home=packaged.home) as running:
            port = running.port
            page.goto(f"http://127.0.0.1:{port}/")
            draw(page, SEVEN[:1])
            expect(page.locator("#verdict")).to_contain_text(READ)
            expect(page.locator("#model")).to_have_text("tiny, version 3")
        draw(page, SEVEN[1:])
        expect(page.locator("#notice")).to_have_text(AWAY)
        kept = ink(page)
        with serve(bento_python, str(later.bento), cwd=tmp_path, home=later.home, port=port):
            expect(page.locator("#notice")).to_be_hidden(timeout=15_000)
            expect(page.locator("#verdict")).to_contain_text(READ)
            assert ink(page) == kept > 0
            expect(page.locator("#model")).to_have_text("tiny, version 4")
            expect(page.locator("#run")).to_have_text("feedfacefeedface")
            expect(page.locator("#lineage")).to_have_text("digits lineage feedfacefeedface")
            expect(page.locator("#other option")).to_have_text(
                ["no other model", "small", "tiny-challenger"]
            )
            expect(page.locator("#right button")).to_have_count(1)
            page.goto("about:blank")  # hangs up, so that the service may stop

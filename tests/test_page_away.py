"""The page, in a real browser, while its service is stopped, silent, busy, or another one."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from page_fixtures import SEVEN, draw, ink
from serving_fixtures import Packaged, Service, package, serve

READ = "% sure"
AWAY = "The service does not answer. Your drawing is kept; trying again …"
BUSY = "The service is busy. Your drawing is kept; trying again …"


@pytest.fixture
def quiet(browser: Browser, service: Service) -> Iterator[Page]:
    """The page, where a failed request is no failure of the page."""
    with browser.new_context() as context:
        opened = context.new_page()
        opened.clock.install()
        opened.goto(f"http://127.0.0.1:{service.port}/")
        expect(opened.locator("#bars tr")).to_have_count(10)
        yield opened


def test_a_service_that_accepts_and_never_answers_is_away(quiet: Page) -> None:
    # The browser's own keeps to the real time; this one to the time of the test.
    quiet.add_init_script(
        "AbortSignal.timeout = () => { const c = new AbortController();"
        " setTimeout(() => c.abort(), 15000); return c.signal; }"
    )
    quiet.reload()
    expect(quiet.locator("#bars tr")).to_have_count(10)
    held: list[Route] = []
    quiet.route("**/predict*", lambda route: held.append(route))
    draw(quiet, SEVEN)
    kept = ink(quiet)
    expect(quiet.locator("#notice")).to_be_hidden()
    quiet.clock.run_for(16_000)
    expect(quiet.locator("#notice")).to_have_text(AWAY)
    assert held
    quiet.unroute_all(behavior="ignoreErrors")
    quiet.clock.run_for(3_000)
    expect(quiet.locator("#verdict")).to_contain_text(READ)
    expect(quiet.locator("#notice")).to_be_hidden()
    assert ink(quiet) == kept > 0


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
    quiet.unroute_all()
    quiet.clock.run_for(after_ms - 500)
    expect(quiet.locator("#notice")).to_have_text(said)
    quiet.clock.run_for(600)
    expect(quiet.locator("#verdict")).to_contain_text(READ)
    expect(quiet.locator("#notice")).to_be_hidden()


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

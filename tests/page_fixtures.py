"""The page in a real browser, and hands that draw on it."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from page import ARGUMENTS, BROWSERS
from serving_fixtures import Service

# A camera that shows a test picture, and a user who allows it.
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
# A seven with a bar, in shares of the paper.
SEVEN = [[(0.25, 0.25), (0.7, 0.25), (0.45, 0.8)], [(0.4, 0.5), (0.7, 0.5)]]


@pytest.fixture(scope="module")  # while it is open, nothing else may run an event loop
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        sentence = f"none of {', '.join(BROWSERS)} is installed; `apt-get install chromium`"
        pytest.fail(sentence) if os.environ.get("CI") else pytest.skip(sentence)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=[*ARGUMENTS, *CAMERA])
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


@pytest.fixture
def quiet(browser: Browser, service: Service) -> Iterator[Page]:
    """The page, where a failed request is no failure of the page."""
    with browser.new_context() as context:
        opened = context.new_page()
        opened.clock.install()
        opened.goto(f"http://127.0.0.1:{service.port}/")
        expect(opened.locator("#bars tr")).to_have_count(10)
        yield opened


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


def seen(page: Page, canvas: str = "seen") -> Any:
    """The frame that the page shows, in bytes."""
    return page.evaluate(
        "(id) => { const c = document.getElementById(id);"
        " return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]; }",
        canvas,
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


def phone(browser: Browser, service: Service, act: Callable[[Page], None]) -> None:
    """Act on the page as the narrowest phone shows it, and expect that nothing sticks out."""
    with browser.new_context(
        viewport={"width": 320, "height": 740}, has_touch=True, is_mobile=True
    ) as context:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{service.port}/")
        expect(page.locator("#bars tr")).to_have_count(10)
        act(page)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 320

"""How the page reads recorded drawings, replayed with the pointer in a real browser.

    python bench/page.py [STROKES] [--url http://127.0.0.1:3000]

STROKES is a JSON list of drawings: `label`, `canvas` (its side), `pen` (its width) and `strokes`,
each a list of [x, y]. Each is drawn on the page of the service at the address, or of one that is
started for this and serves the packaged model, and read as the page shows it; about two seconds a
drawing. Writes bench/page.json, and the README's picture of the page, docs/page.png.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from digits.files import replacing, write_json
from digits.scores import wilson_interval
from machine import heading
from wild import served

STROKES = Path("../shared/wild/strokes/strokes.json")
OUT = Path("bench/page.json")
PICTURE = Path("docs/page.png")
# What is drawn on it: a 7 with a bar, which many demos take for a 2 or a 4.
SEVEN = {
    "canvas": 280,
    "pen": 20,
    "strokes": [[(67, 71), (193, 71), (125, 225)], [(109, 140), (196, 140)]],
}
QUIET_MS = 150
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


def replay(page: Page, drawing: dict[str, Any]) -> None:
    """Draw the strokes with the mouse, in the brush that is nearest to the pen."""
    box = page.locator("#paper").bounding_box()
    assert box is not None
    scale = box["width"] / drawing["canvas"]
    brush = page.locator("#brush")
    least, most = (float(brush.get_attribute(name) or 0) for name in ("min", "max"))
    width = 280 * drawing["pen"] / drawing["canvas"]
    brush.fill(str(round(min(max(width, least), most))))
    for stroke in drawing["strokes"]:
        places = [(box["x"] + x * scale, box["y"] + y * scale) for x, y in stroke]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place)
        page.mouse.up()


def read(page: Page, drawing: dict[str, Any]) -> tuple[str, float]:
    """The page's best guess at a drawing once it rests, and the milliseconds of the last answer."""
    open_requests: set[Request] = set()
    num_asked = 0

    def ask(request: Request) -> None:
        nonlocal num_asked
        num_asked += 1
        open_requests.add(request)

    def done(request: Request) -> None:
        open_requests.discard(request)

    ends = ("requestfinished", "requestfailed")
    page.on("request", ask)
    for end in ends:
        page.on(end, done)
    replay(page, drawing)
    # One question at a time: when none is open for a while, the answer is to the whole drawing.
    num_before = -1
    while open_requests or num_asked != num_before:
        num_before = num_asked
        page.wait_for_timeout(QUIET_MS)
    page.remove_listener("request", ask)
    for end in ends:
        page.remove_listener(end, done)
    expect(page.locator("#latency")).to_contain_text("ms")
    # The longest bar: beside it the page shows a question mark for what it does not believe.
    digit = page.locator("#bars th.best").text_content() or ""
    latency = page.locator("#latency").text_content() or ""
    return digit, float(latency.removesuffix(" ms"))


def take_picture(browser: Browser, url: str) -> None:
    """The page as it is after the 7 was drawn and read."""
    page = browser.new_page(viewport={"width": 900, "height": 640})
    page.goto(f"{url}/")
    expect(page.locator("#bars tr")).not_to_have_count(0)
    read(page, SEVEN)
    with replacing(PICTURE) as beside:
        beside.write_bytes(page.screenshot())
    page.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("strokes", nargs="?", type=Path, default=STROKES)
    parser.add_argument("--url", help="of a running service")
    arguments = parser.parse_args()
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not browser_path:
        raise SystemExit(f"page: none of {', '.join(BROWSERS)} is installed; install chromium")
    try:
        drawings = json.loads(arguments.strokes.read_text())
    except (OSError, ValueError) as error:
        raise SystemExit(f"page: {arguments.strokes} is no file of drawings: {error}") from None
    address = contextlib.nullcontext(arguments.url) if arguments.url else served()
    rows, mistakes = [], []
    with address as url, sync_playwright() as playwright:
        model = httpx.get(f"{url}/model").raise_for_status().json()
        browser = playwright.chromium.launch(executable_path=browser_path, args=ARGUMENTS)
        page = browser.new_page()
        page.goto(f"{url}/")
        expect(page.locator("#bars tr")).to_have_count(len(model["classes"]))
        for drawing in drawings:
            digit, latency_ms = read(page, drawing)
            page.locator("#clear").click()
            expect(page.locator("#verdict")).to_have_text("Nothing drawn yet")
            rows.append((digit == str(drawing["label"]), latency_ms))
            if not rows[-1][0]:
                mistakes.append(f"{drawing['label']} read as {digit}")
        take_picture(browser, url)
        browser.close()
    num_right = sum(right for right, _ in rows)
    low, high = wilson_interval(num_right / len(rows), len(rows))
    result = {
        **heading("python bench/page.py", model),
        "num_drawings": len(rows),
        "accuracy": round(num_right / len(rows), 5),
        "accuracy_low": round(low, 5),
        "accuracy_high": round(high, 5),
        "mistakes": sorted(mistakes),
        "median_ms": statistics.median(latency_ms for _, latency_ms in rows),
    }
    write_json(OUT, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    main()

"""Tokens: who may ask; and the headers of every answer."""

import asyncio
import time
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from digits.reading.predictor import IDENTITY, Predictor
from digits.serving import limits
from digits.serving.access import HEADERS, TOKENS, read_tokens
from digits.serving.app import build_app, open_model
from digits.serving.models import Model
from serving_fixtures import write_bundle


@pytest.fixture
def app(tmp_path: Path) -> Starlette:
    write_bundle(tmp_path, seed=0)
    app = build_app()
    lineage = {"tag": "digits:0", **dict.fromkeys(IDENTITY), "name": "tiny"}
    open_model(app, Model(Predictor.open(tmp_path), lineage))
    return app


def ask(app: Starlette, method: str, path: str, **more: object) -> httpx.Response:
    async def answer() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://digits") as client:
            return await client.request(method, path, **more)  # type: ignore[arg-type]

    return asyncio.run(answer())


@pytest.mark.parametrize("path", ["/predict", "/predict_batch", "/classify"])
@pytest.mark.parametrize(
    "authorization",
    [None, "", "one", "Bearer", "Bearer ", "Bearer on", "Bearer one two", "Basic one", "Bearer é"],
)
def test_who_brings_no_known_token_is_told_what_to_bring(
    app: Starlette, monkeypatch: pytest.MonkeyPatch, path: str, authorization: str | None
) -> None:
    monkeypatch.setenv(TOKENS, "one, two")
    headers = {} if authorization is None else {"Authorization": authorization.encode()}
    response = ask(app, "POST", path, headers=headers, content=b"x")
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert "Authorization: Bearer TOKEN" in response.json()["error"]
    assert {*HEADERS} <= {*response.headers}


@pytest.mark.parametrize("authorization", ["Bearer one", "bearer two", "Bearer  two "])
def test_each_token_opens_every_route(
    app: Starlette, monkeypatch: pytest.MonkeyPatch, authorization: str
) -> None:
    monkeypatch.setenv(TOKENS, "one, two")
    headers = {"Authorization": authorization, "Content-Type": "application/octet-stream"}
    assert ask(app, "GET", "/model", headers=headers).status_code == 200
    assert ask(app, "POST", "/classify", headers=headers, content=bytes(784)).status_code == 200


def test_the_page_can_be_opened_without_a_token_and_what_it_shows_cannot(
    app: Starlette, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKENS, "one")
    for path in ("/", "/web/page.js", "/docs", "/docs.json"):
        assert ask(app, "GET", path).status_code == 200
    for path in ("/model", "/samples", "/nowhere", "/web"):
        assert ask(app, "GET", path).status_code == 401


def test_without_tokens_everybody_may_ask(app: Starlette, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKENS, raising=False)
    assert ask(app, "GET", "/model").status_code == 200


@pytest.mark.parametrize("given", ["", " ", "one,,two", "one,", "schlüssel"])
def test_an_empty_secret_protects_nothing_and_is_refused(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv(TOKENS, given)
    with pytest.raises(ValueError, match=f"{TOKENS} must be ASCII tokens"):
        read_tokens()


@pytest.mark.parametrize("path", ["/", "/web/page.css", "/docs", "/docs.json", "/model", "/no"])
def test_every_answer_has_safe_headers(app: Starlette, path: str) -> None:
    headers = ask(app, "GET", path).headers
    for name, value in HEADERS.items():
        assert headers[name] == value or (
            name == "content-security-policy" and value in headers[name]
        )


def test_an_answer_closes_its_connection_after_so_much_work(
    app: Starlette, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked_s = 7.0
    monkeypatch.setattr(time, "process_time", lambda: worked_s)
    monkeypatch.setattr(limits, "WORK_TO_A_CLOSE_S", 1.0)
    ask(app, "GET", "/model")  # from here on it is counted
    said = []
    for of_it_s in (0.5, 0.25, 0.25, 0.5, 2.0, 0.0):
        worked_s += of_it_s
        said.append(ask(app, "GET", "/model").headers.get("connection"))
    assert said == [None, None, "close", None, "close", None]

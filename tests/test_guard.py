"""What a worker does not hold, what would keep others waiting, and what takes too long."""

import asyncio
import errno
import json
import socket
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from digits.reading.predictor import IDENTITY, Predictor
from digits.serving import limits
from digits.serving.access import HEADERS
from digits.serving.app import build_app, open_model
from digits.serving.guard import drop_who_does_not_read
from digits.serving.models import Model
from serving_fixtures import drawing, write_bundle


def test_too_many_requests_at_once_are_told_to_come_back_and_then_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_CONCURRENT", 2)
    write_bundle(tmp_path, seed=0)
    app = build_app()
    lineage = {"tag": "digits:0", **dict.fromkeys(IDENTITY), "name": "tiny"}
    open_model(app, Model(Predictor.open(tmp_path), lineage))
    headers = {"Content-Type": "application/octet-stream"}

    async def ask() -> tuple[httpx.Response, list[httpx.Response], httpx.Response]:
        arrived, go_on = asyncio.Event(), asyncio.Event()

        async def slow_body() -> AsyncIterator[bytes]:
            yield bytes(400)
            arrived.set()
            await go_on.wait()
            yield bytes(384)

        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://digits") as client:
            held = []
            for _ in range(2):
                arrived.clear()
                post = client.post("/classify", content=slow_body(), headers=headers)
                held.append(asyncio.create_task(post))
                await arrived.wait()
            refused = await client.get("/model")
            go_on.set()
            return refused, [await task for task in held], await client.get("/model")

    refused, held, after = asyncio.run(ask())
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == str(limits.RETRY_AFTER_S)
    assert refused.json()["error"].startswith("2 requests are being answered already")
    assert [response.status_code for response in held] == [200, 200]
    assert after.status_code == 200


@pytest.mark.parametrize(("num", "threads"), [(limits.IMAGES_IN_PLACE, 0), (50, 1)])
def test_many_small_images_are_read_while_others_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num: int, threads: int
) -> None:
    write_bundle(tmp_path, seed=0)
    app = build_app()
    lineage = {"tag": "digits:0", **dict.fromkeys(IDENTITY), "name": "tiny"}
    open_model(app, Model(Predictor.open(tmp_path), lineage))
    handed: list[Any] = []
    submit = app.state.threads.submit

    def counted(function: Any, *given: Any) -> Any:
        handed.append(function)
        return submit(function, *given)

    monkeypatch.setattr(app.state.threads, "submit", counted)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://digits") as client:
            return await client.post("/predict_batch", files=[("images", drawing())] * num)

    assert len(asyncio.run(ask()).json()["predictions"]) == num
    assert len(handed) == threads


def classify_scope(app: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "POST",
        "path": "/classify",
        "query_string": b"",
        "headers": [(b"content-type", b"application/octet-stream")],
        "app": app,
    }


def test_who_waits_too_long_is_told_so_though_a_thread_is_still_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ANSWER_S", 0.1)
    write_bundle(tmp_path, seed=0)
    predictor = Predictor.open(tmp_path)
    go_on, read_whole = threading.Event(), threading.Event()
    read = predictor.probabilities

    def slow(frames_BHW: Any) -> Any:
        assert go_on.wait(30)
        probabilities_BK = read(frames_BHW)
        read_whole.set()
        return probabilities_BK

    app = build_app()
    open_model(app, Model(predictor, {"tag": "digits:0", **dict.fromkeys(IDENTITY)}))
    monkeypatch.setattr(predictor, "probabilities", slow)
    body = bytes(784 * (limits.FRAMES_IN_PLACE + 1))

    async def ask() -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await app(classify_scope(app), receive, send)
        return sent

    start, content = asyncio.run(ask())
    assert not read_whole.is_set()
    go_on.set()
    assert read_whole.wait(30)
    assert start["status"] == 504
    assert json.loads(content["body"])["error"].startswith("there was no answer within 0 s")
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    assert headers.items() >= HEADERS.items()
    assert headers["content-type"] == "application/json"


def test_a_slow_model_reads_fewer_frames_while_others_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(tmp_path, seed=0)
    predictor = Predictor.open(tmp_path)
    assert Model(predictor, {}).frames_in_place == limits.FRAMES_IN_PLACE
    read, seconds = predictor.probabilities, 0.03  # for eight of them

    def slow(frames_BHW: Any) -> Any:
        time.sleep(seconds)
        return read(frames_BHW)

    monkeypatch.setattr(predictor, "probabilities", slow)
    assert Model(predictor, {}).frames_in_place == 2
    seconds = 0.2
    assert Model(predictor, {}).frames_in_place == 1


def test_the_time_in_which_a_body_arrives_is_not_the_services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ANSWER_S", 0.4)
    write_bundle(tmp_path, seed=0)
    app = build_app()
    open_model(app, Model(Predictor.open(tmp_path), {"tag": "0", **dict.fromkeys(IDENTITY)}))

    async def ask() -> httpx.Response:
        async def slow_body() -> AsyncIterator[bytes]:
            for _ in range(16):
                yield bytes(49)
                await asyncio.sleep(0.05)

        transport = httpx.ASGITransport(app)
        headers = {"Content-Type": "application/octet-stream"}
        async with httpx.AsyncClient(transport=transport, base_url="http://digits") as client:
            return await client.post("/classify", content=slow_body(), headers=headers)

    assert asyncio.run(ask()).status_code == 200


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux ends them")
def test_who_takes_nothing_of_an_answer_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "UNREAD_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        drop_who_does_not_read()
        with socket.create_connection(listening.getsockname()) as silent:
            accepted, _ = listening.accept()
            with accepted:
                accepted.settimeout(30)
                with pytest.raises(OSError, match="timed out") as ended:
                    accepted.sendall(bytes(2**24))
                assert ended.value.errno == errno.ETIMEDOUT  # the kernel's, not Python's
            assert silent.fileno() >= 0

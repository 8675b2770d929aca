"""What is beyond the number of requests that a worker holds, and what would keep others waiting."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx
import pytest

from digits.reading.predictor import IDENTITY, Predictor
from digits.serving import limits
from digits.serving.app import build_app, open_model
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


@pytest.mark.parametrize(("num", "threads"), [(limits.FRAMES_IN_PLACE, 0), (50, 1)])
def test_many_small_images_are_read_while_others_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num: int, threads: int
) -> None:
    handed: list[Any] = []
    run_sync = anyio.to_thread.run_sync

    async def counted(function: Any, *given: Any, **named: Any) -> Any:
        handed.append(function)
        return await run_sync(function, *given, **named)

    monkeypatch.setattr(anyio.to_thread, "run_sync", counted)
    write_bundle(tmp_path, seed=0)
    app = build_app()
    lineage = {"tag": "digits:0", **dict.fromkeys(IDENTITY), "name": "tiny"}
    open_model(app, Model(Predictor.open(tmp_path), lineage))

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://digits") as client:
            return await client.post("/predict_batch", files=[("images", drawing())] * num)

    assert len(asyncio.run(ask()).json()["predictions"]) == num
    assert len(handed) == threads

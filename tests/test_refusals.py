"""Bad requests get a 4xx with a plain sentence, and the service goes on."""

import asyncio
import http.client
import io
import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from PIL import Image
from starlette.requests import Request

from digits.reading.normalize import MAX_PIXELS, open_header
from digits.serving import limits
from digits.serving.uploads import (
    Refused,
    expect_pixels_within_limit,
    receive_frames,
    receive_images,
)
from refused_requests import PNG, REFUSED, multipart
from serving_fixtures import Service, drawing


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_image_is_refused_with_a_plain_sentence(service: Service, name: str) -> None:
    status, words, request = REFUSED[name]
    response = service.client.post("/predict", **request)
    assert_refused(response, status)
    if words is not None:
        assert words in response.json()["error"]
    assert service.client.post("/predict", files={"image": PNG}).status_code == 200


@pytest.mark.parametrize("path", ["/predict", "/predict_batch", "/classify", "/model"])
@pytest.mark.parametrize("query", ["modle=tiny", "model=tiny&frames=true"])
def test_a_parameter_that_is_not_known_is_named(service: Service, path: str, query: str) -> None:
    method = "GET" if path == "/model" else "POST"
    response = service.client.request(method, f"{path}?{query}")
    assert response.status_code == 400
    known = "model and frame" if path == "/predict" else "model"
    unknown = "modle" if query.startswith("modle") else "frames"
    assert response.json() == {"error": f"{path} takes {known} in its query, not {unknown!r}"}


@pytest.mark.parametrize("query", ["model=tiny&model=tiny", "frame=true&frame=false"])
def test_a_parameter_is_given_once(service: Service, query: str) -> None:
    response = service.client.post(f"/predict?{query}", files={"image": PNG})
    assert response.status_code == 400
    key = query.partition("=")[0]
    assert response.json() == {"error": f"{key} is in the query more than once; give it once"}


@pytest.mark.parametrize(
    ("frame", "status"), [("true", 200), ("False", 200), ("1", 200), ("maybe", 400), ("", 400)]
)
def test_a_frame_is_asked_for_by_true_or_not(service: Service, frame: str, status: int) -> None:
    response = service.client.post(f"/predict?frame={frame}", files={"image": drawing()})
    assert response.status_code == status
    if status == 200:
        assert ("frame" in response.json()) is (frame in ("true", "1"))
    else:
        assert response.json() == {"error": f"frame must be true or false, got {frame!r}"}


def assert_refused(response: httpx.Response, status: int) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    content = response.json()
    assert content.keys() == {"error"}
    assert 10 < len(content["error"]) < 300
    assert "\n" not in content["error"]


def test_more_pixels_than_the_limit_are_refused_without_decoding_them(service: Service) -> None:
    image = blank(int(MAX_PIXELS**0.5) + 1)
    assert len(image) < 2**20
    assert_refused(service.client.post("/predict", files={"image": image}), 422)


def blank(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (side, side)).save(buffer, format="PNG")
    return buffer.getvalue()


def test_images_of_too_many_pixels_together_are_refused_without_decoding_them(
    service: Service,
) -> None:
    image = blank(7000)
    assert len(image) * limits.MAX_IMAGES < limits.MAX_BODY_BYTES
    files = [("images", image)] * limits.MAX_IMAGES
    response = service.client.post("/predict_batch", files=files)
    assert_refused(response, 413)
    assert f"{limits.MAX_REQUEST_PIXELS:,} pixels" in response.json()["error"]
    assert service.client.post("/predict", files={"image": PNG}).status_code == 200


def test_one_image_is_never_refused_for_the_pixels_of_the_request(service: Service) -> None:
    assert limits.MAX_REQUEST_PIXELS >= MAX_PIXELS
    # In a batch too, an image that is too large by itself is refused by itself.
    files = [("images", PNG), ("images", blank(int(MAX_PIXELS**0.5) + 1))]
    response = service.client.post("/predict_batch", files=files)
    assert_refused(response, 422)
    assert response.json()["error"].startswith("image 2 of 2")


def test_pixels_are_summed_over_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [open_header(PNG), open_header(drawing(file_format="JPEG"))]
    monkeypatch.setattr(limits, "MAX_REQUEST_PIXELS", 2 * 90 * 120)
    expect_pixels_within_limit(images)
    monkeypatch.setattr(limits, "MAX_REQUEST_PIXELS", 2 * 90 * 120 - 1)
    with pytest.raises(Refused) as refused:
        expect_pixels_within_limit(images)
    assert refused.value.status == 413


def test_the_unreadable_image_of_a_batch_is_named(service: Service) -> None:
    files = [("images", PNG), ("images", b"hello, I am no image"), ("images", PNG)]
    response = service.client.post("/predict_batch", files=files)
    assert_refused(response, 422)
    assert response.json()["error"].startswith("image 2 of 3")


def test_too_many_images_are_refused_and_the_most_allowed_are_read(service: Service) -> None:
    files = [("images", PNG)] * limits.MAX_IMAGES
    response = service.client.post("/predict_batch", files=files)
    assert len(response.json()["predictions"]) == limits.MAX_IMAGES
    response = service.client.post("/predict_batch", files=[*files, ("images", PNG)])
    assert_refused(response, 400)
    assert str(limits.MAX_IMAGES) in response.json()["error"]


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/predict"), ("DELETE", "/predict_batch"), ("POST", "/model")]
)
def test_the_wrong_method_is_refused(service: Service, method: str, path: str) -> None:
    assert_refused(service.client.request(method, path), 405)


def test_multipart_sent_to_the_model_route_is_refused(service: Service) -> None:
    assert_refused(service.client.post("/model", files={"image": PNG}), 405)


def test_chunked_bodies_are_counted_too(service: Service) -> None:
    def larger_than_allowed() -> Iterator[bytes]:
        yield multipart(("image", "big.png", b""))["content"].partition(b"\r\n--cut--")[0]
        yield from (bytes(2**20) for _ in range(limits.MAX_BODY_BYTES // 2**20 + 1))

    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    headers = {"Content-Type": "multipart/form-data; boundary=cut"}
    # http.client sends an iterable chunked, with no Content-Length to go by.
    connection.request("POST", "/predict", body=larger_than_allowed(), headers=headers)
    response = connection.getresponse()
    assert response.status == 413
    assert "MiB" in json.loads(response.read())["error"]
    connection.close()
    assert service.client.post("/predict", files={"image": PNG}).status_code == 200


def test_a_client_that_leaves_halfway_disturbs_nobody(service: Service) -> None:
    for _ in range(5):
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Type", "multipart/form-data; boundary=cut")
        connection.putheader("Content-Length", "100000")
        connection.endheaders()
        connection.send(b"--cut\r\nContent-Disposition: form-data")
        connection.close()
    assert service.client.post("/predict", files={"image": PNG}).status_code == 200


def test_a_body_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECEIVE_S", 0.05)
    headers = [(b"content-type", b"multipart/form-data; boundary=cut")]

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError("waited for the body to its end")

    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    with pytest.raises(Refused) as refused:
        asyncio.run(receive_images(request, field="image", most=1))
    assert refused.value.status == 408


def received(parts: list[int], *, pause_s: float, then_silence: bool = False) -> int:
    """Receive a body of frames in parts of so many bytes: the number of frames."""
    left = iter(parts)

    async def receive() -> dict[str, Any]:
        size = next(left, None)
        if size is None and then_silence:
            await asyncio.sleep(60)
        await asyncio.sleep(pause_s)
        return {"type": "http.request", "body": bytes(size or 0), "more_body": size is not None}

    headers = [(b"content-type", b"application/octet-stream")]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    return len(asyncio.run(receive_frames(request, size=28)))


def test_a_body_may_arrive_as_slowly_as_a_phone_sends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limits.RECEIVE_BYTES_PER_S < 50_000
    monkeypatch.setattr(limits, "RECEIVE_S", 0.5)
    monkeypatch.setattr(limits, "RECEIVE_BYTES_PER_S", 1_000)
    assert received([392] * 10, pause_s=0.1) == 5  # 4 kB/s, and twice as long as RECEIVE_S


@pytest.mark.parametrize(
    ("parts", "then_silence"), [([10] * 200, False), ([50_000], True)], ids=["drop by drop", "half"]
)
def test_who_sends_hardly_anything_keeps_no_place(
    parts: list[int], then_silence: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RECEIVE_S", 0.5)
    monkeypatch.setattr(limits, "RECEIVE_BYTES_PER_S", 1_000)
    started = time.monotonic()
    with pytest.raises(Refused) as refused:
        received(parts, pause_s=0.1, then_silence=then_silence)
    assert refused.value.status == 408
    assert time.monotonic() - started < 5


def test_good_requests_are_answered_amid_bad_ones(service: Service) -> None:
    def ask(index: int) -> tuple[bool, int]:
        good = index % 2 == 0
        status, _, request = (200, None, {"files": {"image": PNG}})
        if not good:
            small = [name for name in REFUSED if name != "declared too large"]
            status, _, request = REFUSED[random.Random(index).choice(small)]
        response = httpx.post(f"http://127.0.0.1:{service.port}/predict", **request)
        return response.status_code == status, index

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(ask, range(80)))
    assert all(right for right, _ in results), [index for right, index in results if not right]

"""The service's description of itself: every route that answers, as it answers."""

import asyncio
import json
import re
from pathlib import Path

import httpx
import pytest

from digits.reading.predictor import IDENTITY, Predictor
from digits.serving import limits
from digits.serving.access import TOKENS
from digits.serving.app import build_app, open_model
from digits.serving.models import Model
from serving_fixtures import Service, drawing, write_bundle

OCTETS = {"Content-Type": "application/octet-stream"}


def test_the_openapi_document_describes_every_route_that_answers(service: Service) -> None:
    document = service.client.get("/docs.json").json()
    for path, operations in document["paths"].items():
        for method in operations:
            assert service.client.request(method, path).status_code not in (404, 405), path
    assert {"/predict", "/predict_batch", "/model"} <= document["paths"].keys()
    references = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert references == document["components"]["schemas"].keys()
    schemas = document["components"]["schemas"]
    answer = service.client.post("/predict?frame=true", files={"image": drawing()}).json()
    assert answer.keys() == schemas["Prediction"]["properties"].keys()
    assert service.client.get("/model").json().keys() >= schemas["Lineage"]["properties"].keys()
    sample, *_ = service.client.get("/samples").json()["samples"]
    assert sample.keys() == schemas["Sample"]["properties"].keys()


@pytest.mark.parametrize(
    ("classes", "kind"),
    [(list(range(10)), "integer"), (list("abcdefghij"), "string"), ([*range(9), "none"], None)],
)
def test_the_openapi_document_describes_the_classes_of_the_opened_model(
    tmp_path: Path, classes: list[int | str], kind: str | None
) -> None:
    write_bundle(tmp_path, seed=0)
    meta = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**meta, "classes": classes}))
    app = build_app()
    lineage = {"tag": "digits:0", **dict.fromkeys(IDENTITY), "name": "tiny"}
    open_model(app, Model(Predictor.open(tmp_path), lineage))

    async def ask() -> tuple[httpx.Response, httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://digits") as client:
            answer = await client.post("/predict", files={"image": drawing()})
            return await client.get("/docs.json"), answer

    document, answer = (response.json() for response in asyncio.run(ask()))
    schemas = document["components"]["schemas"]
    for schema in (schemas["Answer"], schemas["Prediction"]):
        properties = schema["properties"]
        assert properties["digit"]["enum"] == classes
        assert properties["digit"].get("type") == kind
        assert properties["probabilities"]["minItems"] == len(answer["probabilities"])
        assert properties["probabilities"]["maxItems"] == len(answer["probabilities"])
    assert answer["digit"] in classes


def shape(content: object) -> object:
    """Which keys there are, at each depth; of a list its first entry's."""
    if isinstance(content, dict):
        return {key: shape(value) for key, value in content.items()}
    return [shape(one) for one in content[:1]] if isinstance(content, list) else None


def test_every_answer_in_json_has_an_example_of_its_own_shape(service: Service) -> None:
    document = service.client.get("/docs.json").json()
    num_examples = 0
    for operations in document["paths"].values():
        for operation in operations.values():
            for response in operation["responses"].values():
                if shown := response.get("content", {}).get("application/json"):
                    schema = shown["schema"]["$ref"].rpartition("/")[2]
                    wanted = document["components"]["schemas"][schema]["required"]
                    assert {*wanted} <= shown["example"].keys()
                    num_examples += 1
    assert num_examples > 20

    def example(method: str, path: str, status: int = 200) -> object:
        responses = document["paths"][path][method]["responses"]
        return responses[str(status)]["content"]["application/json"]["example"]

    client = service.client
    for method, path, more in (
        ("post", "/predict", {"files": {"image": drawing()}}),
        ("post", "/predict_batch", {"files": [("images", drawing())]}),
        ("post", "/classify", {"content": bytes(784), "headers": OCTETS}),
        ("get", "/model", {}),
        ("get", "/samples", {}),
    ):
        answer = client.request(method, path, **more).json()
        assert shape(answer) == shape(example(method, path)), path
    for status, more in (
        (400, {"files": {"file": drawing()}}),
        (415, {"content": b"x", "headers": {"Content-Type": "text/plain"}}),
        (422, {"files": {"image": b"hello"}}),
    ):
        refused = client.post("/predict", **more)
        assert refused.status_code == status
        assert refused.json() == example("post", "/predict", status)
    refused = client.post("/predict?model=nobody", files={"image": drawing()})
    assert refused.json() == example("post", "/predict", 404)
    for path in ("/predict", "/predict_batch", "/classify", "/model", "/samples"):
        (responses,) = (one["responses"] for one in document["paths"][path].values())
        assert {"401", "503", "504"} <= responses.keys(), path
    large = client.post("/predict", files={"image": bytes(limits.MAX_BODY_BYTES)})
    assert large.json() == example("post", "/predict", 413)


@pytest.mark.parametrize("kind", ["application/vnd.bentoml+pickle", "application/x-pickle"])
def test_no_route_takes_a_pickle(service: Service, kind: str) -> None:
    harmful = b"cos\nsystem\n(S'touch /tmp/owned'\ntR."
    document = service.client.get("/docs.json").json()
    posts = [path for path, operations in document["paths"].items() if "post" in operations]
    assert len(posts) >= 3
    for path in posts:
        response = service.client.post(path, content=harmful, headers={"Content-Type": kind})
        assert response.status_code == 415, path


def test_where_tokens_are_asked_for_the_document_keeps_the_models_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKENS, "known")
    write_bundle(tmp_path, seed=0)
    secret = {"tag": "digits:abc", "run_id": "feedface", "metrics": {"accuracy": 0.9875}}
    lineage = {**dict.fromkeys(IDENTITY), "name": "tiny", **secret}
    app = build_app()
    open_model(app, Model(Predictor.open(tmp_path), lineage))

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://digits") as client:
            return await client.get("/docs.json")

    text = asyncio.run(ask()).text
    assert '"run_id"' in text
    assert not any(word in text for word in ("abc", "feedface", "0.9875"))


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/html, Application/Octet-Stream;q=0.5", "application/octet-stream"),
        ("application/octet-stream;q=0, application/json", "application/json"),
        ("*/*", "application/json"),
    ],
)
def test_bytes_are_for_who_takes_them(service: Service, accept: str, kind: str) -> None:
    headers = {"Content-Type": "application/octet-stream", "Accept": accept}
    response = service.client.post("/classify", content=bytes(784), headers=headers)
    assert response.headers["content-type"] == kind

"""Requests that the service must refuse, of many kinds, and how to make more of them."""

from typing import Any

from digits.serving import limits
from serving_fixtures import drawing


def multipart(*parts: tuple[str, str | None, bytes], boundary: str = "cut") -> dict[str, Any]:
    """A multipart request made by hand: (field, file name or None, content) for each part."""
    body = b""
    for field, name, content in parts:
        file_name = "" if name is None else f'; filename="{name}"'
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"{file_name}\r\n\r\n'
        body += head.encode() + content + b"\r\n"
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return {"content": body + f"--{boundary}--\r\n".encode(), "headers": headers}


PNG = drawing()
REFUSED = {
    "text": (422, "not an image", {"files": {"image": b"hello, I am no image"}}),
    "empty file": (422, "empty", {"files": {"image": b""}}),
    "truncated png": (422, None, {"files": {"image": PNG[: len(PNG) // 2]}}),
    "png signature alone": (422, None, {"files": {"image": PNG[:8]}}),
    "truncated jpeg": (422, None, {"files": {"image": drawing(file_format="JPEG")[:300]}}),
    "pdf": (422, None, {"files": {"image": b"%PDF-1.7\n1 0 obj\n"}}),
    "pickle": (422, None, {"files": {"image": b"\x80\x04cos\nsystem\n(S'true'\ntR."}}),
    "svg": (422, None, {"files": {"image": b"<svg xmlns='http://www.w3.org/2000/svg'/>"}}),
    "wrong field": (400, "'file'", {"files": {"file": PNG}}),
    "text field": (400, "not a file", multipart(("image", None, b"text"))),
    "two images": (400, "/predict_batch", {"files": [("image", PNG), ("image", PNG)]}),
    "no part": (400, "none", multipart()),
    "no body": (415, "without a type", {}),
    "empty multipart": (400, None, multipart() | {"content": b""}),
    "json": (415, "application/json", {"json": {"image": [[0] * 28] * 28}}),
    "raw image": (415, "image/png", {"content": PNG, "headers": {"Content-Type": "image/png"}}),
    "form": (415, None, {"data": {"image": "x"}}),
    "pickle content": (
        415,
        None,
        {"content": b"\x80\x04N.", "headers": {"Content-Type": "application/vnd.bentoml+pickle"}},
    ),
    "no boundary": (
        400,
        "boundary",
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
    ),
    "other boundary": (
        400,
        None,
        multipart(("image", "a", PNG))
        | {"headers": {"Content-Type": "multipart/form-data; boundary=other"}},
    ),
    "huge boundary": (400, None, multipart(("image", "a", b"x"), boundary="b" * 5000)),
    "unknown charset": (
        422,
        None,
        multipart(("image", "a", b"x"))
        | {"headers": {"Content-Type": "multipart/form-data; boundary=cut; charset=nope"}},
    ),
    "charset that decodes nothing": (
        400,
        None,
        multipart(("image", "a", b"x"))
        | {"headers": {"Content-Type": "multipart/form-data; boundary=cut; charset=undefined"}},
    ),
    "body cut short": (
        400,
        "cut short",
        multipart(("image", "a", PNG))
        | {"content": multipart(("image", "a", PNG))["content"][:120]},
    ),
    "nameless part": (
        400,
        None,
        multipart()
        | {"content": b"--cut\r\nContent-Disposition: form-data\r\n\r\nx\r\n--cut--\r\n"},
    ),
    "many fields": (400, None, multipart(*[(f"f{index}", None, b"x") for index in range(50)])),
    "large field": (400, None, multipart(("image", None, b"x" * 2**21))),
    "declared too large": (413, "MiB", {"files": {"image": bytes(limits.MAX_BODY_BYTES + 1)}}),
}

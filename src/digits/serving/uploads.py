"""Receive the images of a multipart request, within the limits."""

import asyncio
import io
import math
from collections.abc import AsyncGenerator, Iterable

from PIL import Image
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from ..reading.normalize import FORMATS, MAX_PIXELS
from . import limits

MAX_FIELDS = 16  # that are not files: ignored, but not without bound


class Refused(Exception):
    """The request gets an error: its HTTP status (4xx) and one plain sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


async def receive_images(request: Request, *, field: str, most: int) -> list[bytes]:
    """The files in a multipart field, at least one and at most `most`; Refused otherwise."""
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        raise Refused(
            415,
            f"send multipart/form-data with the image in field {field!r} "
            f"(curl -F {field}=@digit.png), not {content_type or 'a body without a type'!r}",
        )
    # Said before the body is read; what is really received is counted below all the same.
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.MAX_BODY_BYTES:
        raise _too_large()
    parser = MultiPartParser(
        request.headers,
        _counted(request),
        max_files=limits.MAX_IMAGES,
        max_fields=MAX_FIELDS,
    )
    # In memory, never in temporary files: the body is bounded as a whole.
    parser.spool_max_size = limits.MAX_BODY_BYTES
    try:
        async with asyncio.timeout(limits.RECEIVE_S):
            form = await parser.parse()
    except MultiPartException as error:
        raise Refused(400, f"the multipart body cannot be read: {error.message}") from None
    except ValueError as error:  # a charset that cannot decode field names
        raise Refused(400, f"the multipart body cannot be read: {error}") from None
    except TimeoutError:
        raise Refused(
            408, f"the request did not arrive within {limits.RECEIVE_S:.0f} s; send it again"
        ) from None
    except ClientDisconnect:
        raise Refused(400, "the connection closed before the request was complete") from None
    try:
        return await _files(form, field=field, most=most)
    finally:
        await form.close()


def expect_pixels_within_limit(images: Iterable[bytes]) -> None:
    """Refuse (413) images that have too many pixels together, going by their headers alone."""
    if sum(map(_pixels_to_decode, images)) > limits.MAX_REQUEST_PIXELS:
        raise Refused(
            413,
            f"the images have more than {limits.MAX_REQUEST_PIXELS:,} pixels together; "
            "send smaller or fewer images",
        )


def _pixels_to_decode(data: bytes) -> int:
    """None for an image that `read_frame` refuses by its header; it has the better sentence."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            pixels = image.width * image.height
    except Exception:  # on hostile bytes Pillow's parsers raise a dozen kinds
        return 0
    return pixels if pixels <= MAX_PIXELS else 0


async def _files(form: FormData, *, field: str, most: int) -> list[bytes]:
    values = form.getlist(field)
    if not values:
        got = ", ".join(sorted({repr(name[:40]) for name in form})) or "none"
        raise Refused(
            400,
            f"the image belongs in the multipart field {field!r}; fields received: {got}"
            " (a body cut short loses its last field)",
        )
    if len(values) > most:
        raise Refused(
            400, f"{len(values)} images where {most} is read; send them to /predict_batch"
        )
    images = []
    for value in values:
        if not isinstance(value, UploadFile):
            raise Refused(400, f"field {field!r} holds text, not a file: send it with a file name")
        images.append(await value.read())
    return images


async def _counted(request: Request) -> AsyncGenerator[bytes]:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limits.MAX_BODY_BYTES:
            raise _too_large()
        yield chunk


def _too_large() -> Refused:
    mebibytes = math.floor(limits.MAX_BODY_BYTES / 2**20)
    return Refused(413, f"the request is larger than {mebibytes} MiB; send smaller or fewer images")

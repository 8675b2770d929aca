"""Receive the images of a multipart request, or frames as they are, within the limits.

Shapes: B batch, H/W pixels.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from . import limits

OCTETS = "application/octet-stream"


class Refused(Exception):
    """The request gets an error: its HTTP status (4xx) and one plain sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


async def receive_images(request: Request, *, field: str, most: int) -> list[bytes]:
    """The files in a multipart field, at least one and at most `most`; Refused otherwise."""
    _expect_type(
        request,
        "multipart/form-data",
        f"with the image in field {field!r} (curl -F {field}=@digit.png)",
    )
    _expect_declared_length(request, limits.MAX_BODY_BYTES)
    try:
        async with asyncio.timeout(limits.RECEIVE_S) as limit:
            parser = MultiPartParser(
                request.headers,
                _counted(request, limits.MAX_BODY_BYTES, limit),
                max_files=limits.MAX_IMAGES,
                max_fields=limits.MAX_FIELDS,
            )
            # In memory, never in temporary files: the body is bounded as a whole.
            parser.spool_max_size = limits.MAX_BODY_BYTES
            form = await parser.parse()
    except MultiPartException as error:
        raise Refused(400, f"the multipart body cannot be read: {error.message}") from None
    except ValueError as error:  # a charset that cannot decode field names
        raise Refused(400, f"the multipart body cannot be read: {error}") from None
    except TimeoutError:
        raise too_slow() from None
    except ClientDisconnect:
        raise _cut_short() from None
    try:
        return await _files(form, field=field, most=most)
    finally:
        await form.close()


async def receive_frames(request: Request, *, size: int) -> NDArray[np.uint8]:
    """A body of frames of size x size bytes each, 0 = paper, 255 = ink: (B, H, W); else Refused."""
    frame = size * size
    _expect_type(request, OCTETS, f"of {frame} bytes a frame")
    most = limits.MAX_FRAMES * frame
    _expect_declared_length(request, most)
    try:
        async with asyncio.timeout(limits.RECEIVE_S) as limit:
            body = b"".join([chunk async for chunk in _counted(request, most, limit)])
    except TimeoutError:
        raise too_slow() from None
    except ClientDisconnect:
        raise _cut_short() from None
    if not body or len(body) % frame:
        raise Refused(
            400,
            f"the body has {len(body)} bytes; send one or more frames of {size}x{size} = {frame} "
            "bytes each, 0 = paper, 255 = ink",
        )
    return np.frombuffer(body, np.uint8).reshape(-1, size, size)


def takes_bytes(accept: str) -> bool:
    """Whether an Accept header names bytes, and not only to exclude them."""
    for part in accept.lower().split(","):
        kind, *more = (word.strip() for word in part.split(";"))
        if kind == OCTETS and not any(re.fullmatch(r"q=0(\.0*)?", word) for word in more):
            return True
    return False


def num_pixels(images: Iterable[Image.Image]) -> int:
    """The pixels of all images together, by their headers."""
    return sum(image.width * image.height for image in images)


def expect_pixels_within_limit(images: Iterable[Image.Image]) -> None:
    """Refused (413) where the images have too many pixels together."""
    if num_pixels(images) > limits.MAX_REQUEST_PIXELS:
        raise Refused(
            413,
            f"the images have more than {limits.MAX_REQUEST_PIXELS:,} pixels together; "
            "send smaller or fewer images",
        )


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
        instead = "send them to /predict_batch" if most == 1 else "send them in several requests"
        raise Refused(400, f"{len(values)} images where at most {most} is read; {instead}")
    images = []
    for value in values:
        if not isinstance(value, UploadFile):
            raise Refused(400, f"field {field!r} holds text, not a file: send it with a file name")
        images.append(await value.read())
    return images


def _expect_type(request: Request, wanted: str, purpose: str) -> None:
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() != wanted:
        raise Refused(415, f"send {wanted} {purpose}, not {given or 'a body without a type'!r}")


def _expect_declared_length(request: Request, most: int) -> None:
    """Said before the body is read; what is really received is counted all the same."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise too_large(most)


async def _counted(request: Request, most: int, limit: asyncio.Timeout) -> AsyncGenerator[bytes]:
    """The body as it comes, never more than `most` bytes; the limit is moved on as it does."""
    received = 0
    now = asyncio.get_running_loop().time
    started = now()
    async for chunk in request.stream():
        received += len(chunk)
        if received > most:
            raise too_large(most)
        enough_until = started + received / limits.RECEIVE_BYTES_PER_S
        limit.reschedule(min(now(), enough_until) + limits.RECEIVE_S)
        yield chunk


def too_large(most: int) -> Refused:
    """For a body, or what it says of itself, of more than `most` bytes."""
    size = f"{most // 2**20} MiB" if most >= 2**20 else f"{most:,} bytes"
    return Refused(413, f"the request is larger than {size}; send smaller or fewer images")


def too_slow() -> Refused:
    """For a body that does not come, or hardly."""
    return Refused(
        408,
        f"for {limits.RECEIVE_S:.0f} s nothing of the request arrived, or less than "
        f"{limits.RECEIVE_BYTES_PER_S // 1000} kB/s of it; send it again over a better connection",
    )


def _cut_short() -> Refused:
    return Refused(400, "the connection closed before the request was complete")

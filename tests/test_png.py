"""Of a PNG file its pixels are read, however much text and whatever else is beside them."""

import io
import struct
import tracemalloc
import zlib

import pytest
from PIL import Image, PngImagePlugin

from digits.reading.normalize import UnreadableImage, normalize, open_image, read_frame
from digits.reading.png import MOST_PIECES, MOST_XMP, SIGNATURE, pixels_alone
from serving_fixtures import drawing

HEADER_END = len(SIGNATURE) + 25  # of the signature and IHDR


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    """The chunks come before the pixels."""
    return png[:HEADER_END] + b"".join(chunks) + png[HEADER_END:]


def heavy(num: int = 60, size: int = 2**20 - 1) -> bytes:
    """A drawing of a few kilobytes with as much text beside it as Pillow reads: 1 MB a kilobyte."""
    packed = zlib.compress(bytes(size))
    texts = [chunk(b"zTXt", b"k%d\0\0" % index + packed) for index in range(num)]
    return with_chunks(drawing(), *texts)


@pytest.mark.parametrize("size", [2**20 - 1, 2**21])  # so much Pillow reads, and more it refuses
def test_text_beside_the_pixels_is_not_unpacked(size: int) -> None:
    data = heavy(size=size)
    assert len(data) < 200_000
    expected = read_frame(drawing())  # and what is loaded once
    tracemalloc.start()
    assert (read_frame(data) == expected).all()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * 2**20


def test_text_after_the_pixels_is_not_unpacked_either() -> None:
    end = drawing()[-12:]
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**20 - 1)))
    tracemalloc.start()
    open_image(drawing()[:-12] + 60 * text + end)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * 2**20


@pytest.mark.parametrize("size", [0, 1])
def test_pixels_in_a_million_pieces_are_refused(size: int) -> None:
    pieces = chunk(b"IDAT", bytes(size))
    assert pixels_alone(with_chunks(drawing(), *[pieces] * (MOST_PIECES - 1)))
    with pytest.raises(UnreadableImage, match="more than 65536 pieces; save it with another"):
        open_image(with_chunks(drawing(), *[pieces] * 1_000_000))


@pytest.mark.parametrize("name", [b"prVt", b"PLTE", b"ABCD"])
def test_a_million_chunks_cost_no_more_than_to_pass_over_them(name: bytes) -> None:
    data = with_chunks(drawing(), *[chunk(name, b"")] * 100_000)
    assert len(pixels_alone(data)) <= len(drawing()) + 12


def test_a_plain_png_is_passed_on_as_it_is() -> None:
    for data in (drawing(), drawing(file_format="JPEG"), drawing()[:100], SIGNATURE, b""):
        assert pixels_alone(data) is data


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_what_is_left_out_changes_no_pixel(mode: str) -> None:
    image = Image.open(io.BytesIO(drawing())).convert("L" if mode == "I;16" else mode)
    image = image.convert("I;16") if mode == "I;16" else image
    plain, laden = io.BytesIO(), io.BytesIO()
    options = {"transparency": 0} if mode in ("L", "P") else {}
    image.save(plain, "PNG", **options)
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "drawn in a hurry" * 100, zip=True)
    image.save(laden, "PNG", pnginfo=info, icc_profile=bytes(500), dpi=(72, 72), **options)
    assert len(pixels_alone(laden.getvalue())) < len(laden.getvalue())
    first, second = open_image(plain.getvalue()), open_image(laden.getvalue())
    assert (first.mode, first.info.get("transparency")) == (
        second.mode,
        second.info.get("transparency"),
    )
    assert first.tobytes() == second.tobytes()
    assert (normalize(first) == normalize(second)).all()


def test_an_image_is_turned_by_what_its_exif_or_its_xmp_says() -> None:
    image = Image.open(io.BytesIO(drawing()))
    exif = Image.Exif()
    exif[0x0112] = 6
    by_exif = io.BytesIO()
    image.save(by_exif, "PNG", exif=exif)
    said = b'<rdf:Description tiff:Orientation="6"/>'
    xmp = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + said)
    comment = chunk(b"tEXt", b"Comment\0drawn in a hurry")
    turned = image.transpose(Image.Transpose.ROTATE_270)
    for data in (by_exif.getvalue(), with_chunks(drawing(), comment, xmp)):
        assert open_image(with_chunks(data, comment)).tobytes() == turned.tobytes()
    too_long = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + said + bytes(MOST_XMP))
    assert open_image(with_chunks(drawing(), too_long)).size == image.size


def test_a_damaged_chunk_of_a_length_beyond_the_file_is_refused() -> None:
    damaged = with_chunks(drawing(), struct.pack(">I4s", 2**32 - 1, b"tEXt"))
    with pytest.raises(UnreadableImage):
        open_image(damaged)

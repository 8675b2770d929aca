"""What of a PNG file its image is made of; the text and the colour profile beside it are left out.

Source: the chunks of the PNG specification (W3C, PNG Third Edition, sections 5.3, 5.6 and 11).
"""

import struct

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXELS = b"IDAT"  # the one chunk that there may be many of
ONCE = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IEND")
# How to turn the image may also stand in the XMP, which is text that is not compressed.
XMP_CHUNK, XMP = b"iTXt", b"XML:com.adobe.xmp\0\0"
MOST_XMP = 2**16  # bytes


def pixels_alone(data: bytes) -> bytes:
    """A PNG file without the chunks that its pixels do not need; any other file as it is.

    Pillow would unpack them all: 60 kB of text may become 60 MB, beside a single pixel.
    """
    if not data.startswith(SIGNATURE):
        return data
    wanted = {PIXELS, XMP, *ONCE}
    kept = []
    start, kept_from = len(SIGNATURE), 0
    while start + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        if name == XMP_CHUNK and length <= MOST_XMP and data.startswith(XMP, start + 8):
            name = XMP
        if name not in wanted:
            kept.append(data[kept_from:start])
            kept_from = end
        elif name != PIXELS:
            wanted.remove(name)
        start = end
    return b"".join([*kept, data[kept_from:]]) if kept else data

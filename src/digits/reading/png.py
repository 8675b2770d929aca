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
# A file of 32 MB has so many where each holds half a kilobyte; encoders fill 8 kB and more.
MOST_PIECES = 2**16


class Shredded(ValueError):
    """The pixels come in more pieces than any encoder makes, to cost who reads them their time."""


def pixels_alone(data: bytes) -> bytes:
    """A PNG file without the chunks that its pixels do not need; any other file as it is.

    Pillow would unpack them all: 60 kB of text may become 60 MB, beside a single pixel. Raises
    Shredded for more than MOST_PIECES chunks of pixels, an empty one of which takes 2 µs.
    """
    if not data.startswith(SIGNATURE):
        return data
    wanted = {PIXELS, XMP, *ONCE}
    kept = []
    num_pieces = 0
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
        else:
            num_pieces += 1
            if num_pieces > MOST_PIECES:
                raise Shredded
        start = end
    return b"".join([*kept, data[kept_from:]]) if kept else data

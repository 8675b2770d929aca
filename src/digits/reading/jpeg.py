"""How much work a JPEG file says it is.

Source: the markers of ITU-T T.81, annex B.
"""

import re

START = b"\xff\xd8\xff"
# Not of what is coded: there 255 is followed by 0, or by a marker that means nothing but "go on".
MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)
ALONE = 0x01  # a marker without a length
IMAGE, END, SCAN = 0xD8, 0xD9, 0xDA
# Encoders make ten at most, and hundreds of parts where a colour profile or a note is long.
MOST_SCANS = 100
MOST_PARTS = 10_000


class Laborious(ValueError):
    """The file has more scans or parts than any encoder makes, to cost who reads it their time."""


def expect_few_scans(data: bytes) -> None:
    """Raise Laborious for a JPEG file of more than MOST_SCANS scans; any other file is let through.

    Each scan goes over all pixels again, and may take 98 bytes.
    """
    if not data.startswith(START):
        return
    # Of nearly all images it is clear without looking at each marker.
    num_markers = data.count(b"\xff") - data.count(b"\xff\x00")
    if data.count(b"\xff\xda") <= MOST_SCANS and num_markers <= MOST_PARTS:
        return
    place = num_scans = num_parts = 0
    while found := MARKER.search(data, place):
        kind, place = found[1][0], found.end()
        if kind == END:
            return
        num_scans += kind == SCAN
        num_parts += 1
        if num_scans > MOST_SCANS or num_parts > MOST_PARTS:
            raise Laborious
        if kind not in (ALONE, IMAGE):
            place += int.from_bytes(data[place : place + 2], "big")

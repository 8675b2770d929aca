"""What the service refuses: every limit, in one place."""

import os

# A 12-megapixel photo is 4 to 8 MB; the whole body counts, several images included.
MAX_BODY_BYTES = 32 * 2**20
MAX_IMAGES = 100  # in one batch
MAX_FIELDS = 16  # of a multipart body that are not files: ignored, but not without bound
MAX_FRAMES = 4096  # in one request of normalised frames: a second's work
# What a model reads in so many milliseconds is read where it arrives, up to so many frames: handing
# them to a thread takes as long as a few, and more threads than cores get in each other's way.
IN_PLACE_MS = 10.0
FRAMES_IN_PLACE = 64
# So many images as well, if the model is quick enough,
IMAGES_IN_PLACE = 8
# if they have no more pixels than this together, and their files no more bytes: some milliseconds.
# A header too may take long: a note of 100 kB beside a photo is 8,000 entries to look at.
PIXELS_IN_PLACE = 200_000
BYTES_IN_PLACE = 100_000
# A body has so long to arrive, and a second more for each RECEIVE_BYTES_PER_S of it that are there,
# but never longer than RECEIVE_S without any: a phone sends its photo at 50 kB/s, and who sends
# nothing, or a byte now and then, keeps no place.
RECEIVE_S = 20.0
RECEIVE_BYTES_PER_S = 40_000
# Who takes nothing of an answer for so long is disconnected: the kernel does, see `guard`.
UNREAD_S = 20
ANSWER_S = 60.0  # from the last of the body to the begin of the answer

# Each worker holds the network once (about 150 MB with Python and BentoML); more than four of
# them is for whoever runs the machine to decide.
WORKERS = min(4, os.cpu_count() or 1)
# Requests that a worker holds at once; more are told to come back. Each may hold its whole body.
MAX_CONCURRENT = 64
RETRY_AFTER_S = 1
# After so much work of a worker, of all its cores, an answer closes its connection. A burst of
# connections may all have gone to one worker, where they would stay, and the others have nothing to
# do; the next one is accepted by a worker that has time.
WORK_TO_A_CLOSE_S = 0.025
# Images decoded at once in a worker: a decoded photo can take 200 MB, and more threads than cores
# only queue.
MAX_DECODING = 2
# Pixels of one image are limited where it is decoded, for the command line too:
# `reading.normalize.MAX_PIXELS`. Those of a request's images together are limited here, because a
# thread that decodes cannot be stopped: eight 12-megapixel photos, or at most 6 s of blank PNG.
MAX_REQUEST_PIXELS = 100_000_000

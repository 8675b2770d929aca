"""Take one file from one mirror: a folder or an http(s) address, plain or gzipped.

What arrives is a `.part` file that is complete and verified, or no file at all and one sentence
that says why. fsspec and aiohttp do the transfer, tenacity the retries; all load when needed.
"""

import contextlib
import errno
import gzip
import hashlib
import http
import logging
import os
import string
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from digits.addresses import without_password
from digits.settings import IdxFile

log = logging.getLogger("digits.fetch")

CHUNK_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
# gzip makes what it cannot compress a little longer, never more than this for files of our sizes.
GZIP_OVERHEAD_BYTES = 1 << 16
# The storage behind the public mirrors answers 403, not 404, for what is not there.
ABSENT = (403, 404, 410)
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


class MirrorError(Exception):
    """A mirror did not give the file; the message says why, without the mirror's name."""


class DiskError(OSError):
    """This machine did not take the file: no other mirror would help."""


class _Absent(MirrorError):
    """The mirror answered that it has no file of this name."""


class _Transient(MirrorError):
    """The mirror may well answer when asked again."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait for a mirror, and how often to ask it."""

    connect_s: float = 4  # name resolution included
    stall_s: float = 20  # without a byte
    total_s: float = 1800  # for one file: a mirror that trickles is no mirror
    attempts: int = 3
    backoff_s: float = 0.5  # doubles from one attempt to the next


def expand(entries: tuple[str, ...], *, environ: Mapping[str, str]) -> list[str]:
    """The mirrors with their $VARIABLES filled in; one that needs an unset variable is left out."""
    mirrors = []
    for entry in entries:
        # What is unset is left out, not an error: most machines have no mirror of their own.
        with contextlib.suppress(KeyError):
            mirrors.append(string.Template(entry).substitute(environ).strip())
    return [mirror for mirror in mirrors if mirror]


def is_valid(path: Path, file: IdxFile) -> bool:
    """Whether the file is there, whole and the right one (size first: that costs nothing)."""
    try:
        return path.stat().st_size == file.size_bytes and sha256(path) == file.sha256
    except FileNotFoundError:
        return False


def sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal, read as a stream."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def take(mirror: str, file: IdxFile, part: Path, *, root: Path, patience: Patience) -> None:
    """Put the verified, uncompressed file at `part`, from NAME or NAME.gz in the mirror.

    A folder is relative to `root`. Raises MirrorError when the mirror does not give it, and
    DiskError when this machine cannot write it; neither leaves a file at `part`.
    """
    if mirror.startswith(("http://", "https://")):
        _take_from_web(mirror, file, part, patience=patience)
    elif "://" in mirror:
        raise MirrorError("is neither a folder nor an http(s) address")
    else:
        _take_from_folder(root / Path(mirror).expanduser(), file, part)


def _take_from_folder(folder: Path, file: IdxFile, part: Path) -> None:
    if not folder.is_dir():
        raise MirrorError("there is no such folder")
    for name in (file.name, f"{file.name}.gz"):
        if (folder / name).is_file():
            _unpack(folder / name, file, part)
            return
    raise MirrorError(f"holds neither {file.name} nor {file.name}.gz")


def _take_from_web(mirror: str, file: IdxFile, part: Path, *, patience: Patience) -> None:
    import tenacity

    def say_so(state: tenacity.RetryCallState) -> None:
        assert state.outcome is not None
        assert state.next_action is not None
        log.info(
            "%s: %s; trying again in %.1f s (%d of %d)",
            without_password(mirror),
            state.outcome.exception(),
            state.next_action.sleep,
            state.attempt_number + 1,
            patience.attempts,
        )

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_Transient),
        stop=tenacity.stop_after_attempt(patience.attempts),
        # With some chance in it, so that many machines do not come back at the same moment.
        wait=tenacity.wait_exponential(patience.backoff_s)
        + tenacity.wait_random(0, patience.backoff_s),
        before_sleep=say_so,
        reraise=True,
    )
    download = part.with_name(f"{file.name}.download.part")
    for name in (f"{file.name}.gz", file.name):
        try:
            url = f"{mirror.rstrip('/')}/{name}"
            retrying(_download, url, download, limit=file.size_bytes, patience=patience)
            _unpack(download, file, part)
            return
        except _Absent as error:
            reason = error
        finally:
            download.unlink(missing_ok=True)
    raise MirrorError(f"holds neither {file.name}.gz nor {file.name} ({reason})")


def _download(url: str, download: Path, *, limit: int, patience: Patience) -> None:
    """One attempt at one address; every failure is a MirrorError or a DiskError."""
    import aiohttp
    from fsspec.callbacks import TqdmCallback
    from fsspec.exceptions import FSTimeoutError
    from fsspec.implementations.http import HTTPFileSystem

    timeout = aiohttp.ClientTimeout(
        total=patience.total_s, connect=patience.connect_s, sock_read=patience.stall_s
    )
    web = HTTPFileSystem(
        # trust_env: the proxy that the environment names.
        client_kwargs={"timeout": timeout, "trust_env": True},
        skip_instance_cache=True,
    )
    name = url.rpartition("/")[2]
    # disable=None: a bar on a terminal, nothing elsewhere.
    bar = TqdmCallback(
        {"desc": name, "unit": "B", "unit_scale": True, "leave": False, "disable": None}
    )
    try:
        with _writing(download, name, limit=limit + GZIP_OVERHEAD_BYTES) as file:
            web.get_file(url, file, callback=bar)
    except DiskError:
        raise
    except FileNotFoundError:
        raise _Absent("answered HTTP 404 Not Found") from None
    except FSTimeoutError as error:
        if isinstance(error.__cause__, aiohttp.ConnectionTimeoutError):
            # Asking an address that swallows what is sent to it again only costs time.
            raise MirrorError(f"did not answer within {patience.connect_s:g} s") from None
        if isinstance(error.__cause__, aiohttp.SocketTimeoutError):
            raise _Transient(f"sent nothing for {patience.stall_s:g} s") from None
        raise MirrorError(f"took longer than {patience.total_s:g} s for {name}") from None
    except aiohttp.ClientResponseError as error:
        reason = f"answered HTTP {error.status} {_phrase(error.status)}".rstrip()
        if error.status in ABSENT:
            raise _Absent(reason) from None
        raise (_Transient if error.status in TRANSIENT else MirrorError)(reason) from None
    except aiohttp.ClientConnectorDNSError:
        raise MirrorError(f"the name {urlsplit(url).hostname} could not be resolved") from None
    except aiohttp.ClientConnectorError as error:
        raise MirrorError(f"could not be reached ({_one_line(error)})") from None
    except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError):
        raise _Transient(f"broke off in the middle of {name}") from None
    except aiohttp.ClientOSError as error:
        raise _Transient(f"broke off ({_one_line(error)})") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise MirrorError(f"cannot be read ({_one_line(error)})") from None
    finally:
        bar.close()
        if web._session is not None:
            web.close_session(web.loop, web._session)


def _unpack(source: Path, file: IdxFile, part: Path) -> None:
    """Copy the source's uncompressed content to `part` as a stream, and verify it on the way."""
    digest, num_bytes = hashlib.sha256(), 0
    try:
        with source.open("rb") as raw, _writing(part, file.name, limit=file.size_bytes) as out:
            # By content, not by name: a web server may have uncompressed NAME.gz on the way.
            is_gzip = raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            raw.seek(0)
            content = gzip.GzipFile(fileobj=raw) if is_gzip else raw
            while chunk := content.read(CHUNK_BYTES):
                out.write(chunk)
                digest.update(chunk)
                num_bytes += len(chunk)
        if num_bytes != file.size_bytes:
            raise MirrorError(
                f"{file.name} has {num_bytes:,} bytes uncompressed, expected {file.size_bytes:,}"
            )
        if digest.hexdigest() != file.sha256:
            raise MirrorError(
                f"{file.name} has SHA-256 {digest.hexdigest()[:12]}…, expected {file.sha256[:12]}…"
            )
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, EOFError):
            raise MirrorError(f"{file.name}.gz is cut short") from None
        if isinstance(error, gzip.BadGzipFile | zlib.error):
            raise MirrorError(f"{file.name}.gz is damaged ({_one_line(error)})") from None
        if isinstance(error, OSError) and not isinstance(error, DiskError):
            raise MirrorError(f"{source.name} cannot be read ({_one_line(error)})") from None
        raise


class _LimitedFile:
    """A file for writing that tells a disk that refuses apart from a mirror that fails."""

    def __init__(self, file: IO[bytes], path: Path, name: str, *, limit: int) -> None:
        self._file, self._path, self._name, self._limit = file, path, name, limit

    def write(self, chunk: bytes) -> None:
        if self._file.tell() + len(chunk) > self._limit:
            raise MirrorError(f"{self._name} has more than {self._limit:,} bytes")
        with on_disk(self._path):
            self._file.write(chunk)
            self._file.flush()

    # fsspec takes for a file what has these three.
    def read(self) -> bytes:
        raise NotImplementedError

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


@contextlib.contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """What goes wrong inside is this machine's disk: a DiskError with one sentence."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        cure = "make room there" if full else "make it writable"
        reason = error.strerror or _one_line(error)
        raise DiskError(f"cannot write {path}: {reason}; {cure} and run again") from None


@contextlib.contextmanager
def _writing(path: Path, name: str, *, limit: int) -> Iterator[_LimitedFile]:
    """A new file for what the mirror calls `name`, on the disk for good when the block ends."""
    with on_disk(path):
        file = path.open("wb")
    with file:
        yield _LimitedFile(file, path, name, limit=limit)
        with on_disk(path):
            os.fsync(file.fileno())


def _phrase(status: int) -> str:
    return http.HTTPStatus(status).phrase if status in {*http.HTTPStatus} else ""


def _one_line(error: Any) -> str:
    return " ".join(str(error).split()) or type(error).__name__

"""Fetch the data set that params.yaml names, from the first mirror that gives it.

    python -m digits.fetch [--data NAME] [--out data/NAME/raw]

Reads   params.yaml (data.name, data.fallback), conf/data/NAME.yaml, the mirrors listed there
Writes  OUT/MNIST/raw/: four uncompressed IDX files, as torchvision's MNIST(root=OUT) reads them
        OUT/source.json: what they are, with their SHA-256

source.json is removed before the first file changes and written after the last: files without it
are of no known origin. When no mirror answers and data.fallback is optdigits, the files hold
scikit-learn's own digits instead, and source.json says so.
"""

import argparse
import contextlib
import datetime
import json
import logging
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from digits.addresses import without_password
from digits.mirrors import (
    MirrorError,
    Patience,
    expand,
    is_valid,
    on_disk,
    sha256,
    take,
)
from digits.settings import (
    FALLBACKS,
    IDX_PATHS,
    Dataset,
    IdxFile,
    Mistaken,
    load_dataset,
    load_params,
    raw_folder,
)

# A mirror that is no folder and no address: the digits inside scikit-learn's own package.
PACKAGED = "scikit-learn"

log = logging.getLogger("digits.fetch")


class NoMirrorError(OSError):
    """No mirror gave the data set; the message names each and why."""


@dataclass(frozen=True, kw_only=True)
class SourceReport:
    """What the fetched files are: the content of source.json."""

    name: str
    requested: str
    fallback: bool
    licence: str
    classes: tuple[int | str, ...]
    image_size: int  # pixels, both ways
    sha256: dict[str, str]  # by role: train_images, train_labels, test_images, test_labels
    # UTC time of a fallback. It makes each attempt's output differ, so that DVC never takes a
    # fallback for settled; real data has none and is the same everywhere.
    attempt: str | None = None

    def to_json(self) -> str:
        content = {key: value for key, value in asdict(self).items() if value is not None}
        return json.dumps(content, indent=2) + "\n"


def run(
    *,
    dataset: Dataset,
    fallback: str,
    out: Path,
    root: Path = Path(),
    patience: Patience | None = None,
) -> SourceReport:
    """Make `out` hold the data set's four verified files and source.json; say what they are.

    `fallback` is "optdigits" or "none"; mirrors that are folders are relative to `root`. Files
    that are valid already are left as they are. Raises NoMirrorError when no mirror gives the
    data set and there is no fallback, DiskError when this machine cannot write.
    """
    if fallback not in FALLBACKS:
        raise ValueError(f"fallback must be one of {FALLBACKS}, got {fallback!r}")
    folder = out / "MNIST" / "raw"
    with on_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
    finals = {role: out / path for role, path in IDX_PATHS.items()}
    parts = {role: final.with_name(f"{final.name}.part") for role, final in finals.items()}
    wanted = [role for role, file in dataset.files.items() if not is_valid(finals[role], file)]
    _remove_stale(out, folder, keep={parts[role]: role for role in wanted}, dataset=dataset)

    if not wanted:
        log.info("%s: the four files are there and valid", dataset.name)
    failures = _collect(
        [role for role in wanted if not parts[role].exists()],
        dataset=dataset,
        parts=parts,
        root=root,
        patience=patience or Patience(),
    )
    if all(parts[role].exists() for role in wanted):
        report = SourceReport(
            name=dataset.name,
            requested=dataset.name,
            fallback=False,
            licence=dataset.licence,
            classes=dataset.classes,
            image_size=dataset.image_size,
            sha256={role: file.sha256 for role, file in dataset.files.items()},
        )
        _install({parts[role]: finals[role] for role in wanted}, report, out=out)
        return report

    tried = "; ".join(failures) or "no mirror is set"
    if fallback == "none":
        raise NoMirrorError(
            f"{dataset.name} could not be fetched: {tried}. Set $MNIST_MIRROR to a folder that "
            "holds its files, or data.fallback in params.yaml to optdigits"
        )
    return _fall_back(dataset, tried=tried, parts=parts, finals=finals, out=out)


def _collect(
    roles: list[str], *, dataset: Dataset, parts: dict[str, Path], root: Path, patience: Patience
) -> list[str]:
    """Put verified .part files of these roles, mirror by mirror; say what failed where."""
    failures: list[str] = []
    for mirror in expand(dataset.mirrors, environ=os.environ):
        missing = [role for role in roles if not parts[role].exists()]
        if not missing:
            break
        log.info("%s: fetching from %s", dataset.name, without_password(mirror))
        try:
            for role in missing:
                file, started = dataset.files[role], time.monotonic()
                if mirror == PACKAGED:
                    _take_packaged(role, file, parts[role])
                else:
                    take(mirror, file, parts[role], root=root, patience=patience)
                log.info(
                    "%s: %s bytes verified in %.1f s",
                    file.name,
                    f"{file.size_bytes:,}",
                    time.monotonic() - started,
                )
        except MirrorError as error:
            failures.append(f"{without_password(mirror)}: {error}")
            log.warning("mirror failed: %s", failures[-1])
    return failures


def _take_packaged(role: str, file: IdxFile, part: Path) -> None:
    """Put the file of scikit-learn's own digits; MirrorError when they are not what they were."""
    from digits import optdigits  # scikit-learn takes a second to load, and is rarely needed

    _write(part, optdigits.idx_files()[role])
    if not is_valid(part, file):
        part.unlink()
        raise MirrorError(f"its {role} are not those of {file.name}")


def _remove_stale(out: Path, folder: Path, *, keep: dict[Path, str], dataset: Dataset) -> None:
    """Remove what a run that was cut off left behind, but for files that are whole and right."""
    for part in [*out.glob("*.part"), *folder.glob("*.part")]:
        if part in keep and is_valid(part, dataset.files[keep[part]]):
            continue
        with on_disk(part):
            part.unlink()


def _install(moves: dict[Path, Path], report: SourceReport, *, out: Path) -> None:
    """Move the files into place as one set: source.json goes first and comes last."""
    source = out / "source.json"
    content = report.to_json()
    with on_disk(source):
        if not moves and source.is_file() and source.read_text(encoding="utf-8") == content:
            return
        source.unlink(missing_ok=True)
        _sync_folder(out)
        for part, final in moves.items():
            part.replace(final)
            _sync_folder(final.parent)
        _write(source, content.encode())


def _write(path: Path, content: bytes) -> None:
    """Write a small file whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    with on_disk(path), part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    with on_disk(path):
        part.replace(path)
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Put renames in the folder on the disk for good, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _fall_back(
    dataset: Dataset, *, tried: str, parts: dict[str, Path], finals: dict[str, Path], out: Path
) -> SourceReport:
    """Put scikit-learn's own digits in the place of the data set, and say so loudly."""
    if dataset.classes != tuple(range(10)):
        raise NoMirrorError(
            f"{dataset.name} could not be fetched: {tried}. The fallback optdigits has the digits "
            f"0 to 9, not {dataset.name}'s classes: set data.fallback in params.yaml to none"
        )
    log.warning(
        "\n"
        "  WARNING: no mirror gave %s. scikit-learn's 1,797 small digits (optdigits) take its\n"
        "  place: what is measured on them says nothing about %s. The next run that reaches\n"
        "  a mirror fetches it.\n",
        dataset.name,
        dataset.name,
    )
    from digits import optdigits  # scikit-learn takes a second to load, and is rarely needed

    for role, content in optdigits.idx_files(size=dataset.image_size).items():
        _write(parts[role], content)
    report = SourceReport(
        name=optdigits.NAME,
        requested=dataset.name,
        fallback=True,
        licence=optdigits.LICENCE,
        classes=dataset.classes,
        image_size=dataset.image_size,
        sha256={role: sha256(part) for role, part in parts.items()},
        attempt=datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"),
    )
    _install({parts[role]: finals[role] for role in finals}, report, out=out)
    return report


def main(arguments: list[str] | None = None) -> int:
    """Fetch what params.yaml names; 0 when the files are there, 130 on Ctrl-C, else 1.

    2 when what was asked for is not known.
    """
    parser = argparse.ArgumentParser(
        prog="python -m digits.fetch", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--data", help="a file in conf/data/; without it, data.name of params.yaml")
    parser.add_argument("--out", type=Path, help="folder to fill; without it, data/NAME/raw")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    log.setLevel(logging.INFO)
    # A polite kill goes the way of Ctrl-C, so that it cleans up like one.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        params = load_params()
        dataset = load_dataset(chosen.data or params.data_name)
        out = chosen.out or raw_folder(dataset.name)
        report = run(dataset=dataset, fallback=params.data_fallback, out=out)
    except (OSError, ValueError) as error:
        print(f"digits.fetch: {error}", file=sys.stderr)
        return 2 if isinstance(error, Mistaken) else 1
    except KeyboardInterrupt:
        print("digits.fetch: interrupted; run again to go on", file=sys.stderr)
        return 130
    print(f"{out}: {report.name}, {report.licence}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

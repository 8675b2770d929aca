"""Where a model comes from, and what was made of a data set: `digits lineage`."""

import difflib
from dataclasses import dataclass
from typing import Any

from digits.runs import finding, listing, registry, tracking

DIGEST = "sha256:"
SHORTEST = 8  # digits of a digest
MOST_FOUND = 50_000  # as many as MLflow gives at once


@dataclass(frozen=True, kw_only=True)
class Origin:
    """All that led to a model."""

    run_id: str
    name: str
    started: str
    version: int | None  # in the registry
    git_commit: str | None
    dataset: str
    data_digest: str
    dvc: dict[str, str]  # path → hash of what DVC knew of the training's inputs
    packages: dict[str, str]
    bundle: str | None  # where its artifacts are
    dvc_lock: str | None


def of_model(word: str) -> Origin:
    """Where a model comes from, named as `finding.find` takes it; ValueError without one."""
    run = finding.find(word)
    tags, run_id = run.data.tags, run.info.run_id
    with tracking.talking_to_server():
        logged = {entry.path for entry in tracking.client().list_artifacts(run_id)}

    def place(name: str) -> str | None:
        return f"{run.info.artifact_uri}/{name}" if name in logged else None

    return Origin(
        run_id=run_id,
        name=run.info.run_name,
        started=listing.local_time(run.info.start_time),
        version=registry.version_of(run_id),
        git_commit=tags.get("git_commit") or None,
        dataset=tags.get("dataset", ""),
        data_digest=tags.get("data_digest", ""),
        dvc=_with_prefix(tags, "dvc."),
        packages=_with_prefix(tags, "version."),
        bundle=place("bundle"),
        dvc_lock=place("dvc.lock"),
    )


def of_data(digest: str) -> list[listing.Training]:
    """Every training that learnt from the images of this digest, the best on validation first.

    Those of other experiments, too. `digest` may be the start of one, of eight digits or more.
    ValueError where none did.
    """
    start = digest.removeprefix(DIGEST).lower()
    if len(start) < SHORTEST or not set(start) <= set("0123456789abcdef"):
        raise ValueError(
            f"a digest has hexadecimal digits, {SHORTEST} or more of them; got {digest!r}"
        )
    found = listing.search(
        clauses=[f"tags.data_digest LIKE '{DIGEST}{start}%'"], most=MOST_FOUND, everywhere=True
    )
    if not found:
        near = difflib.get_close_matches(f"{DIGEST}{start}", _digests(), n=2, cutoff=0)
        shown = " or ".join(each[: len(DIGEST) + SHORTEST] for each in near)
        hint = f"; there is {shown}" if near else ""
        raise ValueError(f"no training in MLflow learnt from data with the digest {digest}{hint}")
    return found


def _digests() -> list[str]:
    """Of the data that the latest trainings learnt from."""
    with tracking.talking_to_server():
        client = tracking.client()
        ids = tracking.experiment_ids(everywhere=True)
        runs = client.search_runs(ids, "tags.data_digest != ''", max_results=finding.MOST_NAMED)
    return list(dict.fromkeys(run.data.tags["data_digest"] for run in runs))


def _with_prefix(tags: dict[str, Any], prefix: str) -> dict[str, str]:
    return {
        key.removeprefix(prefix): value
        for key, value in sorted(tags.items())
        if key.startswith(prefix)
    }

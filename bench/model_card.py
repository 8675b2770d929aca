"""Write the figures of the model card, docs/model-card.md, from the committed reports.

    python bench/model_card.py

Reads what is served (served/, or released/ where nothing is packaged), reports/ and
bench/wild.json. Rewrites what is between `<!-- figures -->` and `<!-- /figures -->`.
tests/test_documents.py fails when the card says anything else.
"""

from pathlib import Path
from typing import Any

from digits.files import replacing
from digits.reporting import card
from readme_results import Reader, fill, from_folder, read_json

CARD = Path("docs/model-card.md")
SERVED = ("served", "released")  # the first that is there is what answers: see reading.packaged


def rewrite(text: str, read: Reader) -> str:
    """The card with its figures written anew; ValueError when one or a marker is missing."""
    return fill(text, "figures", figures(read))


def figures(read: Reader) -> str:
    """All that is known of the model that is served, in numbers."""
    folder = next((each for each in SERVED if read(f"{each}/lineage.json")), SERVED[0])
    origin, meta = (read_json(read, f"{folder}/{name}.json") for name in ("lineage", "model"))
    selected = read_json(read, "reports/selected.json")
    candidates = {one["run_id"]: one for one in selected["candidates"]}
    trained = candidates.get(origin["run_id"])
    data = read_json(read, "reports/data.json")
    same = data["digest"] == origin["data_digest"]
    if trained and same:
        trained = {**trained, "num_train": data["num_train"]}
    parts = card.sections(
        meta=meta,
        origin=origin,
        trained=trained,
        metrics=origin["metrics"] | read_json(read, f"{folder}/details.json", needed=False),
        licence=data["licence"] if same else None,
        outside=_outside(read_json(read, "bench/wild.json", needed=False), origin),
    )
    if selected["run_id"] != origin["run_id"]:
        parts.insert(
            1,
            f"The pipeline has selected another, `{selected['model']}` of run "
            f"`{selected['run_id']}`, which is not served; the README's figures are of that one.",
        )
    return "\n\n".join(parts) + "\n"


def _outside(wild: dict[str, Any], origin: dict[str, Any]) -> list[str]:
    """What was measured on images from elsewhere, and of which model, where it was another."""
    if not wild:
        return [
            "Not measured: there is no `bench/wild.json`; `make wild` writes it, of any labelled "
            "folder."
        ]
    rows = []
    for name, row in wild["sets"].items():
        if "accuracy" in row:
            rows.append([f"{name}, read right", *card.share(row["accuracy"], row["num_digits"])])
            rows.append([f"{name}, refused", *card.share(row["refused"], row["num_digits"])])
        if "others_accepted" in row:
            accepted = card.share(row["others_accepted"], row["num_others"])
            rows.append([f"{name}, accepted", *accepted])
    measured = wild["model"]
    table = card.table(["Images from elsewhere", *card.HEAD], rows)
    if measured["run_id"] == origin["run_id"]:
        return [table]
    return [
        f"Not measured of this model. These figures are of another: `{measured['name']}`, version "
        f"{measured['version']}, run `{measured['run_id']}`, which learnt from "
        f"`{measured['data_digest']}`.",
        table,
    ]


def main() -> None:
    try:
        text = rewrite(CARD.read_text(encoding="utf-8"), from_folder)
    except (ValueError, FileNotFoundError) as error:
        raise SystemExit(f"model_card: {error}; run from the project's root") from None
    with replacing(CARD) as beside:
        beside.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

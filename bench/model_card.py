"""Write the figures of the model card, docs/model-card.md, from the committed reports.

    python bench/model_card.py

Reads reports/ and bench/wild.json. Rewrites what is between `<!-- figures -->` and
`<!-- /figures -->`. tests/test_documents.py fails when the card says anything else.
"""

from pathlib import Path
from typing import Any

from digits.files import replacing
from digits.reporting import card
from readme_results import Reader, fill, from_folder, read_json

CARD = Path("docs/model-card.md")


def rewrite(text: str, read: Reader) -> str:
    """The card with its figures written anew; ValueError when one or a marker is missing."""
    return fill(text, "figures", figures(read))


def figures(read: Reader) -> str:
    """What training took; tables: on the test images, by half of them, outside the data set."""
    selected = read_json(read, "reports/selected.json")
    name = selected["model"]
    scored = read_json(read, f"reports/{name}/metrics.json")
    (trained,) = (one for one in selected["candidates"] if one["run_id"] == selected["run_id"])
    parts = [
        f"Model `{name}`, {scored['num_parameters']:,} parameters, run `{selected['run_id']}`, "
        f"commit `{selected['git_commit']}`.",
        card.cost(trained),
        card.on_test(scored),
        card.halves(scored),
    ]
    wild = read_json(read, "bench/wild.json", needed=False)
    if wild and wild["model"]["run_id"] == selected["run_id"]:
        parts.append(_outside(wild["sets"]))
    return "\n\n".join(parts) + "\n"


def _outside(sets: dict[str, Any]) -> str:
    rows = []
    for name, row in sets.items():
        if "accuracy" in row:
            interval = f"{row['accuracy_low']:.1%} to {row['accuracy_high']:.1%}"
            shares = [f"{row['accuracy']:.1%}", interval, f"{row['refused']:.1%}", ""]
            rows.append([name, f"{row['num_digits']}", *shares])
        if "others_accepted" in row:
            rows.append([name, f"{row['num_others']}", "", "", "", f"{row['others_accepted']:.1%}"])
    head = ["Outside MNIST", "Images", "Read right", "95 % interval", "Refused", "Accepted"]
    return card.table(head, rows)


def main() -> None:
    try:
        text = rewrite(CARD.read_text(encoding="utf-8"), from_folder)
    except (ValueError, FileNotFoundError) as error:
        raise SystemExit(f"model_card: {error}; run from the project's root") from None
    with replacing(CARD) as beside:
        beside.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Write the README's picture and result table from the committed figures.

    python bench/readme_results.py

Reads reports/ and, where they exist, bench/overhead.json and bench/pipeline.json. Rewrites what
is between `<!-- picture -->` and `<!-- /picture -->`, and between `<!-- results -->` and
`<!-- /results -->`. tests/test_documents.py fails when the README says anything else.
"""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from digits.files import replacing
from digits.reporting.card import table

README = Path("README.md")
# The text of a file by its path in the project; None when there is no such file.
Reader = Callable[[str], str | None]


def from_folder(path: str) -> str | None:
    """Read a file below the current folder."""
    file = Path(path)
    return file.read_text(encoding="utf-8") if file.is_file() else None


def rewrite(readme: str, read: Reader) -> str:
    """The README with both parts written anew; ValueError when a figure or a marker is missing."""
    readme = fill(readme, "picture", picture(read))
    return fill(readme, "results", results(read))


def fill(text: str, name: str, content: str) -> str:
    """A document with what is between its two markers of a name written anew."""
    opening, closing = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, opened, rest = text.partition(opening)
    _, closed, after = rest.partition(closing)
    if not (opened and closed):
        raise ValueError(f"the document must hold <!-- {name} --> and, after it, {closing}")
    return f"{before}{opening}{content}{closing}{after}"


def picture(read: Reader) -> str:
    """The selected model's mistakes."""
    name = read_json(read, "reports/selected.json")["model"]
    scored = read_json(read, f"reports/{name}/metrics.json")
    caption = (
        f"What {name} gets wrong: the most confident of its {scored['num_errors']} mistakes in "
        f"{scored['num_images']:,} test images"
    )
    return f"![{caption}](reports/{name}/mistakes.png)\n"


def results(read: Reader) -> str:
    """What the selected model reads, a row a candidate, and what was timed."""
    selected, data = read_json(read, "reports/selected.json"), read_json(read, "reports/data.json")
    name = selected["model"]
    scored = read_json(read, f"reports/{name}/metrics.json")
    (chosen,) = (one for one in selected["candidates"] if one["name"] == name)
    stand_in = f", a stand-in for {data['requested']}" if data["fallback"] else ""
    lines = [
        f"`{name}`, {scored['num_parameters']:,} parameters, trained in {chosen['train_s']:.0f} s "
        f"on {chosen['trainer']}, reads:",
        "",
        *_reads(scored, data["name"], _outside(selected, read)),
        "",
        f"The candidates, trained on {data['num_train']:,} images of {data['name']}{stand_in}, "
        f"chosen on {data['num_val']:,} others, and then tested:",
        "",
        *_candidates(selected, read),
        "",
    ]
    overhead = read_json(read, "bench/overhead.json", needed=False)
    pipeline = read_json(read, "bench/pipeline.json", needed=False)
    soonest = read_json(read, "bench/time_to_accuracy.json", needed=False)
    said = [*_soonest(soonest), *_timed(overhead, pipeline)]
    return "\n".join([*lines, *(f"- {line}" for line in said)]) + "\n"


def _reads(scored: dict[str, Any], data_name: str, wild: dict[str, Any]) -> list[str]:
    """A row for each kind of images that the selected model was tried on."""
    rows = [
        [
            f"test images of {data_name}",
            f"**{scored['accuracy']:.2%}**",
            f"{scored['accuracy_low']:.2%} to {scored['accuracy_high']:.2%}",
            f"{scored['num_images']:,}",
        ],
        [
            "the same, corrupted in the fifteen ways of MNIST-C",
            f"**{scored['mean_corrupted_accuracy']:.1%}**",
            "",
            f"15 x {scored['num_images']:,}",
        ],
    ]
    sets = wild.get("sets", {})
    digits = {name: scored for name, scored in sets.items() if "accuracy" in scored}
    for name, outside in digits.items():
        interval = f"{outside['accuracy_low']:.1%} to {outside['accuracy_high']:.1%}"
        right = f"**{outside['accuracy']:.1%}**"
        rows.append([f"{name}, over HTTP", right, interval, f"{outside['num_digits']:,}"])
    lines = [table(["Images", "Right", "95 % interval", "Number"], rows)]
    if digits:
        num = sum(outside["num_digits"] for outside in digits.values())
        refused = sum(one["refused"] * one["num_digits"] for one in digits.values()) / num
        accepted = [
            f"{others['others_accepted']:.1%} of {others['num_others']} letters and signs"
            for others in sets.values()
            if "others_accepted" in others
        ]
        said = "; accepted as digits: ".join([f"refused: {refused:.1%} of them", *accepted])
        lines += [
            "",
            f"What came over HTTP is of other hands and tools, and not trained on; {said}.",
        ]
    return lines


def _outside(selected: dict[str, Any], read: Reader) -> dict[str, Any]:
    """What the selected model made of images that are not of its data set."""
    wild = read_json(read, "bench/wild.json", needed=False)
    return wild if wild and wild["model"]["run_id"] == selected["run_id"] else {}


def _candidates(selected: dict[str, Any], read: Reader) -> list[str]:
    """A row a candidate, the selected one in bold, and why it was."""
    head = ["Model", "Validation", "Test", "Over seeds", "Corrupted", "Parameters"]
    head += ["Network, one image", "Training"]
    measured = read_json(read, "bench/accuracy.json", needed=False)
    rows = []
    for candidate in selected["candidates"]:
        name = candidate["name"]
        scored = read_json(read, f"reports/{name}/metrics.json")
        row = [
            name,
            f"{candidate['accuracy']:.2%}",
            f"{scored['accuracy']:.2%}",
            _over_seeds(name, scored["num_parameters"], measured),
            f"{scored['mean_corrupted_accuracy']:.1%}",
            f"{scored['num_parameters']:,}",
            f"{scored['latency_ms']:.2f} ms",
            f"{candidate['train_s']:.0f} s",
        ]
        rows.append([f"**{cell}**" for cell in row] if name == selected["model"] else row)
    return [
        table(head, rows),
        "",
        f"Selected: {selected['reason']}. Over seeds: mean ± standard deviation on the test "
        "images; [all models](docs/accuracy.md).",
    ]


def _over_seeds(name: str, num_parameters: int, measured: dict[str, Any]) -> str:
    """What the same model reached in trainings with other seeds: no seed is picked."""
    shares = [
        row["accuracy"]
        for row in measured.get("rows", [])
        if (row["name"], row["num_parameters"]) == (name, num_parameters)
    ]
    if len(shares) < 2:
        return "-"
    mean, sd = statistics.fmean(shares), statistics.stdev(shares)
    return f"{mean:.2%} ± {100 * sd:.2f} (n = {len(shares)})"


def _soonest(measured: dict[str, Any]) -> list[str]:
    """What the presets reach, and when: means over their seeds."""
    presets: dict[str, list[dict[str, Any]]] = {}
    for row in measured.get("rows", []):
        if row["name"].startswith("speed_"):
            presets.setdefault(row["name"], []).append(row)
    parts = []
    for name, rows in presets.items():
        accuracy = statistics.fmean(row["accuracy"] for row in rows)
        seconds = statistics.fmean(row["train_s"] for row in rows)
        parts.append(f"{accuracy:.2%} in {seconds:.0f} s (`{name}`, n = {len(rows)})")
    if not parts:
        return []
    where = f"{measured['rows'][0]['machine']['num_cpus']} cores"
    return [
        f"Presets of `conf/experiment/` read, trained on {where}: {', '.join(parts)}; "
        "[beside the common example](docs/time-to-accuracy.md)."
    ]


def _timed(overhead: dict[str, Any], pipeline: dict[str, Any]) -> list[str]:
    lines = []
    if overhead:
        ratios = [
            f"{name} {entry['ratio']:.2f}"
            for name, entry in overhead.items()
            if isinstance(entry, dict) and "ratio" in entry
        ]
        lines.append(
            "Training with Lightning, MLflow and Hydra takes, as a multiple of a bare PyTorch "
            f"loop's time: {', '.join(ratios)}."
        )
    if pipeline:
        machine = pipeline["machine"]
        lines.append(
            f"`make repro` on a fresh clone took {pipeline['set_up_and_repro_s']:.0f} s with the "
            f"packages downloaded, with nothing changed {pipeline['unchanged_repro_s']:.1f} s "
            f"({machine['num_cpus']} cores of {machine['cpu']}, commit {pipeline['commit'][:7]})."
        )
    return lines


def read_json(read: Reader, path: str, *, needed: bool = True) -> dict[str, Any]:
    text = read(path)
    if text is None:
        if needed:
            raise ValueError(f"{path} is missing; run `make repro`")
        return {}
    content: dict[str, Any] = json.loads(text)
    return content


def main() -> None:
    try:
        text = rewrite(README.read_text(encoding="utf-8"), from_folder)
    except (ValueError, FileNotFoundError) as error:
        raise SystemExit(f"readme_results: {error}; run from the project's root") from None
    with replacing(README) as beside:
        beside.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Write each candidate's composed configuration, so that DVC sees exactly what its training uses.

    python -m digits.compose --out composed

Reads params.yaml and conf/; writes composed/NAME.yaml for each candidate. It takes two seconds
and runs when any of those files changes; a training runs again only when its own composed values
did, so neither a comment nor another model's file makes it.
"""

import argparse
from pathlib import Path

import yaml
from hydra.errors import HydraException

from digits import configuration, overrides, settings, stopping
from digits.files import replacing_folder


def run(*, candidates: tuple[str, ...], out: Path) -> None:
    """Write one file a candidate; Mistaken names the candidate that does not compose."""
    with replacing_folder(out) as folder:
        for name in candidates:
            try:
                config = configuration.compose([f"model={name}"])
                configuration.check(config)
            except (HydraException, ValueError) as error:
                reason = overrides.explained(error)
                raise settings.Mistaken(f"candidate {name!r} does not compose: {reason}") from error
            text = yaml.safe_dump(config, sort_keys=True)
            (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    with stopping.explained("compose"):
        run(candidates=settings.load_params().candidates, out=arguments.out)


if __name__ == "__main__":
    main()

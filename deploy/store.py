"""Save a team's runs, registry and their files to a folder, or bring them back from one.

    python store.py buckets mlflow dvc     make buckets, unless they are there
    python store.py save FOLDER
    python store.py restore FOLDER         in place of what is there

MLFLOW_BACKEND_STORE_URI names the database, MLFLOW_ARTIFACTS_DESTINATION the bucket, as they do
for MLflow's server; boto3 reads the bucket's address and keys from the environment. `save` may run
while people train; stop MLflow's server before `restore`. Needs PostgreSQL's client programs.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import boto3

DUMP, FILES = "mlflow.dump", "files"


def make_buckets(*names: str) -> None:
    """Make buckets; one that is there already stays as it is."""
    s3 = boto3.client("s3")
    known = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    for name in names:
        if name not in known:
            s3.create_bucket(Bucket=name)


def save(folder: Path) -> None:
    """Write the database and then the files to a new folder, whole or not at all."""
    if folder.exists():
        raise SystemExit(f"store: {folder} is there already; choose another folder")
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    # Before the files: what it names is among them then, since they are only ever added to.
    _postgres("pg_dump", "--format=custom", f"--file={part / DUMP}", _database())
    s3 = boto3.client("s3")
    keys = [
        entry["Key"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=_bucket())
        for entry in page.get("Contents", ())
    ]
    for key in keys:
        path = part / FILES / key
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(_bucket(), key, str(path))
    part.rename(folder)
    print(f"{folder}: the database and {len(keys)} files")


def restore(folder: Path) -> None:
    """Bring the files and then the database back: the database as it was saved, or not at all."""
    dump = folder / DUMP
    if not dump.is_file():
        raise SystemExit(f"store: {folder} is no backup, it has no {DUMP}")
    make_buckets(_bucket())
    s3 = boto3.client("s3")
    paths = [path for path in (folder / FILES).rglob("*") if path.is_file()]
    for path in paths:
        s3.upload_file(str(path), _bucket(), path.relative_to(folder / FILES).as_posix())
    # In place of the tables that are there, all of them or, where something fails, none.
    how = ("--clean", "--if-exists", "--no-owner", "--single-transaction")
    _postgres("pg_restore", *how, f"--dbname={_database()}", str(dump))
    print(f"{folder}: the database and {len(paths)} files are back")


def _postgres(*command: str) -> None:
    try:
        subprocess.run(command, check=True)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        raise SystemExit(f"store: {command[0]} failed ({type(error).__name__})") from None


def _database() -> str:
    return os.environ["MLFLOW_BACKEND_STORE_URI"]


def _bucket() -> str:
    return os.environ["MLFLOW_ARTIFACTS_DESTINATION"].removeprefix("s3://")


def main() -> None:
    match sys.argv[1:]:
        case ["buckets", *names]:
            make_buckets(*names)
        case ["save", folder]:
            save(Path(folder))
        case ["restore", folder]:
            restore(Path(folder))
        case _:
            print(__doc__, file=sys.stderr)
            raise SystemExit(2)


if __name__ == "__main__":
    main()

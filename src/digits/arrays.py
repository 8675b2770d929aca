"""Arrays in a file whose bytes follow from what is in it, so that DVC knows it again anywhere."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from digits.files import replacing

UNIX = 3  # of the systems that a ZIP archive may come from


def write_arrays(path: Path, **arrays: NDArray[np.generic]) -> None:
    """Replace `path` by an archive that `np.load` reads, as `np.savez` writes it.

    But for its headers, with which releases of Python differ: `np.savez` asks for large archives
    whatever it holds, and what 3.11.2 writes then is not what 3.11.7 does.
    """
    with replacing(path) as beside, ZipFile(beside, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asanyarray(array), allow_pickle=False)
            member = ZipInfo(f"{name}.npy")  # of 1980, whatever the time is
            member.create_system = UNIX
            archive.writestr(member, content.getbuffer())


def read_arrays(path: Path, names: Iterable[str], *, stage: str) -> list[NDArray[Any]]:
    """The arrays of these names in an archive.

    FileNotFoundError where it is missing and ValueError where it is damaged or lacks one; both name
    the DVC stage that writes it.
    """
    try:
        # NumPy itself leaves a damaged file open.
        with path.open("rb") as file, np.load(file) as arrays:
            return [arrays[name] for name in names]
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; run `dvc repro {stage}`") from None
    except (BadZipFile, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}); run `dvc repro -sf {stage}`") from None
    except (ValueError, EOFError):  # NumPy would advise to trust the file
        raise ValueError(f"{path} is damaged; run `dvc repro -sf {stage}`") from None

"""Whether torchrun or srun started this process as one of several. Answered without torch."""

import os

NAMES = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))


def launched() -> tuple[int, int]:
    """This process's rank, and how many there are: 0 of 1 where nothing started several."""
    for rank, num in NAMES:
        if int(os.environ.get(num, 1)) > 1:
            return int(os.environ[rank]), int(os.environ[num])
    return 0, 1

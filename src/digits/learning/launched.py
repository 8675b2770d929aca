"""Whether torchrun or srun started this process as one of several. Answered without torch."""

import os

# What is to do when it, or another of them, has ended early.
GO_ON = "the same command goes on after the last finished epoch"
# Not SLURM_NTASKS: that a job's own shell has too, of tasks which nobody may have started.
NAMES = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"))


def launched() -> tuple[int, int]:
    """This process's rank, and how many there are: 0 of 1 where nothing started several."""
    for rank, num in NAMES:
        if int(os.environ.get(num, 1)) > 1:
            return int(os.environ[rank]), int(os.environ[num])
    return 0, 1

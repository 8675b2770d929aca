"""`digits`, with all its commands.

Those of `runs` stay out of `digits.cli`, which reads images where there is no MLflow.
"""

from digits.cli import main
from digits.promotion import history_command, promote_command, rollback_command
from digits.runs.commands import compare, lineage, runs

for command in (runs, compare, lineage, promote_command, rollback_command, history_command):
    main.add_command(command)

if __name__ == "__main__":
    main()

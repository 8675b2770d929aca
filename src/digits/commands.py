"""`digits`, with all its commands.

Those of `runs` stay out of `digits.cli`, which reads images where there is no MLflow.
"""

from digits.cli import main
from digits.runs.commands import compare, runs

main.add_command(runs)
main.add_command(compare)

if __name__ == "__main__":
    main()

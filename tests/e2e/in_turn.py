"""Run commands one after another in one interpreter, which imports everything once.

`python tests/e2e/in_turn.py MODULE [ARGUMENT ...] -- MODULE [ARGUMENT ...]` does what
`python -m MODULE ARGUMENT ... && python -m MODULE ARGUMENT ...` does.
"""

import runpy
import sys
from itertools import groupby


def main() -> None:
    commands = [list(words) for is_end, words in groupby(sys.argv[1:], "--".__eq__) if not is_end]
    for command in commands:
        sys.argv = command
        try:
            runpy.run_module(command[0], run_name="__main__", alter_sys=True)
        except SystemExit as stop:
            if stop.code:
                raise


if __name__ == "__main__":
    sys.path[0] = ""  # as python -m
    main()

"""Start a run or a sweep: python -m pipeline [GROUP=OPTION ...] [KEY=VALUE ...]."""

import sys

from pipeline.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m payflow`."""

import sys

from payflow.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

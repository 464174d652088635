"""`python -m payflow`: what a command says goes to stdout, the log to stderr."""

import os
import sys

from payflow import logs
from payflow.cli import main

if __name__ == "__main__":
    logs.configure(os.environ.get("PAYFLOW_LOG_LEVEL", "WARNING"))
    sys.exit(main(sys.argv[1:]))

"""The gateways' official files: specifications, samples, recorded requests, signature vectors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SPECS = Path(os.environ.get("PAYFLOW_SPECS_DIR") or Path(__file__).parents[2] / "../shared/specs")
needs_specs = pytest.mark.skipif(
    not SPECS.is_dir(),
    reason="The gateways' official files are not here; PAYFLOW_SPECS_DIR says where they are.",
)

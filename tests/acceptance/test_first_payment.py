"""docs/howto/first-payment.md works as printed: its blocks are run by bash against a running system."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import PARTS, running

pytestmark = pytest.mark.acceptance
ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/howto/first-payment.md"


def printed() -> str:
    """The page's commands, but for the one that starts the system."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks[0] == "make run\n"
    return "".join(blocks[1:])


def test_the_page_leads_from_a_token_to_a_paid_order_and_back(tmp_path: Path) -> None:
    """Every command succeeds as it stands, and what is printed is what the page says."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    with running(tmp_path / ".payflow", parts=PARTS):
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", printed()],
            cwd=tmp_path, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
            timeout=90, check=False,
        )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-2_000:] + ran.stderr[-2_000:]
    lines = ran.stdout.splitlines()
    said = [line for line in lines if line in ("completed", "confirmed", "Payment successful", "refunded")]
    assert said == ["completed", "confirmed", "Payment successful", "completed", "refunded"]
    assert any(line.startswith("http://127.0.0.1:") for line in lines), "the page to pay at is printed"
    assert '"why": "' in ran.stdout, "the timeline says why"

"""The examples are scripts: their folder, and the one with run_ranks, go on the path."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "tests" / "distributed")]

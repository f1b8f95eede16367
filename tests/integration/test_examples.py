"""The example scripts run as they stand."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_identify_stimuli(tmp_path):
    command = [sys.executable, str(EXAMPLES / "identify_stimuli.py"), str(tmp_path / "recording")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    share = float(printed.split("two-way identification ")[1].split()[0])
    assert share > 0.7

"""Python packages that only the bench needs, each pinned and in an environment of its own beside the lab's cache."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lab.paths import CACHE

ANSIBLE = "ansible-core==2.18.6"
MATPLOTLIB = "matplotlib==3.11.2"


def python(requirement: str) -> Path:
    """Interpreter of the environment that has it; made once."""
    venv = CACHE / "bench" / requirement.replace("==", "-")
    found = venv / "bin" / "python"
    if not (venv / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
        subprocess.run(
            [str(found), "-m", "pip", "install", "-q", "--disable-pip-version-check", requirement], check=True
        )
        (venv / "complete").touch()
    return found

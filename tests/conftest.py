"""What several test files share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def benchmark_data():
    """Path of a real benchmark file by name; skips where the folder is missing (set MASKGRPO_DATA)."""
    beside = next(Path(__file__).parents[2].glob("*/data/gsm8k_test.jsonl.gz"), Path("data") / "none").parent
    folder = Path(os.environ.get("MASKGRPO_DATA", beside))

    def find(name: str) -> str:
        if not (folder / name).is_file():
            pytest.skip(f"no benchmark data: {folder / name} is missing; MASKGRPO_DATA names their folder")
        return str(folder / name)

    return find

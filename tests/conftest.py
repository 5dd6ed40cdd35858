"""Fixtures every test may use: where the shared oracles and real data lie."""

import os
from pathlib import Path

import pytest

_SHARED = Path(__file__).resolve().parents[2] / "shared"


def _existing(path: Path) -> Path:
    if not path.is_dir():
        pytest.skip(f"{path.name}: the shared test material is not on this machine")
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photos with masks, the LVIS class table and more; `FASA_TEST_DATA` names another place."""
    return _existing(Path(os.environ.get("FASA_TEST_DATA", _SHARED / "data")))


@pytest.fixture(scope="session")
def shared_oracles() -> Path:
    """Expected outputs of the reference implementations."""
    return _existing(Path(os.environ.get("FASA_TEST_ORACLES", _SHARED / "oracles")))

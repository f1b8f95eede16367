import pytest

from braindiffuser.datasets.simulation.scenes import compose_scenes

from .picture_folders import N, write


@pytest.fixture
def folders(tmp_path):
    """A folder of scenes, and one of the same scenes mixed with others."""
    raw, _ = compose_scenes(N, seed=5)
    names = [f"{number:04d}" for number in range(N)]
    made = raw // 2 + compose_scenes(N, seed=6)[0] // 2
    return write(tmp_path / "seen", raw, names), write(tmp_path / "made", made, names)

"""A drawn subject with trials, betas, regions and pictures, from which the tests of readers write each layout; its truth."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

AFFINE = np.array([[2.0, 0, 0, -9], [0, 2.0, 0, -10], [0, 0, 2.0, -8], [0, 0, 0, 1]])


@dataclass
class Drawn:
    """What a reader must find again."""

    is_test: np.ndarray
    stimulus: np.ndarray
    session: np.ndarray
    run: np.ndarray
    betas: np.ndarray
    mask: np.ndarray
    rois: dict[str, np.ndarray]
    pictures: np.ndarray

    def volumes(self, rows) -> np.ndarray:
        """(x, y, z, n), 0 outside the mask."""
        volumes = np.zeros((*self.mask.shape, len(rows)), np.float32)
        volumes[self.mask] = self.betas[rows].T
        return volumes


def draw(seed: int, test_repeats: int = 4) -> Drawn:
    """Draw a subject; another seed has other numbers of pictures, voxels and trials."""
    rng = np.random.default_rng(seed)
    n_train, n_test, grid = 9 + seed, 3 + seed % 2, (5, 4 + seed, 3)
    is_test = np.isin(np.arange(n_train + n_test), rng.permutation(n_train + n_test)[:n_test])
    stimulus = rng.permutation(np.repeat(np.arange(len(is_test)), np.where(is_test, test_repeats, 1)))
    session = np.sort(rng.integers(1, 4, len(stimulus)))
    session[[0, len(session) // 2, -1]] = 1, 2, 3
    session = np.maximum.accumulate(session)
    mask = rng.random(grid) < 0.6
    n = np.count_nonzero(mask)
    kind = rng.permutation(np.arange(n) % 3)
    return Drawn(
        is_test,
        stimulus,
        session,
        run=1 + (np.arange(len(stimulus)) % 2),
        betas=rng.normal(size=(len(stimulus), n)).astype(np.float32),
        mask=mask,
        rois={"V1": kind == 0, "LOC": kind == 1},
        pictures=rng.integers(0, 255, (len(is_test), 1, 1, 3), np.uint8).repeat(16, 1).repeat(16, 2),
    )


def save_picture(path: Path, picture: np.ndarray) -> None:
    """Write one picture in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, **({"quality": 95} if path.suffix.lower() in (".jpg", ".jpeg") else {}))


def betas_of(recording) -> np.ndarray:
    """Return all betas, in the order of the trial table."""
    return np.concatenate([betas for _, betas in recording.sessions()])


def assert_equals(recording, drawn: Drawn, names, rois) -> None:
    """Compare trials, betas, split, regions and pictures with the truth, for a recording without imagery."""
    trials = recording.trials
    assert [recording.names[number] for number in trials["stimulus_id"]] == [names[i] for i in drawn.stimulus]
    assert trials["session"].tolist() == drawn.session.tolist()
    np.testing.assert_array_equal(betas_of(recording), drawn.betas)
    assert ((trials["split"] == "test") == drawn.is_test[drawn.stimulus]).all()
    for name, truth in rois.items():
        np.testing.assert_array_equal(recording.roi_masks[name], truth, err_msg=name)
    ids = np.array([number for number, name in recording.names.items() if name in names])
    truth = np.stack([drawn.pictures[names.index(recording.names[number])] for number in ids])
    shown = recording.pictures(ids).transpose(0, 2, 3, 1)
    assert np.abs(shown - truth / 255).max() < 0.03  # JPEG


def assert_files_are_listed(part) -> None:
    """Compare the files that sessions name with the part's list, and each with the disk."""
    listed, recording = part.files(), part.open(Path())
    assert all(path.is_file() for files in listed.values() for path in files.values())
    for session in recording.session_numbers:
        assert recording.session_files(session)
        assert set(recording.session_files(session)) <= set(listed["betas"])
    assert len(listed["stimuli"]) == len({recording.pictures.paths[number] for number in recording.names})

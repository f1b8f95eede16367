"""A recording with a last session of test trials alone: which normalisations take it, and what the page says."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from braindiffuser.errors import RecordingError
from braindiffuser.experiment import Experiment
from braindiffuser.recording_check import check_recording
from braindiffuser.run import Run

N_STIMULI, N_VOXELS = 24, 60
LEARNS = "Test responses entered the normalisation: session 3 has no training trials"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Two sessions of two runs with training and test pictures, and one of test pictures."""
    folder, rng = tmp_path_factory.mktemp("lab"), np.random.default_rng(0)
    (folder / "pictures").mkdir()
    for number in range(N_STIMULI):
        raw = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(raw).save(folder / "pictures" / f"p{number:02}.png")
    shown = np.concatenate([rng.permutation(N_STIMULI), rng.permutation(N_STIMULI), np.repeat(np.arange(6), 4)])
    session = np.repeat([1, 2, 3], 24)
    signal = rng.normal(size=(N_STIMULI, N_VOXELS))
    betas = 300 * (signal[shown] + rng.normal(size=(len(shown), N_VOXELS)) + 0.3 * session[:, None])
    np.save(folder / "responses.npy", betas.astype(np.float32))
    columns = {
        "session": session,
        "run": np.arange(len(shown)) // 12 % 2 + 1,
        "stim_file": [f"p{number:02}.png" for number in shown],
        "split": np.where(shown < 6, "test", "train"),
    }
    pd.DataFrame(columns).to_csv(folder / "trials.csv", index=False)
    return folder


def file_of(lab, normalisation):
    path = lab / f"{normalisation}.yaml"
    path.write_text(
        "preset: demo\nname: lab\n"
        "dataset: {kind: arrays, responses: responses.npy, unit: raw, trials: trials.csv, pictures: pictures}\n"
        f"responses: {{normalisation: {normalisation}, rows: trials}}\n"
    )
    return path


def prepared(lab, normalisation, folder):
    said = []
    experiment = Experiment.load(file_of(lab, normalisation))
    run = Run.open(experiment, folder, progress=lambda label, done, total: said.append(label))
    run.do("prepare")
    section = run.results.read_json("sections/prepare.recording.json")
    texts = [block["text"] for block in section["blocks"] if block["type"] == "text"]
    assert set(texts) <= set(said)
    return run.results, texts


@pytest.mark.parametrize("normalisation", ["session", "run"])
def test_a_session_of_test_trials_is_refused_with_the_choices(lab, normalisation, tmp_path):
    words = "session 3 has 0 training trials.* choose session-all-trials.* training or none"
    with pytest.raises(RecordingError, match=words):
        prepared(lab, normalisation, tmp_path)
    with pytest.raises(RecordingError, match=words):
        list(check_recording(str(file_of(lab, normalisation))))


@pytest.mark.parametrize("normalisation", ["training", "session-all-trials", "none"])
def test_what_learns_from_test_responses_is_called_so(lab, normalisation, tmp_path):
    results, texts = prepared(lab, normalisation, tmp_path)
    learns = normalisation == "session-all-trials"
    checked = list(check_recording(str(file_of(lab, normalisation))))
    assert any(text.startswith(LEARNS) for text in texts) == learns
    assert any(LEARNS in line for line in checked) == learns
    assert any("a penalty alpha acts as alpha" in text for text in texts) == (normalisation == "none")
    train, trials = results.read_array("responses/train"), results.read_array("responses/trials")
    rows = results.read_array("responses/stimulus_of_trial")
    np.testing.assert_allclose(
        [trials[rows == row].mean(0) for row in range(len(train))], train, rtol=1e-3, atol=1e-3 * np.abs(train).max()
    )

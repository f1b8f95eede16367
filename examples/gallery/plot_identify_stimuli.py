"""
Which picture was it?
=====================

Before any picture is made, decoded embeddings can already tell stimuli apart: this counts how often.
"""

# %%
# A recording of a small simulated subject, in NSD's own file layout; `open_nsd` would read the real one in the same way.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from braindiffuser import Experiment, RidgeCV, SimulatedSubject, images, open_nsd, simulate
from braindiffuser.datasets import average_responses, open_stimuli
from braindiffuser.metrics.two_way_identification import two_way_estimate
from braindiffuser.networks import load_clip
from braindiffuser.targets import extract_vision_tokens

folder = tempfile.TemporaryDirectory()
place = Path(folder.name) / "recording"
subject = SimulatedSubject(n_train=150, n_test=30, trials_per_session=90, n_early=300, n_higher=300, grid=(14, 16, 14))
recording = open_nsd(simulate(place, subject), subject=1)
print(recording.trials.head())
print({name: int(mask.sum()) for name, mask in recording.roi_masks.items()})

# %%
# Responses are betas averaged over repeats; all statistics come from training trials. One decoder is fitted from voxels to CLIP's
# vision tokens.

responses = average_responses(recording)
stimuli = open_stimuli(place)
clip = load_clip(Experiment.load("demo").checkpoints["targets.vision.checkpoint"])


def embed(stimulus_ids):
    """Give one flat embedding a stimulus."""
    tokens = extract_vision_tokens(clip, images.from_uint8(stimuli.pictures(stimulus_ids)))
    return tokens.reshape(len(tokens), -1)


decoder = RidgeCV([1e2, 1e3, 1e4]).fit(responses.train, embed(responses.train_ids))
predicted, seen = decoder.predict(responses.test), embed(responses.test_ids)

# %%
# For each test stimulus: how often does its decoded embedding correlate more with its own than with another's?

share, low, high = two_way_estimate(seen, predicted)
print(f"two-way identification {share:.3f}  (95 % interval {low:.3f} to {high:.3f}, chance 0.5)")

# %%
# The same as a picture: where the diagonal is darker than its row, the stimulus is told from the others.

n = len(seen)
correlations = np.corrcoef(predicted, seen)[:n, n:]
figure, axes = plt.subplots(figsize=(4.6, 3.8))
drawn = axes.imshow(correlations, cmap="Blues")
axes.set(xlabel="embedding of each test stimulus", ylabel="decoded embedding")
figure.colorbar(drawn, label="correlation")
figure.tight_layout()
folder.cleanup()

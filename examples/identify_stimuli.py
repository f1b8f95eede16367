# %% [markdown]
# # Which picture was it?
# Before any picture is made, decoded embeddings can already tell stimuli apart. This simulates a small subject, fits one decoder
# from voxels to CLIP's vision tokens, and asks for each test stimulus how often its own embedding is closer than another's.

# %%
import sys
from pathlib import Path
from tempfile import mkdtemp

from braindiffuser import Experiment, RidgeCV, SimulatedSubject, images, open_nsd, simulate
from braindiffuser.datasets import average_responses, open_stimuli
from braindiffuser.metrics.two_way_identification import two_way_estimate
from braindiffuser.networks import load_clip
from braindiffuser.targets import extract_vision_tokens

folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(mkdtemp()) / "recording"

# %% [markdown]
# A recording in NSD's own file layout; `open_nsd` would read the real one in the same way.

# %%
subject = SimulatedSubject(n_train=150, n_test=30, trials_per_session=90, n_early=300, n_higher=300, grid=(14, 16, 14))
recording = open_nsd(simulate(folder, subject), subject=1)
print(recording.trials.head())
print({name: int(mask.sum()) for name, mask in recording.roi_masks.items()})

# %% [markdown]
# Responses: betas averaged over repeats. All statistics come from training trials.

# %%
responses = average_responses(recording)
stimuli = open_stimuli(folder)
clip = load_clip(Experiment.load("demo").checkpoints["targets.vision.checkpoint"])


def embed(stimulus_ids):
    """Give one flat embedding a stimulus."""
    tokens = extract_vision_tokens(clip, images.from_uint8(stimuli.pictures(stimulus_ids)))
    return tokens.reshape(len(tokens), -1)


# %%
decoder = RidgeCV([1e2, 1e3, 1e4]).fit(responses.train, embed(responses.train_ids))
predicted, seen = decoder.predict(responses.test), embed(responses.test_ids)
share, low, high = two_way_estimate(seen, predicted)
print(f"two-way identification {share:.3f}  (95 % interval {low:.3f} to {high:.3f}, chance 0.5)")

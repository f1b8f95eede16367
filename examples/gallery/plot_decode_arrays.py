"""
Decode your own arrays
======================

Responses and features as arrays: fit a decoder, and see how good it is and why it was regularised as it was.
"""

# %%
# Responses of 300 pictures in 400 voxels, each picture shown twice; features as of a small network, of falling variance. Every
# trial has noise of its own.

import matplotlib.pyplot as plt
import numpy as np

import braindiffuser

rng = np.random.default_rng(0)
n_pictures, n_voxels, n_features = 300, 400, 64
features = rng.standard_normal((n_pictures, n_features)) @ np.diag(np.geomspace(1, 0.05, n_features))
tuning = rng.standard_normal((n_features, n_voxels))
picture_ids = np.tile(np.arange(n_pictures), 2)
responses = features[picture_ids] @ tuning + 4 * rng.standard_normal((2 * n_pictures, n_voxels))

# %%
# Pictures, not trials, are divided into those for training and for testing: two trials of one picture share what the picture
# evokes. `groups` does the same inside the choice of alpha.

train = picture_ids < 240
decoder = braindiffuser.RidgeCV([1e1, 1e2, 1e3, 1e4, 1e5])
decoder.fit(responses[train], features[picture_ids[train]], groups=picture_ids[train])
print(f"alpha: {decoder.alpha_:g}")

# %%
# Test responses are averages over repeats, which have less noise than trials.

test = np.arange(240, n_pictures)
averages = np.stack([responses[picture_ids == picture].mean(axis=0) for picture in test])
predicted = decoder.predict(averages)
correlation = np.array([np.corrcoef(predicted[:, k], features[test, k])[0, 1] for k in range(n_features)])

figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
axes[0].semilogx(decoder.alphas, decoder.cv_scores_.mean(axis=1), "o-", color="#0b6e4f")
axes[0].axvline(decoder.alpha_, color="#8a8a8a", linestyle=":")
axes[0].set(xlabel="alpha", ylabel="mean R² of left-out pictures")
axes[1].plot(correlation, "o", color="#0b6e4f")
axes[1].axhline(0, color="#8a8a8a", linestyle=":")
axes[1].set(xlabel="feature, of falling variance", ylabel="correlation over 60 test pictures")

# %%
# Features of small variance are lost in the noise: the decoder predicts their mean. A few of them correlate by chance, up to
# ±0.25 with 60 pictures, which is why a run's page gives an interval and what chance would be.

"""A run whose truth is known: two groups of targets, each carried by voxels of its own; a generator shows latents as pixels."""

from dataclasses import fields, replace

import numpy as np

from braindiffuser.analyses.analysis import RunData
from braindiffuser.analyses.run_decoders import RunDecoders
from braindiffuser.datasets.known_regions import KnownRegions
from braindiffuser.datasets.responses import SingleTrials
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.progress import silent
from braindiffuser.regression.ridge import RidgeRegression
from braindiffuser.regression.rows import TrainingRows

SIDE = 12
N_TRAIN, N_TEST, N_VOXELS = 160, 40, 60
REGIONS = {"V1": slice(0, 20), "V2": slice(20, 30), "faces": slice(30, 50), "places": slice(50, 60)}


def linear_world(seed=0, calibration="inductive", shuffled=False, pixels=SIDE, trial_noise=2.0):
    """V1 and V2 carry `latents`, faces and places carry `vision`; with `shuffled`, the regions' labels say nothing.

    The category "face" adds to one axis of `vision`, which the voxels of faces respond to alone.
    """
    rng = np.random.default_rng(seed)
    n = N_TRAIN + N_TEST
    is_face = rng.random(n) < 0.5
    latents, vision = rng.standard_normal((n, pixels * pixels)) @ smoothing(pixels), rng.standard_normal((n, 30))
    vision[:, 0] = 3 * (is_face - 0.5) + 0.3 * vision[:, 0]
    weights = {
        "latents": rng.standard_normal((pixels * pixels, 30)) / pixels,
        "vision": rng.standard_normal((30, 30)) / 5,
    }
    weights["vision"][0] = [1.0] * 20 + [0.0] * 10
    signal = np.concatenate([latents @ weights["latents"], vision @ weights["vision"]], axis=1)
    responses = (signal + 0.3 * rng.standard_normal(signal.shape)).astype(np.float32)
    responses -= responses[:N_TRAIN].mean(axis=0)
    rows = TrainingRows(responses[:N_TRAIN])
    truth = {"latents": latents.astype(np.float32), "vision": vision.astype(np.float32)}
    targets = {name: values[:N_TRAIN] for name, values in truth.items()}
    regressor = RidgeRegression(default_alphas=(1.0, 10.0, 100.0), calibration=calibration)
    decoders = RunDecoders(regressor, regressor.fit(rows, targets, "cpu"), rows, targets)
    predictions = decoders.decode(responses[N_TRAIN:])
    order = rng.permutation(N_VOXELS) if shuffled else np.arange(N_VOXELS)
    rois = {name: np.isin(np.arange(N_VOXELS), order[where]) for name, where in REGIONS.items()}
    seen = show({"latents": truth["latents"]}, pixels)
    split = {"train": slice(0, N_TRAIN), "test": slice(N_TRAIN, n)}

    def draw(features, ids, changes=None, begun=None):
        low = show(features, pixels)
        return {"low_level": low, "full": low}

    def trials(side):
        """Three trials of each stimulus, one in each of three sessions, whose averages are the responses."""
        own = responses[split[side]]
        noise = np.random.default_rng((seed, len(own))).standard_normal((3, *own.shape))
        noise -= noise.mean(axis=0)
        single = np.concatenate([own + trial_noise * each for each in noise]).astype(np.float32)
        return SingleTrials(single, np.tile(np.arange(len(own)), 3), np.repeat([1, 2, 3], len(own)), False)

    return RunData(
        subject="subj01",
        rois=rois,
        known_regions=KnownRegions(rois),
        noise_ceiling=np.random.default_rng(1).uniform(5, 60, N_VOXELS),
        test_sets={"test": slice(0, N_TEST)},
        responses=lambda side: responses[split[side]],
        stimulus_ids=lambda side: np.arange(n)[split[side]],
        predictions=lambda group: predictions[group],
        truth=lambda group: truth[group][N_TRAIN:],
        groups=("latents", "vision"),
        drawn_groups=("latents", "vision"),
        is_linear=True,
        draw=draw,
        per_image=lambda: None,
        progress=lambda label, done, total: None,
        seed=0,
        device="cpu",
        decoders=lambda: decoders,
        voxels=lambda: Voxels.in_volume(np.ones((3, 4, 5), bool)),
        stimuli=lambda side: table(is_face[split[side]]),
        n_pictures=lambda: n,
        captions=lambda side: [("a face",) if face else ("a house",) for face in is_face[split[side]]],
        seen=lambda side: seen[split[side]],
        made=lambda kind: seen[N_TRAIN:],
        score=lambda pictures, name, chosen=None: score(pictures, seen[N_TRAIN:], chosen),
        metrics=lambda: {
            "pixcorr": {"label": "PixCorr", "chance": None, "higher_is_better": True, "bounds": [-1.0, 1.0]},
            "rank": {"label": "Rank", "chance": 0.5, "higher_is_better": True, "bounds": [0.0, 1.0]},
        },
        trials=trials,
        chain=("low_level", "full"),
        generator={"diffusion": {"strength": 0.4}},
    )


def run_of(**known):
    """A run of which some things are known; all others must not be asked for."""
    others = {
        "subject": "subj01",
        "rois": {},
        "known_regions": KnownRegions(known.get("rois", {})),
        "test_sets": {},
        "drawn_groups": (),
        "is_linear": True,
        "device": "cpu",
        "seed": 0,
        "progress": silent,
        "chain": ("full",),
        "generator": {},
        "kept_each": lambda items, compute: map(compute, items.values()),
    }
    return RunData(**{field.name: {**others, **known}.get(field.name, refuse) for field in fields(RunData)})


def refuse(*_):
    raise AssertionError("this was not declared")


def smoothing(side):
    """Neighbouring pixels have much in common, as in pictures."""
    places = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2)
    return np.exp(-np.square(places[:, None] - places).sum(-1) / 8)


def show(features, side):
    grey = 1 / (1 + np.exp(-features["latents"].reshape(-1, 1, side, side) / 4))
    return np.repeat(grey, 3, axis=1).astype(np.float32)


def table(is_face):
    import pandas as pd

    return pd.DataFrame({"category": np.where(is_face, "face", "house")})


def score(made, seen, chosen):
    from braindiffuser.metrics.two_way_identification import two_way_identification

    seen = seen if chosen is None else seen[chosen]
    flat = [values.reshape(len(values), -1).astype(np.float64) for values in (seen, made)]
    correlations = [np.corrcoef(a, b)[0, 1] if b.std() else 0.0 for a, b in zip(*flat, strict=True)]
    return {"pixcorr": np.array(correlations), "rank": two_way_identification(*flat)}


def world_of_pictures(copies=(), nearer=False, farther=False, seed=0):
    """The linear world with pictures of its own: test pictures at some places are copies of training pictures."""
    import pandas as pd

    data = linear_world(seed)
    rng = np.random.default_rng(seed)
    n = N_TRAIN + 40
    pictures = rng.random((n, 3, 16, 16), dtype=np.float32)
    train = np.asarray(data.decoders().targets["vision"])
    truth = data.truth("vision").copy()
    if nearer:
        truth = train[:40] + 0.05 * rng.standard_normal(truth.shape).astype(np.float32)
    if farther:
        truth = truth * np.where(np.arange(30) < 15, 0, 4).astype(np.float32)
    for number, (place, row) in enumerate(copies):
        pictures[N_TRAIN + place] = np.clip(pictures[row] + 0.01 * number, 0, 1)
        truth[place] = train[row]
    seen = {"train": pictures[:N_TRAIN], "test": pictures[N_TRAIN:]}
    scores = pd.DataFrame({"number": np.arange(40), "pixcorr": rng.random(40), "rank": rng.random(40)})
    ids = {"train": 1000 + np.arange(N_TRAIN), "test": np.arange(40)}
    return replace(
        data,
        seen=lambda side: seen[side],
        truth=lambda group: truth if group == "vision" else data.truth(group),
        stimulus_ids=lambda side: ids[side],
        per_image=lambda: scores,
    )

"""Memory and time of a run's scores and its page at the paper's size: 982 test pictures of 512 pixels a side.

    python benchmarks/scoring.py [--pictures 982] [--size 512] [--json FILE]

Pictures are smooth noise, stimuli have 425 pixels a side, and networks have random weights. All five networks of the paper's
table are in memory, but only AlexNet, whose features are the widest, computes: in place of the others' features stands a
small copy of the picture, so their part of the time is not in the result.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
import pandas as pd
from PIL import Image
from torch import nn

from braindiffuser.arrays import Matrix, Pictures
from braindiffuser.datasets.nsd_layout import open_stimuli
from braindiffuser.datasets.recording import TRIAL_COLUMNS, Recording
from braindiffuser.datasets.voxels import Voxels
from braindiffuser.experiment import Experiment
from braindiffuser.images import from_uint8, resize
from braindiffuser.machine import machine, versions
from braindiffuser.metrics import published_networks
from braindiffuser.metrics.metric import FeatureNetwork
from braindiffuser.metrics.published_networks import NETWORKS, feature_network
from braindiffuser.networks.cache import NetworkCache
from braindiffuser.recording_hashes import RecordingHashes
from braindiffuser.stages import StageContext, stages
from braindiffuser.store.draft import Draft
from braindiffuser.store.results import Store

N_TRAIN, STIMULUS_SIDE, N_DISTINCT = 1_000, 425, 64
KINDS = ("low_level", "final", "from_true_features", "without_low_level")
Result = dict[str, Any]


def make_run(folder: Path, n_pictures: int, size: int) -> None:
    """Write all that `evaluate` and `report` read."""
    rng = np.random.default_rng(0)
    stimuli = folder / "nsd" / "nsddata_stimuli" / "stimuli" / "nsd"
    stimuli.mkdir(parents=True)
    with h5py.File(stimuli / "nsd_stimuli.hdf5", "w") as file:
        shape = (n_pictures + N_TRAIN, STIMULUS_SIDE, STIMULUS_SIDE, 3)
        brick = file.create_dataset("imgBrick", shape, np.uint8)
        distinct = [np.asarray(smooth(rng, STIMULUS_SIDE)) for _ in range(N_DISTINCT)]
        for number in range(len(brick)):
            brick[number] = distinct[number % N_DISTINCT]
    store = Store(folder / "run")
    for kind in KINDS:
        for number in range(n_pictures):
            path, same = (store.picture_path(kind, k) for k in (number, number % N_DISTINCT))
            path.parent.mkdir(parents=True, exist_ok=True)
            if path == same:
                smooth(rng, size).save(path)
            else:
                os.link(same, path)
    prepared = store.draft("prepare.stimuli", "benchmark")
    prepared.write_array("stimuli/test_ids", np.arange(n_pictures))
    prepared.write_array("stimuli/train_ids", np.arange(n_pictures, n_pictures + N_TRAIN))
    prepared.write_table("trials.csv", pd.DataFrame({"stimulus_id": np.arange(n_pictures)}))
    prepared.write_array("ncsnr", np.ones(4, np.float32))
    prepared.write_array("responses/n_repeats_test", np.full(n_pictures, 3))
    prepared.write_bundle("rois.npz", {"V1": np.ones(4, bool)})
    prepared.write_json("test_sets.json", {"test": [0, n_pictures]})
    prepared.write_json("subject.json", {"subject": "subj01", "simulated": True})
    store.publish("prepare.stimuli", prepared, facts_of(prepared))
    content = experiment(folder).model_dump(mode="json")
    store.update_manifest(uid="benchmark", experiment=content, seed=0, versions=versions(), machine=machine())


def smooth(rng: np.random.Generator, side: int) -> Image.Image:
    """Draw a picture of smooth noise."""
    coarse = rng.integers(256, size=(12, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def experiment(folder: Path) -> Experiment:
    """Make the demonstration's experiment, with the paper's metrics."""
    changes = {
        "dataset": {"kind": "nsd", "root": folder / "nsd"},
        "evaluation": {"profile": "brain-diffuser-2023"},
        "analyses": [],
    }
    return Experiment.load("demo").changed(changes)


def recording(folder: Path) -> Recording:
    """Make a recording of which only the pictures are real."""
    stimuli = open_stimuli(folder / "nsd")
    return Recording(
        subject="subj01",
        trials=pd.DataFrame(columns=list(TRIAL_COLUMNS)),
        voxels=Voxels(4),
        unit="percent",
        roi_masks={},
        read_session=lambda session: np.empty((0, 4), np.float32),
        pictures=lambda ids: from_uint8(stimuli.pictures(ids)),
    )


def random_networks(
    names: Collection[str], folder: Path, device: str = "cpu"
) -> tuple[dict[str, FeatureNetwork], dict[str, str]]:
    """Build the networks, in place of loading them from files that are not here."""
    built = {name: NETWORKS[name].build() for name in names}
    return {
        name: feature_network(network, NETWORKS[name], device) if name == "alexnet" else stand_in(name, network)
        for name, network in built.items()
    }, {}


def stand_in(name: str, network: nn.Module) -> FeatureNetwork:
    """Keep a network in memory and give small pictures for its features."""

    def small_picture(pictures: Pictures) -> dict[str, Matrix]:
        network.eval()
        return {layer: resize(pictures, 16).reshape(len(pictures), -1) for layer in NETWORKS[name].layers}

    return small_picture


def evaluate(folder: Path) -> None:
    """Score."""
    with patch.object(published_networks, "load_published_networks", random_networks):
        do("evaluate", folder)


def report(folder: Path) -> None:
    """Write the page."""
    do("report", folder)


def do(stage: str, folder: Path) -> None:
    """Do a stage, whatever was done before."""
    store = Store(folder / "run")
    hashes = RecordingHashes(store, {}, silent)
    context = StageContext(
        experiment=experiment(folder),
        results=store,
        manifest=lambda: store.manifest,
        finished=lambda: {step: store.record(step) or {} for step in store.steps()},
        open_recording=lambda: recording(folder),
        hashes=hashes,
        networks=NetworkCache(),
        progress=silent,
        settings=lambda step: {},
    )
    draft = store.draft(stage, "benchmark")
    for _ in stages()[stage].compute(context, {"": draft}):
        store.publish(stage, draft, facts_of(draft))


def facts_of(draft: Draft) -> dict[str, Any]:
    """Make a record, whose inputs nobody will compare."""
    inputs: dict[str, Any] = {"settings": {}, "contents": {}, "needs": {}, "available": []}
    return {"uid": "benchmark", "key": draft.key, **inputs, "versions": versions(), "finished": ""}


def silent(label: str, done: int, total: int) -> None:
    """Tell nobody of the progress."""


def measured(work: Callable[[Path], None], folder: Path) -> Result:
    """Do a part in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_with_peak, (work, folder))


def _with_peak(work: Callable[[Path], None], folder: Path) -> Result:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    started = time.perf_counter()
    work(folder)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": round(seconds, 1), "imports_gb": round(before, 2), "peak_rss_gb": round(peak, 2)}


def main() -> None:
    """Make a run, score it, write its page, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=982)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    result: Result = {"pictures": arguments.pictures, "size": arguments.size}
    with tempfile.TemporaryDirectory() as folder:
        make_run(Path(folder), arguments.pictures, arguments.size)
        for work in (evaluate, report):
            result[work.__name__] = measured(work, Path(folder))
    print(json.dumps(result, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

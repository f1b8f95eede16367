"""Whether readers find what tiny recordings of other layouts hold, for any seeds.

    python benchmarks/layouts.py --layouts FOLDER --seeds 0 1 2 --json FILE

FOLDER holds scripts that each write one recording (`python NAME.py OUT`, `LAYOUT_SEED=n` draws another subject) with its truth in
`truth.npz`. Printed per layout and seed: the largest difference between responses that a reader leads to and those averaged here
from the truth, and whether stimuli, split, regions and captions are equal. A layout without captions has none to compare.
A script that no reader is known for is printed with `reader` null.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from braindiffuser.datasets.dataset import Dataset
from braindiffuser.datasets.recording import Recording
from braindiffuser.datasets.responses import average_responses
from braindiffuser.experiment import AnyDataset
from braindiffuser.splits.layout import Layout
from braindiffuser.splits.listed import Listed
from braindiffuser.splits.split import Split

ANY: TypeAdapter[Dataset] = TypeAdapter(AnyDataset)
ROIS = ("V1", "V2", "LOC")
UNITED = {"EarlyVis": ("V1", "V2")}
"""Region that a layout gives → those of the truth that it unites."""


def ways(name: str, folder: Path) -> dict[str, tuple[dict[str, Any], Split]]:
    """Return label → entries of `dataset`, and split, for every way to read what a script wrote."""
    root = str(folder)
    masks = {region: f"{root}/roi_{region}.nii.gz" for region in ROIS}
    glmsingle = {
        "kind": "glmsingle",
        "conditions": f"{root}/conditions.csv",
        "pictures": f"{root}/stimuli",
        "rois": masks,
    }
    arrays = {"responses": f"{root}/responses.npy", "trials": f"{root}/trials.csv", "rois": f"{root}/rois.npz"}
    bids = {"kind": "bids", "root": root, "unit": "percent", "task": "scenes", "space": "T1w", "desc": "LSS"}
    bdata = {"responses": f"{root}/Subject1.h5", "pictures": f"{root}/images", "regions": ["VC"]}
    known: dict[str, dict[str, tuple[dict[str, Any], Split]]] = {
        "arrays": {
            "arrays": ({"kind": "arrays", **arrays, "pictures": f"{root}/pictures", "unit": "percent"}, Layout())
        },
        "bids_lss": {"bids": (bids, Listed(test=folder / "test_pictures.txt"))},
        "bold5000": {"bold5000": ({"kind": "bold5000", "root": root, "subject": "CSI1"}, Layout())},
        "glmsingle": {
            f"glmsingle {suffix}": (
                {
                    **glmsingle,
                    "betas": f"{root}/outputs/TYPED_FITHRF_GLMDENOISE_RR.{suffix}",
                    "mask": f"{root}/mask.nii.gz",
                },
                Layout(),
            )
            for suffix in ("hdf5", "mat", "npy")
        },
        "kamitani_bdata": {"bdata": ({"kind": "bdata", **bdata, "unit": "percent"}, Layout())},
        "things": {"things": ({"kind": "things", "root": root, "subject": 1, "unit": "percent"}, Layout())},
        "laion_fmri": {"laion_fmri": ({"kind": "laion_fmri", "root": root, "subject": "sub-01"}, Layout())},
    }
    return known.get(name, {})


def captions_written(folder: Path, truth: Mapping[str, np.ndarray]) -> dict[str, tuple[str, ...]]:
    """Return picture → all its captions by people, the best first: the truth has the best of each, LAION-fMRI's table all."""
    best = dict(zip(map(str, truth["names"]), map(str, truth["captions"]), strict=True))
    table = folder / "stimuli" / "task-images_desc-captions.csv"
    if not table.is_file():
        return {name: (caption,) for name, caption in best.items()}
    with table.open(newline="", encoding="utf-8") as file:
        human = [row for row in csv.DictReader(file) if row["source"] == "human"]
    human.sort(key=lambda row: int(row["caption_idx"]))
    return {name: tuple(row["caption"] for row in human if row["image_name"] == name) for name in best}


def compare(
    recording: Recording, truth: Mapping[str, np.ndarray], captions_of: Mapping[str, tuple[str, ...]]
) -> dict[str, Any]:
    """Compare what a reader made of a recording with its truth, stimulus by stimulus, and with all captions of each."""
    responses = average_responses(recording, "training")
    names = [str(name) for name in truth["names"]]
    shown = {
        split: [recording.names[int(number)] for number in getattr(responses, f"{split}_ids")]
        for split in ("train", "test")
    }
    found = {split: [names.index(name) for name in shown[split] if name in names] for split in shown}
    expected = averaged(truth, found["train"], found["test"])
    difference = max(np.abs(getattr(responses, split) - expected[split]).max() for split in shown)
    tested = {names[number] for number in np.flatnonzero(truth["is_test"])}
    seen = {names[number] for number in np.unique(truth["stimulus"])}
    regions = [
        np.array_equal(mask, np.any([truth[f"roi_{name}"] for name in UNITED.get(region, (region,))], axis=0))
        for region, mask in recording.roi_masks.items()
        if region in (*ROIS, *UNITED)
    ]
    captions = None
    if recording.captions is not None:
        read = {name: tuple(recording.captions(number)) for number, name in recording.names.items()}
        captions = all(read[name] == captions_of.get(name) for name in read) and all(
            read[name][0] == truth["captions"][names.index(name)] for name in read
        )
    return {
        "max_abs_diff": float(difference),
        "stimuli_equal": {*shown["train"], *shown["test"]} == seen,
        "split_equal": set(shown["test"]) == tested and set(shown["train"]) == seen - tested,
        "rois_equal": len(regions) >= 2 and all(regions),
        "captions_equal": captions,
    }


def averaged(truth: Mapping[str, np.ndarray], train: list[int], test: list[int]) -> dict[str, np.ndarray]:
    """Average the truth's betas over repeats, and z-score them by those that train."""
    mean = {
        split: np.stack(
            [truth["betas"][truth["stimulus"] == number].mean(axis=0, dtype=np.float64) for number in numbers]
        )
        for split, numbers in {"train": train, "test": test}.items()
    }
    centre, spread = mean["train"].mean(axis=0), mean["train"].std(axis=0, ddof=1)
    return {split: (values - centre) / spread for split, values in mean.items()}


def main() -> None:
    """Write recordings, read them, and print what is equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layouts", type=Path, required=True, help="folder of the scripts")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for script in sorted(options.layouts.glob("*.py")):
            if not ways(script.stem, options.layouts):
                print(json.dumps({"layout": script.stem, "reader": None}), flush=True)
                continue
            for seed in options.seeds:
                folder = Path(place) / f"{script.stem}-{seed}"
                variables = {**os.environ, "LAYOUT_SEED": str(seed)}
                subprocess.run([sys.executable, str(script), str(folder)], check=True, env=variables, cwd=place)
                with np.load(folder / "truth.npz") as stored:
                    truth = dict(stored)
                for label, (entries, split) in ways(script.stem, folder).items():
                    dataset: Dataset = ANY.validate_python(entries)
                    recording = split.divide(dataset.open(folder))
                    found = compare(recording, truth, captions_written(folder, truth))
                    rows.append({"layout": script.stem, "reader": label, "seed": seed, **found})
                    print(json.dumps(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

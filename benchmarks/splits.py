"""Eight splits of one subject that share features, against three that share nothing: extraction and regression.

python benchmarks/splits.py [--preset demo|brain-diffuser] [--pictures 1200] [--json FILE]

A simulated subject is written to a temporary folder, decoded with the targets and the regression of the preset, and divided in
eight ways. Timed are the stages `extract` and `fit`: eight runs with one folder of shared features first, then three of the same
splits without. `ratio` is the seconds of the eight over those of the three; `processor_ratio` that of processor time, which other
programs lengthen less. `same_bytes` says whether targets, truth and predictions of these three are the same, byte for byte, with
and without.

Only extraction is shared, so the ratio depends on how much of the time it takes. The networks of brain-diffuser have their
published size and random weights here; those of the demo are a thousand times smaller.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from braindiffuser.datasets.simulation.simulate import simulate
from braindiffuser.datasets.simulation.subject import SimulatedSubject
from braindiffuser.experiment import Experiment
from braindiffuser.networks.checkpoint_folders import BUNDLED
from braindiffuser.networks.checkpoints import build_autoencoder, build_clip, build_unet, save_network
from braindiffuser.networks.clip import VIT_L14
from braindiffuser.networks.convert import KL_F8
from braindiffuser.networks.vdvae import IMAGENET64
from braindiffuser.networks.versatile import VersatileConfig
from braindiffuser.run import Run

N_SPLITS, N_SEPARATE, N_FOLDS = 8, 3, 4
ARRAYS = ("targets", "truth", "null", "predictions")


def experiments(root: Path, preset: str) -> list[Experiment]:
    """Return one experiment for each split: four folds, dealt in two ways."""
    named = Experiment.load(preset)
    demo = Experiment.load("demo").changed({"dataset": {"kind": "nsd", "root": str(root)}})
    own = demo.model_copy(update={name: getattr(named, name) for name in ("targets", "regression", "generator")})
    return [
        own.changed(
            {"split": {"kind": "folds", "n_folds": N_FOLDS, "seed": number // N_FOLDS, "fold": number % N_FOLDS}}
        )
        for number in range(N_SPLITS)
    ]


def timed(experiment: Experiment, folder: Path, shared: Path | None) -> dict[str, float]:
    """Do one run's stages up to its predictions, and return the seconds of those that are compared."""
    run = Run.open(experiment, folder, shared=shared)
    run.do("prepare")
    seconds = {}
    for stage in ("extract", "fit"):
        started = time.perf_counter(), time.process_time()
        run.do(stage)
        seconds[stage] = round(time.perf_counter() - started[0], 2)
        seconds[f"{stage}_processor"] = round(time.process_time() - started[1], 2)
    return seconds


def contents(folder: Path) -> dict[str, bytes]:
    """Return name → bytes of a run's arrays."""
    paths = [path for name in ARRAYS for path in (folder / "arrays" / name).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def write_networks(folder: Path) -> None:
    """Write the networks that the preset brain-diffuser's targets ask for, with random weights."""
    torch.manual_seed(0)
    bundled = BUNDLED / "demo" / "clip"
    words = json.loads((bundled / "config.json").read_text(encoding="utf-8"))["text_config"]
    ids = {name: words[name] for name in ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")}
    clip: dict[str, Any] = {**VIT_L14, "text_config": {**VIT_L14["text_config"], **ids}}
    save_network(folder / "clip", build_clip(clip), clip)
    shutil.copyfile(bundled / "tokenizer.json", folder / "clip" / "tokenizer.json")
    save_network(folder / "vdvae", IMAGENET64.build(), IMAGENET64.model_dump(mode="json"), torch.float32)
    unet = VersatileConfig(
        block_out_channels=(32, 32, 64, 64), attention_heads=4
    )  # a run asks for one; it draws nothing here
    save_network(folder / "unet", build_unet(unet.model_dump(mode="json")), unet.model_dump(mode="json"))
    narrow: dict[str, Any] = {**KL_F8, "block_out_channels": [8] * 4, "norm_num_groups": 4, "layers_per_block": 1}
    save_network(folder / "autoencoder", build_autoencoder(narrow), narrow)


def compared(n_pictures: int, preset: str) -> dict[str, Any]:
    """Time both ways on one simulated subject."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if preset == "brain-diffuser":
            os.environ["BRAINDIFFUSER_CHECKPOINTS"] = str(folder / "networks")
            write_networks(folder / "networks" / "brain-diffuser")
        subject = SimulatedSubject(
            n_train=n_pictures - n_pictures // 5, n_test=n_pictures // 5, n_held_out=0, trials_per_session=n_pictures
        )
        made = experiments(simulate(folder / "recording", subject), preset)
        shared = [timed(own, folder / f"shared-{i}", folder / "pool") for i, own in enumerate(made)]
        separate = [timed(own, folder / f"separate-{i}", None) for i, own in enumerate(made[:N_SEPARATE])]
        same = [contents(folder / f"shared-{i}") == contents(folder / f"separate-{i}") for i in range(N_SEPARATE)]
    totals = {way: _total(runs, "") for way, runs in (("shared", shared), ("separate", separate))}
    processor = {way: _total(runs, "_processor") for way, runs in (("shared", shared), ("separate", separate))}
    return {
        "preset": preset,
        "pictures": n_pictures,
        "threads": torch.get_num_threads(),
        "eight_shared": shared,
        "three_separate": separate,
        "seconds": {way: round(total, 1) for way, total in totals.items()},
        "ratio": round(totals["shared"] / totals["separate"], 3),
        "processor_seconds": {way: round(total, 1) for way, total in processor.items()},
        "processor_ratio": round(processor["shared"] / processor["separate"], 3),
        "same_bytes": all(same),
    }


def _total(runs: list[dict[str, float]], suffix: str) -> float:
    return sum(run[f"{stage}{suffix}"] for run in runs for stage in ("extract", "fit"))


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--preset", choices=("demo", "brain-diffuser"), default="demo", help="whose targets and regression"
    )
    parser.add_argument("--pictures", type=int, default=1200, help="pictures that the subject sees")
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    result = compared(arguments.pictures, arguments.preset)
    print(json.dumps(result, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

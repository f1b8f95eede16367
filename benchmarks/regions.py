"""What the analyses of regions find in a simulated subject, whose truth is known.

    python benchmarks/regions.py [--folder RUN] [--json FILE] [--n-train 900] [--n-images 30]

Four questions, each beside what shuffled labels give:

- Does the energy of the first stage's pictures of early regions lie where their receptive fields lie? For each region, the
  correlation over pixels of its energy map with the map of its receptive fields, with a bootstrap over patterns, beside random
  sets of early voxels. The four areas cover the same field, so their halves, which see half of it, are asked too.
- Are pictures of category regions put into their category by EfficientNet-Lite0, more than those of random voxels?
- Do maps of attribution recover the true selectivity and receptive fields? Rank correlations over voxels.
- Does leaving out early regions cost layout more than content, beyond random sets of as many voxels, and category regions the
  other way round?

It takes some tens of minutes of one core. The exit status is 0 whatever is found: the numbers are the result.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from safetensors.numpy import load_file
from scipy.stats import spearmanr

from braindiffuser.analyses.picture_measures import added_energy, centres
from braindiffuser.analyses.random_masks import shuffled_masks
from braindiffuser.analyses.roi_maximisation import maximise_from_training
from braindiffuser.datasets.simulation.brain import FIELD_OF_VIEW
from braindiffuser.datasets.simulation.subject import SimulatedSubject
from braindiffuser.experiment import Experiment
from braindiffuser.generators.low_level import reconstruct_low_level
from braindiffuser.machine import machine, versions
from braindiffuser.networks.checkpoints import load_vdvae
from braindiffuser.regression.regressor import Projection
from braindiffuser.report.ablation_section import ablation_section
from braindiffuser.report.sections import Text
from braindiffuser.run import Run
from braindiffuser.stages.fit import read_decoder, training_rows

N_RANDOM, N_SIGNS = 19, 16
AREAS = {"V1": (1, 2), "V2": (3, 4), "V3": (5, 6), "V4": (7,)}
Energy = Callable[[Float[np.ndarray, "n n_voxels"]], Float[np.ndarray, "n height width"]]


def make_run(folder: Path, n_train: int, n_images: int) -> Run:
    """Simulate a subject and run all that the four questions need."""
    subject = SimulatedSubject(
        n_train=n_train,
        n_test=60,
        trials_per_session=(n_train + 60) * 3 // 10,
        n_early=800,
        n_higher=800,
        grid=(18, 20, 18),
        seed=4,
    )
    content = {
        "name": "regions",
        "dataset": {"kind": "simulated", **subject.model_dump()},
        "pictures": {"ceiling": False, "ablations": []},
        "evaluation": {"n_resamples": 200},
        "analyses": [
            {"kind": "attribution", "n_random": 100},
            {"kind": "roi_maximisation", "n_samples": 4, "n_random": 40, "n_random_drawn": 20},
            {
                "kind": "roi_ablation",
                "regions": ["V1 | V2 | V3 | V4", "places | bodies | food"],
                "how": ["without"],
                "n_images": n_images,
                "n_random": 10,
                "n_random_drawn": 10,
            },
            {
                "kind": "roi_ablation",
                "name": "alone",
                "regions": ["V1 | V2 | V3 | V4", "places | bodies | food"],
                "how": ["only"],
                "n_images": n_images,
                "n_random": 10,
                "n_random_drawn": 10,
            },
        ],
    }
    run = Run.open(Experiment.load("demo").changed(content), folder, overwrite=True)
    for stage in ("prepare", "extract", "fit", "analyse"):
        run.do(stage)
    return run


def read_truth(run: Run) -> pd.DataFrame:
    """Read the table of the analysed voxels' true tuning."""
    voxels = pd.read_csv(run.results.folder / "nsd" / "truth" / "voxels.csv", keep_default_na=False, na_values=[""])
    return voxels[voxels["nsdgeneral"] > 0].reset_index(drop=True)


def low_level_energy(run: Run) -> Energy:
    """Return a function from voxel patterns to the energy that they add to the first stage's picture of the mean latents."""
    experiment, results = run.experiment, run.results
    rows, fitted = training_rows(experiment, results), {"latents": read_decoder(results, "latents")}
    targets = {"latents": results.open_array("targets/latents")}
    vdvae = load_vdvae(experiment.checkpoints["targets.latents.checkpoint"])
    low_level = experiment.generator.low_level  # type: ignore[attr-defined]

    def energy(patterns: Float[np.ndarray, "n n_voxels"]) -> Float[np.ndarray, "n height width"]:
        with_none = np.concatenate([np.zeros_like(patterns[:1]), patterns])
        found: Projection = dict(experiment.regression.project(fitted, rows, targets, with_none, "cpu"))["latents"]
        latents = maximise_from_training(found.values, found.training_mean, found.training_std)
        blocks = [
            reconstruct_low_level(vdvae, latents[k : k + 100], np.zeros(len(latents[k : k + 100]), np.int64), low_level)
            for k in range(0, len(latents), 100)
        ]
        pictures = np.concatenate(blocks)
        return added_energy(pictures[1:], np.repeat(pictures[:1], len(patterns), axis=0))

    return energy


def receptive_fields(voxels: pd.DataFrame, side: int) -> Float[np.ndarray, "n_voxels pixels"]:
    """Return the receptive field of each early voxel on the picture's pixels, with sum 1."""
    degrees = centres(side) * FIELD_OF_VIEW / 2
    x, y, size = (voxels[[name]].to_numpy(np.float64) for name in ("prf_x", "prf_y", "prf_size"))
    across, down = (np.exp(-np.square(d) / (2 * np.square(size))) for d in (degrees - x, -degrees - y))
    fields = (down[:, :, None] * across[:, None]).reshape(len(voxels), -1)
    shares: Float[np.ndarray, "n_voxels pixels"] = np.nan_to_num(fields / fields.sum(axis=1, keepdims=True))
    return shares


def early_regions(voxels: pd.DataFrame) -> dict[str, Bool[np.ndarray, " n_voxels"]]:
    """Return areas, their halves by hemisphere, and bands of eccentricity."""
    areas = {name: voxels["prf-visualrois"].isin(labels).to_numpy() for name, labels in AREAS.items()}
    sides = {
        f"{name}, {side} hemisphere": mask & (voxels["hemisphere"] == label).to_numpy()
        for name, mask in areas.items()
        for label, side in (("lh", "left"), ("rh", "right"))
    }
    bands = {f"eccentricity band {k}": (voxels["prf-eccrois"] == k).to_numpy() for k in range(1, 6)}
    return areas | sides | bands


def place_of_energy(run: Run) -> dict[str, Any]:
    """Correlate each region's energy map with its receptive fields.

    The map of one pattern of ones is a single picture, and noisy. A region's energy is the mean over patterns of random signs
    in its voxels: whatever they are excited or silent together for. Labels of all regions are shuffled together over early
    voxels, so that means over regions are held against means over sets that overlap as little.
    """
    voxels, energy = read_truth(run), low_level_energy(run)
    early = (voxels["kind"] == "early").to_numpy()
    rng, found = np.random.default_rng(0), {}
    r: dict[str, list[float]] = {}
    regions = early_regions(voxels)
    together = np.stack([mask[early] for mask in regions.values()])
    drawn_together = np.stack(list(shuffled_masks(together, N_RANDOM, np.random.default_rng(1))))
    for number, (name, mask) in enumerate(regions.items()):
        random = np.zeros((N_RANDOM, len(mask)), bool)
        random[:, early] = drawn_together[:, number]
        masks = np.concatenate([mask[None], random])
        signs = rng.choice([-1, 1], (N_SIGNS, 1, len(mask)))
        patterns = np.concatenate([masks[None], signs * masks]).astype(np.float32)
        maps = energy(patterns.reshape(-1, len(mask))).reshape(1 + N_SIGNS, 1 + N_RANDOM, -1)
        side = round(maps.shape[2] ** 0.5)
        fields = receptive_fields(voxels, side)[mask].mean(axis=0)
        ones, mean = maps[0], maps[1:].mean(axis=0)
        drawn = rng.integers(N_SIGNS, size=(500, N_SIGNS))
        r[name] = [float(np.corrcoef(fields, each)[0, 1]) for each in mean]
        found[name] = {
            "n_voxels": int(mask.sum()),
            **beside_random(r[name]),
            "interval": np.quantile(
                [np.corrcoef(fields, maps[1 + k, 0].mean(axis=0))[0, 1] for k in drawn], [0.025, 0.975]
            ).tolist(),
            "pattern_of_ones": beside_random([float(np.corrcoef(fields, each)[0, 1]) for each in ones]),
        }
    for what in ("hemisphere", "band"):
        found[f"mean over names with {what}"] = beside_random(
            np.mean([own for name, own in r.items() if what in name], axis=0).tolist()
        )
    return found


def beside_random(r: list[float]) -> dict[str, Any]:
    """Return the first value beside the others, which are those of random sets."""
    null = np.array(r[1:])
    return {
        "r": float(r[0]),
        "random_middle_95": np.quantile(null, [0.025, 0.975]).tolist(),
        "p": float((1 + (null >= r[0]).sum()) / (1 + len(null))),
    }


def categories_of_pictures(run: Run) -> dict[str, Any]:
    """Return the probability of a region's own category in its pictures, beside random sets of voxels."""
    measures = run.results.read_json("analyses/roi_maximisation.json")["further"]["measures"]
    expected = {"places": ("building", "landscape"), "bodies": ("animal",)}
    return {
        f"{region}: {category}, {variant}": by_region[region][category]
        for variant, by_region in measures.items()
        for region, names in expected.items()
        for category in names
        if region in by_region
    }


def recovered_maps(run: Run) -> dict[str, Any]:
    """Correlate maps of attribution with the truth over voxels."""
    results = run.results
    truth_folder, voxels = results.folder / "nsd" / "truth", read_truth(run)
    signals = load_file(truth_folder / "responses.safetensors")["responses"]
    scenes = pd.read_csv(truth_folder / "scenes.csv").set_index("stimulus_id")
    ids = results.read_array("stimuli/train_ids")
    chosen = np.ones(len(voxels), bool)
    found: dict[str, Any] = {}
    for category in ("animal", "building", "food", "landscape", "vehicle"):
        shown = (scenes.loc[ids, ["category", "background_category"]] == category).any(axis=1).to_numpy()
        effect = signals[ids][shown].mean(axis=0) - signals[ids][~shown].mean(axis=0)
        pattern = read_map(results.folder, f"category{category}")
        found[f"category {category}, all voxels"] = rank_correlation(pattern, effect, chosen)
        found[f"category {category}, higher voxels"] = rank_correlation(
            pattern, effect, (voxels["kind"] == "higher").to_numpy()
        )
    early = (voxels["kind"] == "early").to_numpy()
    found["place right, early voxels"] = rank_correlation(
        read_map(results.folder, "placeright"), voxels["prf_x"].to_numpy(np.float64), early
    )
    found["place up, early voxels"] = rank_correlation(
        read_map(results.folder, "placeup"), voxels["prf_y"].to_numpy(np.float64), early
    )
    return found


def read_map(folder: Path, label: str) -> Float[np.ndarray, " n_voxels"]:
    """Read a map of attribution over the analysed voxels."""
    path = next((folder / "analyses" / "attribution").glob(f"*_desc-{label}_statmap.nii.gz"))
    mask = nib.load(next((folder / "nsd").rglob("nsdgeneral.nii.gz"))).get_fdata() > 0
    values: Float[np.ndarray, " n_voxels"] = nib.load(path).get_fdata()[mask]
    return values


def rank_correlation(
    pattern: Float[np.ndarray, " n_voxels"], truth: Float[np.ndarray, " n_voxels"], among: Bool[np.ndarray, " n_voxels"]
) -> dict[str, Any]:
    """Spearman's correlation over voxels, its bootstrap interval, and the largest of shuffled maps."""
    own = among & np.isfinite(pattern) & np.isfinite(truth)
    a, b, rng = pattern[own], truth[own], np.random.default_rng(0)
    drawn = [rng.integers(len(a), size=len(a)) for _ in range(200)]
    resampled = [spearmanr(a[k], b[k]).statistic for k in drawn]
    shuffled = [spearmanr(rng.permutation(a), b).statistic for _ in range(200)]
    return {
        "rho": float(spearmanr(a, b).statistic),
        "interval": np.quantile(resampled, [0.025, 0.975]).tolist(),
        "largest_of_200_shuffled": float(np.max(shuffled)),
        "n_voxels": len(a),
    }


def division_of_labour(run: Run) -> dict[str, Any]:
    """Return the shares lost of all scores without early and without category regions, beside random sets.

    "random" of `layout_minus_content` has how much further the region lies than random sets of as many voxels, the paired
    interval over pictures, and p; "lost" of each score its share beside theirs. "said" are the page's verdicts.
    """
    facts, alone = (run.results.read_json(f"analyses/{name}.json") for name in ("roi_ablation", "alone"))
    found: dict[str, Any] = {
        region["name"]: {
            "n_voxels": region["n_voxels"],
            "without": region["ablations"]["without by masking"],
            "only": kept["ablations"]["only by masking"],
        }
        for region, kept in zip(facts["regions"], alone["regions"], strict=True)
    }
    found["whole"], found["nothing"] = facts["whole"], facts["nothing"]
    found["said"] = [
        block.text
        for own in (facts, alone)
        for block in ablation_section("roi_ablation", own, {}, 0).blocks
        if isinstance(block, Text) and block.style == "verdict"
    ]
    return found


def main() -> None:
    """Ask the four questions and print the answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="of the run, kept; a finished one is asked again")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--n-train", type=int, default=900)
    parser.add_argument("--n-images", type=int, default=30)
    options = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        run = make_run(options.folder or Path(temporary) / "run", options.n_train, options.n_images)
        result: dict[str, Any] = {
            "place_of_energy": place_of_energy(run),
            "categories_of_pictures": categories_of_pictures(run),
            "recovered_maps": recovered_maps(run),
            "division_of_labour": division_of_labour(run),
        }
    result |= {"seconds": time.perf_counter() - began, "machine": machine(), "versions": versions()}
    text = json.dumps(result, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

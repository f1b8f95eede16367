"""What the page of a run is made from, gathered from its folder; pictures stay on disk until they are drawn."""

from __future__ import annotations

from jaxtyping import Int
from numpy import ndarray

from braindiffuser import images
from braindiffuser._arrays import Pictures
from braindiffuser.images import PictureReader
from braindiffuser.report.html import PICTURE_KINDS, RegionPictures, RunSummary, ScoredPictures
from braindiffuser.run import SCORES_FILES, Run


def summarise_run(run: Run) -> RunSummary:
    """Gather stored numbers and pictures.

    Raises:
        RunError: if a stage has not been run, or what it left does not belong together.
    """
    sets = {name: _scored_pictures(run, name, rows) for name, rows in run.test_sets.items()}
    test = sets["test"]
    return RunSummary(
        scores=test.scores,
        per_image=test.per_image,
        pictures=test.pictures,
        subject=f"subj{run.experiment.data.subject:02d}",
        simulated=(run.nsd_root / "simulated.json").exists(),
        manifest=run.store.manifest,
        noise_ceiling=run.store.read_json("noise_ceiling.json"),
        held_out=sets.get("held_out"),
        regions=_region_pictures(run),
    )


def _scored_pictures(run: Run, name: str, rows: slice) -> ScoredPictures:
    table = run.store.read_table("per_image.csv")
    size = int(run.store.read_pictures("final", 1).shape[-1])
    return ScoredPictures(
        scores=run.store.read_json(SCORES_FILES[name]),
        per_image=table[table["set"] == name].reset_index(drop=True),
        pictures={kind: _sized(run.store.open_pictures(kind, rows.stop).take(rows), size) for kind in PICTURE_KINDS},
    )


def _sized(pictures: PictureReader, size: int) -> PictureReader:
    def read(numbers: Int[ndarray, " n"]) -> Pictures:
        return images.resize(pictures.read(numbers), size)

    return PictureReader(pictures.numbers, read)


def _region_pictures(run: Run) -> RegionPictures | None:
    facts = run.store.read_json("roi_maximisation.json")
    if not facts["regions"]:
        return None
    n = len(facts["regions"])
    return RegionPictures(
        names=[region["name"] for region in facts["regions"]],
        n_voxels=[region["n_voxels"] for region in facts["regions"]],
        lengths=facts["lengths"],
        low_level=run.store.read_pictures("roi_low_level", n),
        final=run.store.read_pictures("roi", n),
    )

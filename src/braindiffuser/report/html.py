"""One self-contained HTML page of a run: pictures as data URIs, figures as inline SVG, nothing fetched, no script."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from PIL import Image

from braindiffuser._arrays import Pictures, RawPictures
from braindiffuser.errors import RunError
from braindiffuser.images import PictureSource, batches, resize, to_uint8
from braindiffuser.report import figures, tables
from braindiffuser.report.tables import Estimate, estimate, format_interval, format_score, metric_label

PICTURE_KINDS: Mapping[str, str] = {
    "seen": "Seen",
    "low_level": "Low level",
    "final": "Reconstruction",
    "from_true_features": "From true features",
}
"""Columns of the gallery and of the contact sheet, from left to right."""

HEADLINE_METRICS = ("pixcorr", "ssim", "efficientnet_lite0_last", "clip_demo")
GALLERY_SIDE = 192
"""Larger pictures are shrunk to this many pixels in the gallery."""
CONTACT_SIDES = (24, 48)
"""Smallest and largest side of a picture in the contact sheet, in pixels."""
CONTACT_BYTES = 3_500_000
"""About how much the contact sheet may weigh; more pictures make each of them smaller."""
GAP = 2


@dataclass(frozen=True, kw_only=True)
class ScoredPictures:
    """Pictures that were scored together, with their scores.

    Attributes:
        scores: `scores.json`.
        per_image: their rows of `per_image.csv`; columns number, stimulus_id and one per metric. Numbers have no gap.
        pictures: kind ("seen", "low_level", "final", "from_true_features", …) → pictures (n_images, 3, height, width),
            in the order of their numbers; arrays, or readers, which are asked for a batch at a time.
    """

    scores: Mapping[str, Any]
    per_image: pd.DataFrame
    pictures: Mapping[str, PictureSource]

    def __post_init__(self) -> None:
        """Check that numbers and pictures belong together."""
        if missing := {"seen", "final"} - set(self.pictures):
            raise RunError(f"pictures lack {sorted(missing)}, got {sorted(self.pictures)}; run reconstruct first")
        counts = {kind: len(pictures) for kind, pictures in self.pictures.items()}
        if set(counts.values()) != {len(self.per_image)}:
            raise RunError(
                f"per_image has {len(self.per_image)} rows but there are {counts} pictures; run evaluate again"
            )
        last = self.first + len(self.per_image) - 1
        if sorted(self.per_image["number"]) != list(range(self.first, last + 1)):
            raise RunError(f"per_image numbers must be {self.first} … {last}, each once; run evaluate again")

    @property
    def first(self) -> int:
        """Number of the first picture."""
        return int(self.per_image["number"].min())

    def picture(self, kind: str, number: int) -> Pictures:
        """Return one picture by its number, (1, 3, height, width)."""
        place = number - self.first
        return self.pictures[kind][place : place + 1]

    @property
    def kinds(self) -> dict[str, str]:
        """Kinds that there are pictures of, in the order of columns, and how they are printed."""
        return {kind: label for kind, label in PICTURE_KINDS.items() if kind in self.pictures}


@dataclass(frozen=True, kw_only=True)
class RegionPictures:
    """Pictures that regions want to see.

    Attributes:
        names: of the regions.
        n_voxels: of each.
        lengths: rule that set the length of their targets.
        low_level: what the first stage drew of each, (n_regions, 3, height, width).
        final: what both stages drew of each.
    """

    names: Sequence[str]
    n_voxels: Sequence[int]
    lengths: str
    low_level: Pictures
    final: Pictures


@dataclass(frozen=True, kw_only=True)
class RunSummary(ScoredPictures):
    """All that the page of a run is made from: stored numbers and pictures, nothing else.

    Attributes:
        subject: whom the responses came from, as printed: "subj01".
        simulated: True if no brain was recorded; the page then says so in its first sentence.
        manifest: `manifest.json`.
        noise_ceiling: `noise_ceiling.json`.
        held_out: test pictures of photographs that no network was trained on, scored apart; None if there are none.
        regions: pictures that regions want to see; None if the recording has no regions.
    """

    subject: str
    simulated: bool
    manifest: Mapping[str, Any]
    noise_ceiling: Mapping[str, Any]
    held_out: ScoredPictures | None = None
    regions: RegionPictures | None = None


def render_page(summary: RunSummary) -> str:
    """Return the page of a run as one HTML document; the same summary gives the same characters."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("braindiffuser.report", "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scores = summary.scores
    ranked = tables.rank_images(scores, summary.per_image)
    ranking, tie = tables.gallery_metrics(scores, summary.per_image)
    page: str = environment.get_template("page.html.jinja").render(
        summary=summary,
        n_images=len(ranked),
        experiment_name=summary.manifest["experiment"].get("name", ""),
        headlines=_headlines(scores),
        baseline_sentence=tables.baseline_sentence(scores),
        ablation_sentences=tables.ablation_sentences(scores),
        scores_table=_score_table(scores, tables.COMPARED),
        ablation_table=_score_table(scores, tables.ABLATIONS),
        score_figures=_metric_figures(scores, tables.COMPARED, "scores"),
        ablation_figures=_metric_figures(scores, tables.ABLATIONS, "ablation"),
        ranking_label=scores["metrics"][ranking]["label"],
        tie_label=scores["metrics"][tie]["label"],
        kinds=summary.kinds,
        gallery=_gallery(summary, n_each=4),
        contact_sheet=_contact_sheet(summary, ranking),
        held_out=_held_out(summary.held_out, ranking),
        regions=_regions(summary.regions),
        noise_ceiling_figure=_noise_ceiling_figure(summary.noise_ceiling),
        empty_rois=_empty_rois(summary.noise_ceiling),
        experiment_yaml=yaml.safe_dump(summary.manifest["experiment"], sort_keys=False, allow_unicode=True),
        stages=_stages(summary.manifest),
    )
    return page


def _headlines(scores: Mapping[str, Any]) -> list[dict[str, str]]:
    """Choose the four numbers at the top: value, interval, ceiling and the best of the baselines."""
    metrics = scores["metrics"]
    keys = HEADLINE_METRICS if metrics.keys() >= set(HEADLINE_METRICS) else list(metrics)[:4]
    return [_headline(metrics[key]) for key in keys]


def _headline(entry: Mapping[str, Any]) -> dict[str, str]:
    value, ceiling = estimate(entry, "reconstruction"), estimate(entry, "ceiling")
    baselines = [found for name in tables.BASELINES if (found := estimate(entry, name)) is not None]
    best = max if entry["higher_is_better"] else min
    best_baseline = best(baselines, key=lambda found: found.value, default=None)
    return {
        "label": "\u00a0".join(metric_label(entry).rsplit(" ", 1)),
        "value": _value(entry, value),
        "interval": format_interval(entry, value),
        "ceiling": _value(entry, ceiling),
        "baseline": _value(entry, best_baseline),
    }


def _value(entry: Mapping[str, Any], found: Estimate | None) -> str:
    return format_score(entry, found.value if found else None)


def _score_table(scores: Mapping[str, Any], conditions: Mapping[str, str]) -> dict[str, Any]:
    rows = []
    for key, entry in scores["metrics"].items():
        found = [estimate(entry, condition) for condition in conditions]
        cells = [{"value": _value(entry, item), "interval": format_interval(entry, item)} for item in found]
        rows.append(
            {
                "key": key,
                "label": metric_label(entry),
                "cells": cells,
                "chance": format_score(entry, entry.get("chance")),
            }
        )
    return {"columns": list(conditions.values()), "rows": rows}


def _metric_figures(scores: Mapping[str, Any], conditions: Mapping[str, str], name: str) -> dict[str, str]:
    """Draw one panel for each family of metrics that occurs: title → SVG."""
    panels: dict[str, str] = {}
    for number, family in enumerate(tables.FAMILIES):
        entries = [entry for entry in scores["metrics"].values() if tables.metric_family(entry) == family]
        if entries:
            panels[family] = figures.metric_panel(entries, conditions, f"{name}-{number}")
    return panels


def _noise_ceiling_figure(noise_ceiling: Mapping[str, Any]) -> str:
    return figures.noise_ceiling_panel(noise_ceiling["rois"], "noise-ceiling") if noise_ceiling.get("rois") else ""


def _empty_rois(noise_ceiling: Mapping[str, Any]) -> dict[str, str]:
    rois = noise_ceiling.get("rois", {})
    return {name: roi.get("note") or "no voxels" for name, roi in rois.items() if not roi["n_voxels"]}


def _held_out(held_out: ScoredPictures | None, ranking: str) -> dict[str, Any] | None:
    """Describe the section on photographs that no network was trained on: numbers, a short gallery, all pictures."""
    if held_out is None:
        return None
    return {
        "n_images": len(held_out.per_image),
        "table": _score_table(held_out.scores, tables.COMPARED),
        "figures": _metric_figures(held_out.scores, tables.COMPARED, "held-out"),
        "gallery": _gallery(held_out, n_each=1),
        "contact_sheet": _contact_sheet(held_out, ranking),
    }


def _regions(regions: RegionPictures | None) -> list[dict[str, Any]]:
    """Describe one region after the other: its name, size, and two pictures."""
    if regions is None:
        return []
    return [
        {
            "name": name,
            "n_voxels": regions.n_voxels[k],
            "low_level": _shown(regions.low_level[k : k + 1]),
            "final": _shown(regions.final[k : k + 1]),
        }
        for k, name in enumerate(regions.names)
    ]


def _shown(picture: Pictures) -> str:
    """Write one picture as a data URI, shrunk to the gallery's side if it is larger."""
    return _png_uri(to_uint8(resize(picture, min(GALLERY_SIDE, max(picture.shape[-2:]))))[0])


def _gallery(scored: ScoredPictures, n_each: int) -> dict[str, list[dict[str, Any]]]:
    """Describe the gallery's rows: for "best", "median" and "worst" each picture's place, scores and PNGs."""
    ranked = tables.rank_images(scored.scores, scored.per_image)
    return {
        name: [
            _gallery_row(scored, place, row) for place, row in zip(rows.index + 1, rows.to_dict("records"), strict=True)
        ]
        for name, rows in tables.gallery_rows(ranked, n_each).items()
        if len(rows)
    }


def _gallery_row(scored: ScoredPictures, place: int, row: Mapping[Any, Any]) -> dict[str, Any]:
    number = row["number"]
    metrics = scored.scores["metrics"]
    return {
        "place": place,
        "number": number,
        "stimulus_id": row["stimulus_id"],
        "scores": {
            entry["label"]: format_score(entry, float(row[key])) for key, entry in metrics.items() if key in row
        },
        "pictures": {kind: _shown(scored.picture(kind, number)) for kind in scored.kinds},
    }


def _contact_sheet(scored: ScoredPictures, ranking: str) -> dict[str, Any]:
    """Make one strip per test picture, in test order: its kinds side by side, small."""
    kinds = scored.kinds
    n_pictures = max(1, len(scored.per_image) * len(kinds))
    side = int(np.clip(math.sqrt(CONTACT_BYTES / (4 * n_pictures)), *CONTACT_SIDES))
    shrunk = np.stack([_shrunk(scored.pictures[kind], side) for kind in kinds])
    entry = scored.scores["metrics"][ranking]
    strips = [
        {
            "number": row["number"],
            "stimulus_id": row["stimulus_id"],
            "score": format_score(entry, float(row[ranking])),
            "uri": _png_uri(_strip(shrunk[:, row["number"] - scored.first])),
        }
        for row in scored.per_image.sort_values("number").to_dict("records")
    ]
    return {"strips": strips, "width": len(kinds) * (side + GAP) - GAP, "height": side}


def _shrunk(pictures: PictureSource, side: int) -> RawPictures:
    return np.concatenate([to_uint8(resize(pictures[rows], side)) for rows in batches(len(pictures))])


def _strip(pictures: RawPictures) -> NDArray[np.uint8]:
    """Put square pictures side by side, with a transparent gap between them: (side, width, 4)."""
    n_pictures, side = pictures.shape[:2]
    strip = np.zeros((side, n_pictures * (side + GAP) - GAP, 4), np.uint8)
    for place, picture in enumerate(pictures):
        left = place * (side + GAP)
        strip[:, left : left + side, :3], strip[:, left : left + side, 3] = picture, 255
    return strip


def _png_uri(raw: NDArray[np.uint8]) -> str:
    """Write one 8-bit picture (height, width, 3 or 4) as a PNG inside a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(raw).save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _stages(manifest: Mapping[str, Any]) -> list[dict[str, str]]:
    """List what each stage took, and the total time with the largest memory."""
    stages = manifest.get("stages", {})
    rows = [
        {
            "name": name,
            "time": _duration(stage.get("seconds")),
            "memory": _gigabytes(stage.get("peak_memory_gb")),
            "finished": str(stage.get("finished", tables.MISSING)),
            "uid": str(stage.get("uid", tables.MISSING)),
        }
        for name, stage in stages.items()
    ]
    seconds = [stage["seconds"] for stage in stages.values() if stage.get("seconds") is not None]
    memory = [stage["peak_memory_gb"] for stage in stages.values() if stage.get("peak_memory_gb") is not None]
    total = {"name": "All", "time": _duration(sum(seconds)), "memory": _gigabytes(max(memory, default=None))}
    return [*rows, {**total, "finished": "", "uid": ""}] if rows else []


def _duration(seconds: int | float | None) -> str:
    """Print seconds as "4.2 s", "3 min 05 s" or "2 h 07 min"."""
    if seconds is None:
        return tables.MISSING
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _gigabytes(gigabytes: int | float | None) -> str:
    return tables.MISSING if gigabytes is None else f"{gigabytes:.1f} GB"

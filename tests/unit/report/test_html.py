import base64
import io
import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from multiprocessing import get_context

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from braindiffuser.errors import RunError
from braindiffuser.images import BATCH, PictureReader, to_uint8
from braindiffuser.report import RegionPictures, RunSummary, ScoredPictures, render_page
from braindiffuser.report.tables import format_score, gallery_rows, metric_label, rank_images

N_IMAGES = 15
HOSTILE = "<script>alert('x')</script> & \"quotes\""
LABELS = {
    "pixcorr": ("PixCorr", None, 0.31),
    "ssim": ("SSIM", None, 0.29),
    "efficientnet_lite0_early": ("EfficientNet-Lite0 (early)", 0.5, 0.83),
    "efficientnet_lite0_middle": ("EfficientNet-Lite0 (middle)", 0.5, 0.86),
    "efficientnet_lite0_last": ("EfficientNet-Lite0 (last)", 0.5, 0.88),
    "clip_demo": ("CLIP (demo)", 0.5, 0.87),
}
BASELINES = ("mean_image", "random_train_image", "shuffled_responses")
ABLATIONS = ("low_level_only", "without_low_level")
VOID = {"meta", "img", "br", "link", "input", "hr"}


def around(value):
    return [value - 0.01, value + 0.01]


def entry(label, chance, value):
    low = chance or 0.05
    return {
        "label": label,
        "value": value,
        "ci95": around(value),
        "higher_is_better": True,
        "chance": chance,
        "description": f"What {label} computes.",
        "ceiling": 0.97,
        "ceiling_ci95": around(0.97),
        "baselines": dict.fromkeys(BASELINES, low),
        "baselines_ci95": dict.fromkeys(BASELINES, around(low)),
        "ablations": dict.fromkeys(ABLATIONS, value - 0.1),
        "ablations_ci95": dict.fromkeys(ABLATIONS, around(value - 0.1)),
    }


@pytest.fixture
def summary():
    rng = np.random.default_rng(0)
    kinds = {"seen": 16, "low_level": 8, "final": 16, "from_true_features": 16, "without_low_level": 16}
    per_image = pd.DataFrame({"number": range(N_IMAGES), "stimulus_id": rng.permutation(73_000)[:N_IMAGES]})
    for key in LABELS:
        per_image[key] = rng.integers(0, 5, N_IMAGES) / 4
    return RunSummary(
        subject="subj01",
        simulated=True,
        manifest={
            "uid": "demo-0f8936b4",
            "experiment": {"name": "demo", "ridge": {"alphas": [1.0, 10.0]}},
            "seed": 7,
            "versions": {"braindiffuser": "0.1.0", "torch": "2.9.0"},
            "machine": {"cpu_count": 2},
            "stages": {
                "fit": {"seconds": 65.0, "peak_memory_gb": 1.5, "finished": "2026-01-02T10:00:00Z", "uid": "fit-1"},
                "evaluate": {"seconds": 4.0, "peak_memory_gb": 2.5, "finished": "2026-01-02T10:01:00Z", "uid": "ev-1"},
            },
        },
        scores={"profile": "demo", "metrics": {key: entry(*facts) for key, facts in LABELS.items()}},
        per_image=per_image,
        noise_ceiling={
            "rois": {
                "V1": {"n_voxels": 320, "median": 38.2, "quartiles": [20.1, 52.3]},
                "floc-faces": {"n_voxels": 0, "note": "The scenes show no faces."},
            },
            "note": "For the mean of three trials.",
        },
        pictures={kind: rng.random((N_IMAGES, 3, size, size), np.float32) for kind, size in kinds.items()},
    )


def with_manifest(summary, **changes):
    return replace(summary, manifest={**summary.manifest, **changes})


class Outline(HTMLParser):
    """Collects tags, and fails on the first that closes what is not open."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags = [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag


def test_tags_are_balanced_and_ids_unique(summary):
    outline = Outline(render_page(summary))
    assert outline.open == []
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    references = {attributes["xlink:href"][1:] for _, attributes in outline.tags if "xlink:href" in attributes}
    assert references <= set(ids)


def test_page_is_one_file_that_fetches_nothing_and_runs_nothing(summary):
    page = render_page(summary)
    tags = Outline(page).tags
    links = [attributes[name] for _, attributes in tags for name in ("src", "href", "xlink:href") if name in attributes]
    assert links
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in links)
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe", "object"}
    assert "@import" not in page
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))


def test_figures_take_their_colours_from_the_page(summary):
    page = render_page(summary)
    figures = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(figures) == 5
    for svg in figures:
        assert not re.search(r"#[0-9a-f]{6}\b", svg)
        for variable in re.findall(r"var\(--([a-z-]+)\)", svg):
            assert page.count(f"--{variable}:") == 1 + (variable in page.split("prefers-color-scheme")[1])


@pytest.mark.parametrize("place", ["name", "subject", "roi", "label", "note"])
def test_hostile_strings_stay_text(summary, place):
    metrics = {key: {**metric, "label": HOSTILE} for key, metric in summary.scores["metrics"].items()}
    rois = {HOSTILE: summary.noise_ceiling["rois"]["V1"]}
    hostile = {
        "name": lambda: with_manifest(summary, experiment={"name": HOSTILE}),
        "subject": lambda: replace(summary, subject=HOSTILE),
        "roi": lambda: replace(summary, noise_ceiling={"rois": rois}),
        "label": lambda: replace(summary, scores={**summary.scores, "metrics": metrics}),
        "note": lambda: replace(summary, noise_ceiling={**summary.noise_ceiling, "note": HOSTILE}),
    }
    page = render_page(hostile[place]())
    assert "<script" not in page
    assert HOSTILE in unescape(page)
    assert Outline(page).open == []


def test_dollar_signs_are_no_formula(summary):
    page = render_page(replace(summary, noise_ceiling={"rois": {"$V_1$": summary.noise_ceiling["rois"]["V1"]}}))
    assert "$V_1$" in page


def test_every_metric_is_there_with_its_label_and_value(summary):
    page = render_page(summary).replace("\u00a0", " ")
    for key, metric in summary.scores["metrics"].items():
        row = re.search(rf'<tr data-metric="{key}">(.*?)</tr>', page, flags=re.DOTALL)[1]
        assert metric_label(metric) in row
        assert f'<td class="main">{format_score(metric, metric["value"])}' in row
        assert page.count(metric_label(metric)) >= 3
        assert metric["description"] in page


def test_page_says_whether_the_subject_is_simulated(summary):
    simulated, recorded = render_page(summary), render_page(replace(summary, simulated=False))
    assert "no human brain was recorded" in simulated
    assert "subj01, simulated" in simulated
    assert "simulated" not in recorded


def test_gallery_shows_the_best_the_median_and_the_worst(summary):
    page = render_page(summary)
    rows = gallery_rows(rank_images(summary.scores, summary.per_image)).values()
    expected = [str(stimulus) for part in rows for stimulus in part["stimulus_id"]]
    assert re.findall(r'data-stimulus="(\d+)"', page) == expected
    assert len(expected) == 12
    places = [int(place) for place in re.findall(r"place (\d+) of 15", page)]
    assert places == [1, 2, 3, 4, 6, 7, 8, 9, 12, 13, 14, 15]
    assert "ordered by their own EfficientNet-Lite0 (last), ties by PixCorr" in page


def test_gallery_pictures_are_those_of_the_row(summary):
    page = render_page(summary)
    best = int(rank_images(summary.scores, summary.per_image)["number"][0])
    stimulus = summary.per_image["stimulus_id"][best]
    uri = re.search(rf'src="data:image/png;base64,([^"]+)"[^>]*alt="Reconstruction, stimulus {stimulus}"', page)[1]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri))))
    np.testing.assert_array_equal(shown, to_uint8(summary.pictures["final"])[best])


def test_order_of_the_rows_of_per_image_does_not_matter(summary):
    assert render_page(replace(summary, per_image=summary.per_image[::-1])) == render_page(summary)


def test_contact_sheet_holds_every_picture_once(summary):
    page = render_page(summary)
    assert [int(number) for number in re.findall(r'alt="Test picture (\d+):', page)] == list(range(N_IMAGES))


def test_ablation_verdict_flips_with_the_numbers(summary):
    metrics = summary.scores["metrics"]
    flipped = {
        key: {
            **metric,
            "ablations": dict.fromkeys(ABLATIONS, 0.99),
            "ablations_ci95": {name: [0.98, 1] for name in ABLATIONS},
        }
        for key, metric in metrics.items()
    }
    assert "The diffusion earns its place" in render_page(summary)
    page = render_page(replace(summary, scores={**summary.scores, "metrics": flipped}))
    assert "The diffusion does not earn its place" in page
    assert "The low level does not earn its place" in page


def test_empty_region_is_named_as_empty(summary):
    page = render_page(summary)
    assert "floc-faces is empty:</strong> The scenes show no faces." in page
    figure = re.search(r'<svg[^>]*aria-label="Noise ceiling.*?</svg>', page, flags=re.DOTALL)[0]
    assert re.findall(r"<text[^>]*>([^<]*)</text>", figure)[-2:] == ["floc-faces", "empty"]


def test_what_was_run_is_written_down(summary):
    page = render_page(summary)
    for text in ("demo-0f8936b4", "torch 2.9.0", "1 min 05 s", "1 min 09 s", "2.5 GB", "alphas:"):
        assert text in page


def test_same_summary_same_bytes(summary):
    assert render_page(summary) == render_page(summary)


def test_page_of_fewer_conditions_and_pictures_still_renders(summary):
    bare = {"label": "SwAV", "value": 0.4, "higher_is_better": False, "chance": None}
    pictures = {kind: summary.pictures[kind][:2] for kind in ("seen", "final")}
    page = render_page(
        replace(
            with_manifest(summary, stages={}, machine={}),
            scores={"profile": "own", "metrics": {"swav": bare}},
            per_image=pd.DataFrame({"number": [0, 1], "stimulus_id": ["a", "b"], "swav": [0.4, float("nan")]}),
            noise_ceiling={},
            pictures=pictures,
        )
    )
    assert Outline(page).open == []
    assert "SwAV ↓" in page
    assert "Noise ceiling" not in page
    assert "Stand-in networks" not in page


def test_missing_pictures_say_what_to_run(summary):
    with pytest.raises(RunError, match=r"lack \['final'\].*run reconstruct first"):
        replace(summary, pictures={"seen": summary.pictures["seen"]})


def test_other_counts_of_pictures_and_rows_are_refused(summary):
    with pytest.raises(RunError, match="per_image has 14 rows"):
        replace(summary, per_image=summary.per_image[:14])


def test_numbers_must_count_the_pictures(summary):
    with pytest.raises(RunError, match="numbers must be 1 … 15, each once"):
        replace(summary, per_image=summary.per_image.assign(number=1))


def test_import_loads_neither_torch_nor_matplotlib():
    code = "__import__('braindiffuser.report') and {'torch', 'matplotlib'} & set(__import__('sys').modules)"
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh_interpreter:
        assert fresh_interpreter.submit(eval, code).result() == set()


def test_held_out_photographs_have_a_section_of_their_own(summary):
    without = render_page(summary)
    assert "no network has seen" not in without
    table = summary.per_image.assign(number=range(N_IMAGES, 2 * N_IMAGES), stimulus_id=range(80_000, 80_000 + N_IMAGES))
    metrics = {key: {**metric, "value": 0.123} for key, metric in summary.scores["metrics"].items()}
    held_out = ScoredPictures(scores={**summary.scores, "metrics": metrics}, per_image=table, pictures=summary.pictures)
    page = render_page(replace(summary, held_out=held_out))
    section = page[page.index('id="h-held-out"') : page.index('id="h-noise"')]
    assert page.replace(section, "").count("0.123") == without.count("0.123") == 0
    assert "0.123" in section
    assert "12.3 %" in section.replace("\u00a0", " ")
    assert f"Test picture {N_IMAGES}:" in section
    assert Outline(page).open == []


def test_pictures_are_found_by_their_numbers(summary):
    later = replace(summary, per_image=summary.per_image.assign(number=range(40, 40 + N_IMAGES)))
    np.testing.assert_array_equal(later.picture("final", 42), summary.pictures["final"][2:3])


def test_readers_give_the_page_of_their_arrays_and_few_pictures_are_read_at_once(summary):
    most = []

    def reader(pictures):
        def read(numbers):
            most.append(len(numbers))
            return pictures[numbers]

        return PictureReader(np.arange(len(pictures)), read)

    n = BATCH + 3
    table = pd.DataFrame({"number": range(n), "stimulus_id": range(n)})
    table[list(LABELS)] = np.random.default_rng(2).random((n, len(LABELS)))
    pictures = {kind: np.resize(pictures, (n, *pictures.shape[1:])) for kind, pictures in summary.pictures.items()}
    held = replace(summary, per_image=table, pictures=pictures)
    opened = replace(held, pictures={kind: reader(array) for kind, array in pictures.items()})
    assert render_page(opened) == render_page(held)
    assert max(most) <= BATCH


def test_regions_show_both_stages(summary):
    assert "wants to see" not in render_page(summary)
    drawn = np.random.default_rng(1).random((2, 2, 3, 16, 16), np.float32)
    regions = RegionPictures(
        names=["V1", HOSTILE], n_voxels=[321, 45], lengths="as-published", low_level=drawn[0], final=drawn[1]
    )
    page = render_page(replace(summary, regions=regions))
    section = page[page.index('id="h-regions"') : page.index('id="h-noise"')]
    assert section.count("<img") == 4
    assert "321 voxels" in section
    assert "typed in" in section
    assert HOSTILE not in section
    assert HOSTILE in unescape(section)
    shown = Image.open(io.BytesIO(base64.b64decode(re.findall(r"base64,([^\"]+)", section)[1])))
    np.testing.assert_array_equal(np.asarray(shown), to_uint8(drawn[1])[0])

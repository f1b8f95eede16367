"""What tests of the page share: pictures that tell who they are, a parser of pages, and planted scores."""

import base64
import io
import json
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from braindiffuser.report.score_sections import ScoredSet

VOID = {"meta", "img", "br", "link", "input", "hr"}
BASELINES = (
    "mean_image",
    "random_train_image",
    "shuffled_responses",
    "nearest_training_picture",
    "category_only",
)
LABELS = {
    "pixcorr": ("PixCorr", None, True),
    "efficientnet_lite0_last": ("EffNet-Lite0 last", 0.5, True),
    "clip": ("CLIP", 0.5, True),
    "swav": ("SwAV", None, False),
}


class CodedPictures:
    """Reads pictures of one colour each, which says kind and number; remembers how many were asked for at once."""

    def __init__(self, side=8):
        self.kinds, self.side, self.asked = [], side, []

    def __call__(self, kind, numbers):
        self.asked.append(len(numbers))
        if kind not in self.kinds:
            self.kinds.append(kind)
        colours = np.array([self.colour(kind, number) for number in numbers], np.float32).reshape(-1, 3, 1, 1) / 255
        return np.broadcast_to(colours, (len(numbers), 3, self.side, self.side)).astype(np.float32)

    def colour(self, kind, number):
        return 20 + 30 * self.kinds.index(kind), number % 250, 50 * (number // 250)

    def name(self, picture):
        """Kind and number of a picture (height, width, 3), which must be of one colour."""
        red, green, blue = (int(level) for level in picture[0, 0])
        assert (picture == picture[0, 0]).all()
        return self.kinds[(red - 20) // 30], green + 250 * (blue // 50)


class Outline(HTMLParser):
    """Tags with their attributes, text and stored data of a page; fails on the first tag that closes what is not open."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.texts, self.data = [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.data += [json.loads(data)] if self.tags[-1][1].get("type") == "application/json" else []
        elif self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def skeleton(self):
        """Tags and names of attributes, without any text."""
        return [(tag, sorted(attributes)) for tag, attributes in self.tags]

    def values(self, name):
        return [attributes[name] for _, attributes in self.tags if name in attributes]

    def images(self):
        """Alternative text and picture (height, width, 3 or 4) of every <img>."""
        found = [attributes for tag, attributes in self.tags if tag == "img"]
        return [(attributes["alt"], decode(attributes["src"])) for attributes in found]


def decode(uri):
    start, _, content = uri.partition(",")
    assert start in ("data:image/png;base64", "data:image/webp;base64")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def planted_entry(
    label="M", value=0.6, *, chance=None, better=True, ceiling=0.9, baselines=BASELINES, ablations=(), half=0.01
):
    """A metric of scores.json: every interval is value ± half, and no two conditions have one value."""
    baselines = {name: value - 0.1 * (place + 1) for place, name in enumerate(baselines)}
    ablations = {name: value - 0.013 * (place + 1) for place, name in enumerate(ablations)}
    entry = {
        "label": label,
        "value": value,
        "ci95": around(value, half),
        "higher_is_better": better,
        "chance": chance,
        "description": f"What {label} computes.",
        "baselines": baselines,
        "baselines_ci95": {name: around(number, half) for name, number in baselines.items()},
        "ablations": ablations,
        "ablations_ci95": {name: around(number, half) for name, number in ablations.items()},
    }
    if ceiling is not None:
        entry |= {"ceiling": ceiling, "ceiling_ci95": around(ceiling, half)}
    return entry


def around(value, half):
    return [value - half, value + half]


def planted_set(n=15, *, name="test", first=0, ablations=None, profile="demo", **facts):
    """A test set whose pictures have the numbers first … first + n - 1, with scores in few levels, so that there are ties."""
    rng = np.random.default_rng(n)
    ablations = {} if ablations is None else ablations
    metrics = {
        key: planted_entry(label, 0.6 + 0.017 * place, chance=chance, better=better, ablations=ablations, **facts)
        for place, (key, (label, chance, better)) in enumerate(LABELS.items())
    }
    per_image = pd.DataFrame({"number": np.arange(first, first + n), "stimulus_id": rng.permutation(73_000)[:n]})
    per_image["set"] = name
    for key in LABELS:
        per_image[key] = rng.integers(0, 5, n) / 4
    kinds = {"seen": "Seen", "low_level": "Low level", "final": "Reconstruction"}
    return ScoredSet(name, {"profile": profile, "metrics": metrics, "missing": []}, per_image, kinds, ablations)


@pytest.fixture
def coded():
    return CodedPictures()


@pytest.fixture
def outline():
    return Outline


@pytest.fixture
def entry():
    return planted_entry


@pytest.fixture
def scored():
    return planted_set

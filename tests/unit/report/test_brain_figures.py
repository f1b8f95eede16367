"""Maps become figures that a page takes; without nilearn one sentence says what to install."""

import base64
import builtins
import io
import re

import numpy as np
import pytest
from PIL import Image

from braindiffuser.errors import DependencyError
from braindiffuser.report.brain_figures import brain_figure
from braindiffuser.report.sections import Figure


def picture(svg):
    content = re.search(r"base64,([^\"]+)", svg)[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")).astype(int)


@pytest.mark.parametrize("affine", [None, np.diag([2.0, 2, 2, 1])])
def test_a_positive_map_is_red_and_a_negative_one_blue(affine):
    volume = np.full((8, 9, 10), np.nan, np.float32)
    volume[2:6, 2:6, 2:6] = 1.0
    red, blue = (brain_figure(sign * volume, affine, "mosaic", 'a "map"') for sign in (1, -1))
    redness = [(picture(svg)[:, :560, 0] - picture(svg)[:, :560, 2]).mean() for svg in (red, blue)]
    assert redness[0] > 1
    assert redness[1] < -1
    assert Figure(svg=red).svg == red
    assert brain_figure(volume, affine, "mosaic", 'a "map"') == red


def test_a_map_of_nothing_is_drawn_too():
    assert "data:image/png" in brain_figure(np.zeros((6, 6, 6), np.float32), None, "mosaic", "nothing")


def test_without_nilearn_the_extra_is_named(monkeypatch):
    own = builtins.__import__

    def missing(name, *rest):
        if name.startswith("nilearn"):
            raise ImportError(name)
        return own(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(DependencyError, match=r"nilearn to be drawn.*braindiffuser\[brain\]"):
        brain_figure(np.zeros((4, 4, 4), np.float32), None, "mosaic", "a map")

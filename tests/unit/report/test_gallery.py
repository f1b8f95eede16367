import numpy as np
import pandas as pd

from braindiffuser.report.gallery import GAP, HEADER, MARGIN, SIDE, render_gallery
from braindiffuser.report.html import RunSummary


def summary(n):
    levels = np.arange(n, dtype=np.float32) / 255
    pictures = np.broadcast_to(levels[:, None, None, None], (n, 3, 8, 8)).copy()
    entry = {"label": "PixCorr", "value": 0.5, "ci95": [0.4, 0.6], "higher_is_better": True, "chance": None}
    return RunSummary(
        subject="subj01",
        simulated=True,
        manifest={},
        scores={"profile": "demo", "n_images": n, "metrics": {"pixcorr": entry}},
        per_image=pd.DataFrame({"number": range(n), "stimulus_id": range(n), "pixcorr": np.linspace(0, 1, n)}),
        noise_ceiling={},
        pictures={"seen": pictures, "final": pictures},
    )


def test_rows_are_the_best_the_median_and_the_worst():
    sheet = np.asarray(render_gallery(summary(30), n_each=2))
    width = 2 * (SIDE + GAP) - GAP
    shown = []
    for block in range(3):
        for row in range(2):
            y = 2 * HEADER + row * (SIDE + GAP) + SIDE // 2
            shown.append(int(sheet[y, MARGIN + block * (width + MARGIN) + SIDE // 2, 0]))
    assert shown == [29, 28, 15, 14, 1, 0]


def test_few_pictures_make_few_rows():
    sheet = render_gallery(summary(3), n_each=4)
    assert sheet.height == SIDE + GAP + 2 * HEADER

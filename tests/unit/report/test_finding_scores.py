"""Laws of the sections on scores and ablations of a reproduction."""

import pytest

from braindiffuser.report.figures import MARKS
from braindiffuser.report.finding_scores import COLUMN, _by_column, _columns
from braindiffuser.report.tables import COMPARED, estimate


@pytest.mark.parametrize("subject", [*COMPARED, *MARKS, "anna"])
def test_every_subject_is_drawn_whatever_its_name(subject):
    entry = {
        "label": "PixCorr",
        "value": 0.9,
        "ceiling": None,
        "baselines": {"mean_image": 0.8},
        "subjects": {subject: [0.3, 0.2, 0.4], "other": [0.1, None, None]},
        "mean": 0.2,
        "original": {"Table 1": 0.25},
    }
    columns = _columns({"pixcorr": entry})
    found = {name: estimate(_by_column(entry), f"{COLUMN}{name}") for name in columns}
    assert found == {
        subject: (0.3, 0.2, 0.4),
        "other": (0.1, None, None),
        "mean over subjects": (0.2, None, None),
        "Table 1": (0.25, None, None),
    }
    assert not {f"{COLUMN}{name}" for name in columns} & {*MARKS, *COMPARED}

import numpy as np
import pytest

from braindiffuser.report.gallery import GAP, HEADER, MARGIN, PAPER, SIDE, render_gallery
from braindiffuser.report.score_sections import score_sections
from braindiffuser.report.sections import Gallery, GalleryRow

KINDS = {"seen": "Seen", "final": "Drawn"}


def row(number):
    return GalleryRow(number=number, stimulus_id=number, place=1, scores={})


def shown(sheet, block, place, column, n_kinds):
    """The square of a picture, without the lines that surround it."""
    left = MARGIN + block * (n_kinds * (SIDE + GAP) - GAP + MARGIN) + column * (SIDE + GAP)
    top = 2 * HEADER + place * (SIDE + GAP)
    return np.asarray(sheet)[top : top + SIDE, left : left + SIDE]


def test_every_square_is_the_picture_of_its_row_and_kind(coded):
    rows = {"Best": (row(29), row(270)), "Median": (row(15), row(0)), "Worst": (row(1),)}
    gallery = Gallery(kinds=KINDS, rows=rows, n_ranked=300, ranking="M")
    sheet = render_gallery(gallery, coded)
    for block, group in enumerate(rows.values()):
        for place, wanted in enumerate(group):
            for column, kind in enumerate(KINDS):
                assert coded.name(shown(sheet, block, place, column, len(KINDS))) == (kind, wanted.number)
    assert (shown(sheet, 2, 1, 0, len(KINDS)) == PAPER).all()
    assert max(coded.asked) == 1


def test_sheet_shows_the_rows_of_the_page(scored, coded):
    test = scored(15)
    (gallery,) = (block for block in score_sections([test])[1].blocks if isinstance(block, Gallery))
    sheet = render_gallery(gallery, coded)
    best = gallery.rows["Best"][0].number
    assert best == test.per_image.sort_values(["efficientnet_lite0_last", "pixcorr"], ascending=False)["number"].iloc[0]
    assert coded.name(shown(sheet, 0, 0, 2, 3)) == ("final", best)


@pytest.mark.parametrize("n_rows", [0, 1, 4])
def test_sheet_is_as_high_as_its_longest_column(coded, n_rows):
    rows = {"Best": tuple(row(number) for number in range(n_rows))} if n_rows else {}
    sheet = render_gallery(Gallery(kinds=KINDS, rows=rows, n_ranked=9, ranking="M"), coded)
    assert sheet.height == n_rows * (SIDE + GAP) + 2 * HEADER

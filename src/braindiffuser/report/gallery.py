"""A gallery as one picture, for a README, a talk or a paper: the page's best, median and worst rows."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from braindiffuser.images import resize, to_uint8
from braindiffuser.report.sections import Gallery
from braindiffuser.report.strips import ReadPictures

SIDE, GAP, HEADER, MARGIN = 128, 6, 26, 18
INK, PAPER = (40, 44, 52), (255, 255, 255)


def render_gallery(gallery: Gallery, read: ReadPictures) -> Image.Image:
    """Draw rows of pictures side by side: a block for each heading, in it the kinds from left to right.

    The rows are those of the page: ranked by one stated score, not chosen.

    Args:
        gallery: of the page.
        read: reads pictures by kind and number.
    """
    width = len(gallery.kinds) * (SIDE + GAP) - GAP
    n_blocks, longest = len(gallery.rows), max((len(rows) for rows in gallery.rows.values()), default=0)
    height = longest * (SIDE + GAP) + 2 * HEADER
    sheet = Image.new("RGB", (n_blocks * width + (n_blocks + 1) * MARGIN, height), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for number, (heading, rows) in enumerate(gallery.rows.items()):
        left = MARGIN + number * (width + MARGIN)
        draw.text((left, 4), heading, INK, ImageFont.load_default(17))
        for column, (kind, label) in enumerate(gallery.kinds.items()):
            x = left + column * (SIDE + GAP)
            draw.text((x, HEADER + 4), label, INK, font)
            for place, row in enumerate(rows):
                picture = to_uint8(resize(read(kind, [row.number]), SIDE))[0]
                sheet.paste(Image.fromarray(picture), (x, 2 * HEADER + place * (SIDE + GAP)))
    return sheet

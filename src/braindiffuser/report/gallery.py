"""The gallery as one picture, for a README, a talk or a paper: the page's best, median and worst rows."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from braindiffuser.images import resize, to_uint8
from braindiffuser.report import tables
from braindiffuser.report.html import RunSummary

SIDE, GAP, HEADER, MARGIN = 128, 6, 26, 18
INK, PAPER = (40, 44, 52), (255, 255, 255)


def render_gallery(summary: RunSummary, n_each: int = 4) -> Image.Image:
    """Draw rows of pictures side by side: three blocks (best, median, worst), in each the kinds from left to right.

    The rows are those of the page: ranked by one stated score, not chosen.

    Args:
        summary: what the page is made from.
        n_each: rows of each block.
    """
    kinds = summary.kinds
    ranked = tables.rank_images(summary.scores, summary.per_image)
    blocks = tables.gallery_rows(ranked, n_each)
    width = len(kinds) * (SIDE + GAP) - GAP
    height = max(len(rows) for rows in blocks.values()) * (SIDE + GAP) + 2 * HEADER
    sheet = Image.new("RGB", (len(blocks) * width + (len(blocks) + 1) * MARGIN, height), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for number, (name, rows) in enumerate(blocks.items()):
        left = MARGIN + number * (width + MARGIN)
        draw.text((left, 4), name.capitalize(), INK, ImageFont.load_default(17))
        for column, (kind, label) in enumerate(kinds.items()):
            x = left + column * (SIDE + GAP)
            draw.text((x, HEADER + 4), label, INK, font)
            for row, picture_number in enumerate(rows["number"]):
                picture = to_uint8(resize(summary.picture(kind, picture_number), SIDE))[0]
                sheet.paste(Image.fromarray(picture), (x, 2 * HEADER + row * (SIDE + GAP)))
    return sheet

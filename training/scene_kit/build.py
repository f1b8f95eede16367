"""Build the scene kit: shrink chosen photographs from three public packages and record where each came from.

    python training/scene_kit/build.py --stamps DIR --gcompris DIR --mvtb DIR

`--stamps` and `--gcompris` are the Debian packages `tuxpaint-stamps-default` and `gcompris-qt-data`, unpacked with
`dpkg-deb -x PACKAGE.deb DIR`; `--mvtb` is the PyPI wheel `mvtb-data`, unzipped. Which pictures are taken, their plain names
and which of them the networks never see stand in `selection.csv`. A picture whose author or licence is not recorded by its
package is left out and named.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

OBJECT_SIDE = 72
BACKGROUND_SIDE = 96
KIT = Path(__file__).parents[2] / "src" / "braindiffuser" / "datasets" / "simulation" / "scene_kit"
COLUMNS = ["file", "kind", "name", "category", "held_out", "author", "licence", "origin"]


def unpack_rcc(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (path, content) of each file in a Qt binary resource (`qres` format, zlib or stored)."""
    if raw[:4] != b"qres":
        raise ValueError("not a Qt resource file: it does not start with 'qres'")
    version, tree, data, names = struct.unpack(">4i", raw[4:20])
    entry_size = 14 if version == 1 else 22

    def walk(index: int, prefix: str) -> Iterator[tuple[str, bytes]]:
        entry = tree + index * entry_size
        name_offset, flags = struct.unpack(">IH", raw[entry : entry + 6])
        start = names + name_offset
        length = struct.unpack(">H", raw[start : start + 2])[0]
        name = raw[start + 6 : start + 6 + 2 * length].decode("utf-16-be") if index else ""
        path = f"{prefix}/{name}".lstrip("/")
        if flags & 2:  # a folder
            count, first = struct.unpack(">II", raw[entry + 6 : entry + 14])
            for child in range(first, first + count):
                yield from walk(child, path)
            return
        offset = data + struct.unpack(">I", raw[entry + 10 : entry + 14])[0]
        size = struct.unpack(">I", raw[offset : offset + 4])[0]
        content = raw[offset + 4 : offset + 4 + size]
        yield path, zlib.decompress(content[4:]) if flags & 1 else content

    yield from walk(0, "")


def debian_copyright(path: Path) -> dict[str, tuple[str, str, str]]:
    """Map a file's path without suffix to (author, licence, address), from a Debian copyright file's own stanzas."""
    facts: dict[str, tuple[str, str, str]] = {}
    for stanza in re.split(r"\n\s*\n", path.read_text(encoding="utf-8")):
        fields = {k: " ".join(v.split()) for k, v in re.findall(r"^(\S+):((?:.*)(?:\n[ \t].*)*)", stanza, flags=re.M)}
        for file in fields.get("Files", "").split():
            if "*" not in file and {"Copyright", "License"} <= fields.keys():
                facts[str(Path(file).with_suffix(""))] = (
                    fields["Copyright"],
                    fields["License"],
                    fields.get("Comment", ""),
                )
    return facts


class Sources:
    """The three unpacked packages: `picture(package, path)` and `facts(package, path)`."""

    def __init__(self, stamps: Path, gcompris: Path, mvtb: Path) -> None:
        """Open the resources; each argument is the folder of one unpacked package."""
        self.stamps = stamps / "usr/share/tuxpaint/stamps"
        self.mvtb = mvtb
        resource = gcompris / "usr/share/gcompris-qt/rcc/categorization.rcc"
        self.resources = {p.removeprefix("gcompris/"): raw for p, raw in unpack_rcc(resource.read_bytes())}
        self.gcompris_facts = debian_copyright(gcompris / "usr/share/doc/gcompris-qt-data/copyright")

    def picture(self, package: str, path: str) -> Image.Image:
        """Open one source picture."""
        if package == "gcompris-qt-data":
            return Image.open(io.BytesIO(self.resources[path]))
        return Image.open((self.stamps if package == "tuxpaint-stamps-default" else self.mvtb) / path)

    def facts(self, package: str, path: str) -> tuple[str, str, str] | None:
        """Return (author, licence, origin) of one source picture, or None where its package does not say."""
        if package == "gcompris-qt-data":
            found = self.gcompris_facts.get(str(Path(path).with_suffix("")))
            return found and (found[0], found[1], found[2] or f"{package}: {path}")
        if package == "mvtb-data":
            return "Peter Corke", "MIT", f"{package} 1.6.1: {path}"
        return "Bill Kendrick and Tux Paint contributors", "GPL-2+", f"{package} 2022.06.04: {path}"


def shrink(picture: Image.Image, kind: str) -> Image.Image:
    """Trim a cut-out to its own outline, or a background to its square middle, and shrink it."""
    if kind == "object":
        cutout = picture.convert("RGBA")
        cutout = cutout.crop(cutout.getchannel("A").point(lambda a: 255 * (a > 40)).getbbox())
        cutout.thumbnail((OBJECT_SIDE, OBJECT_SIDE), Image.Resampling.LANCZOS)
        return cutout
    background = picture.convert("RGB")
    side = min(background.size)
    left, top = (background.width - side) // 2, (background.height - side) // 2
    square = background.crop((left, top, left + side, top + side))
    return square.resize((BACKGROUND_SIDE, BACKGROUND_SIDE), Image.Resampling.LANCZOS)


def main() -> None:
    """Write the kit's pictures and its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for package in ("stamps", "gcompris", "mvtb"):
        parser.add_argument(f"--{package}", type=Path, required=True)
    sources = Sources(**vars(parser.parse_args()))
    rows = []
    with (Path(__file__).parent / "selection.csv").open(encoding="utf-8") as table:
        chosen = list(csv.DictReader(table))
    for number, row in enumerate(chosen):
        facts = sources.facts(row["package"], row["path"])
        if facts is None:
            print(f"left out, no author or licence recorded: {row['path']}")
            continue
        file = f"{row['kind']}s/{number:03d}-{row['name'].replace(' ', '-')}.webp"
        (KIT / file).parent.mkdir(parents=True, exist_ok=True)
        shrink(sources.picture(row["package"], row["path"]), row["kind"]).save(KIT / file, quality=88, method=6)
        rows.append([file, row["kind"], row["name"], row["category"], row["held_out"], *facts])
    with (KIT / "kit.csv").open("w", encoding="utf-8", newline="") as table:
        csv.writer(table, lineterminator="\n").writerows([COLUMNS, *rows])
    print(f"{len(rows)} pictures in {KIT}")


if __name__ == "__main__":
    main()

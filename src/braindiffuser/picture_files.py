"""Picture files of any kind to 8-bit RGB, where that has one right meaning; everything else is refused by name.

| stored | read as |
|---|---|
| 8-bit RGB, grey, 1-bit, palette | as it is, grey in three channels |
| 16-bit grey | level / 257, rounded |
| 16-bit RGB | the upper byte, less than one level from level / 257 |
| with alpha, or a transparent colour | without, if every pixel is opaque |
| rotated by EXIF | upright |
| CMYK, LAB, 32 bits, fractions, several frames, colours other than sRGB | refused |
"""

from __future__ import annotations

import io
import stat
import sys
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Int, UInt8
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from braindiffuser.errors import RunError, reason
from braindiffuser.lfs_pointers import pointer_sentence
from braindiffuser.system_errors import is_of_the_system, sentence

RawPicture: TypeAlias = UInt8[np.ndarray, "height width 3"]
"""One picture, 8-bit RGB."""
Stream: TypeAlias = io.BufferedReader | io.BytesIO
"""An open picture file, or its bytes."""
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".jfif", ".apng",
    ".avif", ".heic", ".heif", ".jp2", ".jxl", ".ppm", ".pgm", ".tga", ".exr", ".hdr",
}  # fmt: skip
"""Of pictures. Those of formats that are not read take part too, so that they are refused by name and not overlooked."""

SRGB_GAMMA = 0.45455
SRGB_CHROMATICITIES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
"""x and y of white, red, green and blue."""
COLOUR_TOLERANCE, LEVEL_TOLERANCE = 0.01, 3
"""How far gamma and chromaticities, or levels (of 255) of a colour profile, may lie from sRGB: programs round them."""

DARKEST = 4095
"""A picture of 16 bits without a higher level may be one of 8, 10 or 12 bits, which would be read as nearly black."""
FEW_LEVELS = 8
"""Fewer different levels may all be even by chance."""
OTHER_ORDER = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}
"""Order of bytes → the other one, in Pillow's names."""

_AS_PNG = "save it as 8-bit RGB PNG"


def read_picture(path: Path) -> RawPicture:
    """Read one picture file in full; checksums of PNG files are compared.

    Raises:
        RunError: if it is no regular file, cannot be read, is damaged, has more pixels than Pillow considers safe, or what it
            holds has no one meaning as 8-bit RGB.
    """
    with _refusals(path):
        _refuse_others(path)
        with path.open("rb") as file:
            return _read(file, path)


def decode_picture(content: bytes, name: object, background: int | None = None) -> RawPicture:
    """Read one picture from the bytes of its file, as `read_picture` does.

    Args:
        content: the bytes.
        name: what messages call it.
        background: grey level, 0 to 255, that transparent pixels are shown over; None refuses them.

    Raises:
        RunError: as `read_picture`.
    """
    with _refusals(name):
        return _read(io.BytesIO(content), name, background)


def size_of_picture(path: Path) -> tuple[int, int]:
    """Return (height, width) as `read_picture` would, by reading the header alone.

    Raises:
        RunError: if it is no picture file.
    """
    with _refusals(path):
        _refuse_others(path)
        with path.open("rb") as file:
            return _size(file)


def _refuse_others(path: Path) -> None:
    """Raise RunError for what is no regular file: a pipe would be waited for without end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise RunError(f"{path} is a folder, a pipe or a device, expected a picture file: move it away, or rename it")


def size_of_encoded(content: bytes, name: object) -> tuple[int, int]:
    """Return (height, width) as `decode_picture` would, by reading the header alone; errors as in `size_of_picture`."""
    with _refusals(name):
        return _size(io.BytesIO(content))


@contextmanager
def _refusals(name: object) -> Iterator[None]:
    """Raise a RunError that names the picture for whatever Pillow or the system raises inside."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    except (RunError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        pointer = pointer_sentence(name) if isinstance(name, Path) else ""
        if pointer:
            raise RunError(pointer) from error
        raise RunError(f"{name} is damaged, or no picture of the formats {', '.join(FORMATS)}: {_AS_PNG}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RunError(f"{name} is too large for a picture ({reason(error)}): make it smaller") from error
    except Exception as error:  # damaged files make Pillow raise errors of many kinds
        if is_of_the_system(error):
            raise RunError(sentence(error, name)) from error
        raise RunError(f"{name} is damaged or cut short ({reason(error)}): get it again, or {_AS_PNG}") from error


def _size(file: Stream) -> tuple[int, int]:
    with Image.open(file, formats=FORMATS) as picture:
        turned = picture.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
        width, height = picture.size
        return (width, height) if turned else (height, width)


def _read(file: Stream, name: object, background: int | None = None) -> RawPicture:
    picture = Image.open(file, formats=FORMATS)
    is_png = picture.format == "PNG"
    if is_png:
        picture.verify()  # the checksums, which reading pixels does not compare
        picture = Image.open(file, formats=FORMATS)
    n_frames = getattr(picture, "n_frames", 1)
    if n_frames > 1 and picture.format != "MPO":  # a camera's JPEG, whose further frames are previews
        raise RunError(f"{name} holds {n_frames} frames, expected one: save the one that is meant as 8-bit RGB PNG")
    picture.load()
    if (is_png and not _is_coded_srgb(file)) or not _is_srgb(picture):
        raise RunError(
            f"{name} says that its colours are not sRGB (by a profile, gamma or primaries): convert them, and {_AS_PNG}"
        )
    _refuse_unusual_tiff(picture, name)
    _check_deflate(picture, file)
    if _has_16_bits(picture, file) and picture.mode in ("RGB", "RGBA"):
        _refuse_fewer_bits(_colours_of_16_bits(picture, file), name)
    return _levels(ImageOps.exif_transpose(picture), name, background)


def _colours_of_16_bits(picture: Image.Image, file: Stream) -> Int[np.ndarray, "height width 3"]:
    """Return the levels of 16 bits of which Pillow reads the upper bytes: read in the other order of bytes, it gives the lower.

    Where it knows no other order, as for grey with alpha, the lower bytes are 0.
    """
    upper = np.asarray(picture)[..., :3].astype(np.int64) * 256
    again: Any = Image.open(file, formats=FORMATS)
    given = again.tile[0][3]
    order = str(given if isinstance(given, str) else given[0]).removeprefix(f"{again.mode};")
    if order not in OTHER_ORDER:
        return upper
    raw_mode = f"{again.mode};{OTHER_ORDER[order]}"
    again.tile = [(*tile[:3], raw_mode if isinstance(given, str) else (raw_mode, *tile[3][1:])) for tile in again.tile]
    levels: Int[np.ndarray, "height width 3"] = upper + np.asarray(again)[..., :3]
    return levels


def _refuse_fewer_bits(levels: Int[np.ndarray, "height width ..."], name: object) -> None:
    """Raise RunError where levels show that fewer than their 16 bits are used, so that white is not 65,535.

    That is so if none is above DARKEST, the highest is a white of fewer bits, such as 16,383, or some high bits are 0
    throughout and the lowest bit is too. What was made of 8 bits, times 257 or 256, has its white at 16 bits.
    """
    highest = int(levels.max())
    if highest == 0 or highest >> 15 or not (levels % 257).any():
        return
    is_white = highest & (highest + 1) == 0
    is_padded = not (levels & 1).any() and (levels % 256).any() and len(np.unique(levels)) >= FEW_LEVELS
    if highest <= DARKEST or is_white or is_padded:
        raise RunError(
            f"{name} has 16 bits, but levels of 0 to {highest} only, so it is not known which one is white: {_AS_PNG}"
        )


def _has_16_bits(picture: Image.Image, file: Stream) -> bool:
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        return 16 in picture.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, ())
    file.seek(24)  # of a PNG file, whose header has a fixed place
    return picture.format == "PNG" and file.read(1) == b"\x10"


def _check_deflate(picture: Image.Image, file: Stream) -> None:
    """Decompress a TIFF file's strips or tiles to their ends, where their checksums are; libtiff stops short of them."""
    tags = picture.tag_v2 if isinstance(picture, TiffImagePlugin.TiffImageFile) else {}
    if tags.get(TiffImagePlugin.COMPRESSION) not in (8, 32946):
        return
    starts = tags.get(TiffImagePlugin.STRIPOFFSETS) or tags[TiffImagePlugin.TILEOFFSETS]
    sizes = tags.get(TiffImagePlugin.STRIPBYTECOUNTS) or tags[TiffImagePlugin.TILEBYTECOUNTS]
    for start, size in zip(starts, sizes, strict=True):
        file.seek(start)
        unpacking = zlib.decompressobj()
        unpacking.decompress(file.read(size))
        if not unpacking.eof:
            raise ValueError("a compressed strip has no end")


def _levels(picture: Image.Image, path: object, background: int | None) -> RawPicture:
    mode, clear = picture.mode, picture.info.get("transparency")
    if mode.startswith("I;16") or (mode == "I" and picture.format == "PNG"):  # Pillow before 11 names it so
        levels = np.asarray(picture).astype(np.int64)
        _refuse_fewer_bits(levels, path)
        is_clear = clear is not None and bool((levels == clear).any())
        rgb = np.repeat(((levels + 128) // 257).astype(np.uint8)[..., None], 3, axis=2)
    elif mode in ("1", "L", "P", "RGB", "LA", "PA", "RGBA", "RGBa"):
        has_alpha = clear is not None or mode[-1] in "Aa"
        is_clear = has_alpha and bool(np.asarray(picture.convert("RGBA").getchannel("A")).min() < 255)
        if is_clear and background is not None:
            behind = Image.new("RGBA", picture.size, (background, background, background, 255))
            picture, is_clear = Image.alpha_composite(behind, picture.convert("RGBA")), False
        rgb = np.asarray(picture.convert("RGBA").convert("RGB") if has_alpha else picture.convert("RGB"))
    else:
        raise RunError(f"{path} holds pixels of type {mode}, which can become RGB in more than one way: {_AS_PNG}")
    if is_clear:
        raise RunError(f"{path} is transparent in places: put it on the background that was meant, and {_AS_PNG}")
    return rgb


def _interop(picture: Image.Image) -> Mapping[int, Any]:
    """Return what EXIF says of interoperability; nothing where it has no such part, which some versions of Pillow raise for."""
    try:
        return picture.getexif().get_ifd(ExifTags.IFD.Interop)
    except KeyError:
        return {}


def _is_srgb(picture: Image.Image) -> bool:
    """Return whether colours are sRGB by what a file says of them; if it says nothing, they are."""
    info = picture.info
    if info.get("icc_profile"):
        return _stands_for_srgb(info["icc_profile"])
    if "srgb" in info:
        return True
    said = info.get("gamma", SRGB_GAMMA), *info.get("chromaticity", ())
    pairs = zip(said, (SRGB_GAMMA, *SRGB_CHROMATICITIES), strict=False)
    is_adobe = _interop(picture).get(ExifTags.Interop.InteropIndex) == "R03"
    return not is_adobe and all(abs(one - other) <= COLOUR_TOLERANCE for one, other in pairs)


@lru_cache(maxsize=8)
def _stands_for_srgb(profile: bytes) -> bool:
    """Return whether a colour profile changes colours by no more than rounding, on the way to sRGB."""
    from PIL import ImageCms

    opened, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    space = opened.profile.xcolor_space.strip()
    if space not in ("GRAY", "RGB"):
        return False
    steps = np.arange(0, 256, 51)
    levels = (
        np.arange(256)[None] if space == "GRAY" else np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    )
    colours = Image.fromarray(levels.astype(np.uint8))
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    changed = ImageCms.profileToProfile(colours, opened, srgb, intent, "RGB") or colours
    before, after = (np.asarray(picture.convert("RGB"), np.int64) for picture in (colours, changed))
    return int(np.abs(after - before).max()) <= LEVEL_TOLERANCE


def _is_coded_srgb(file: Stream) -> bool:
    """Return whether the chunk cICP of a PNG file, which Pillow skips, is absent or stands for sRGB."""
    file.seek(0)
    _, found, code = file.read().partition(b"IDAT")[0].partition(b"cICP")
    return not found or code[:4] == bytes((1, 13, 0, 1))


def _refuse_unusual_tiff(picture: Image.Image, path: object) -> None:
    """Raise RunError at levels that Pillow would misread: with a sign, or 16-bit grey of fewer bits or with white as 0."""
    if not isinstance(picture, TiffImagePlugin.TiffImageFile):
        return
    tags = picture.tag_v2
    samples = set(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,)))
    bits, meaning = tags.get(TiffImagePlugin.BITSPERSAMPLE), tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION)
    if samples != {1} or (picture.mode.startswith("I;16") and (bits, meaning) != ((16,), 1)):
        raise RunError(
            f"{path} holds levels of an unusual kind (bits {bits}, format {samples}, interpretation {meaning}): {_AS_PNG}"
        )

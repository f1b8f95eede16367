"""Laws of picture files: what is read has the pixels that were meant; all else is refused in a sentence that names the file."""

import contextlib
import io
import os
import socket
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import ExifTags, Image, ImageCms, ImageOps

from braindiffuser.errors import RunError
from braindiffuser.picture_files import read_picture

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
OTHER = SRGB.replace(b"rXYZ", b"xxxx").replace(b"gXYZ", b"rXYZ").replace(b"xxxx", b"gXYZ")
"""A profile whose red and green are the other way round."""
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
PRIMARIES = {
    "sRGB": (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
    "Display P3": (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000),
}

RAW = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
RGB = Image.fromarray(RAW)
GREY = RGB.convert("L")
LEVELS = np.asarray(GREY)
PALETTE = RGB.quantize(16)
ORIENTATION, LOSSLESS = 0x0112, {"PNG": {}, "TIFF": {}, "BMP": {}, "WEBP": {"lossless": True}}


def in_three(levels):
    return np.repeat(levels[..., None], 3, axis=2)


def with_alpha(picture, alpha):
    picture = picture.copy()
    picture.putalpha(alpha)
    return picture


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(levels, colour_type, depth, *chunks):
    """Encode levels (height, width, channels) as PNG without Pillow; zlib's checksum is in a chunk of its own."""
    height, width = levels.shape[:2]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes() for row in levels)
    pixels = zlib.compress(rows)
    parts = [chunk(b"IDAT", part) for part in (pixels[:-4], pixels[-4:])]
    return b"".join([b"\x89PNG\r\n\x1a\n", header, *chunks, *parts, chunk(b"IEND", b"")])


def encoded(picture, form="PNG", **options):
    with io.BytesIO() as file:
        picture.save(file, form, **options)
        return file.getvalue()


def exif(**entries):
    found = Image.Exif()
    found.update({ORIENTATION: entries["orientation"]} if "orientation" in entries else {})
    if "interop" in entries:
        found.get_ifd(0x8769)[0xA005] = {1: entries["interop"]}
    return found


def read(tmp_path, content, name="a.png"):
    (tmp_path / name).write_bytes(content)
    return read_picture(tmp_path / name)


ONE_MEANING = {
    **{f"RGB {form}": (encoded(RGB, form, **options), RAW) for form, options in LOSSLESS.items()},
    **{f"grey {form}": (encoded(GREY, form), in_three(LEVELS)) for form in ("PNG", "TIFF", "BMP")},
    "1 bit": (encoded(GREY.convert("1")), in_three(np.asarray(GREY.convert("1")).astype(np.uint8) * 255)),
    **{f"palette {form}": (encoded(PALETTE, form), np.asarray(PALETTE.convert("RGB"))) for form in ("PNG", "GIF", "BMP")},
    "palette, opaque": (encoded(PALETTE, transparency=b"\xff" * 16), np.asarray(PALETTE.convert("RGB"))),
    **{f"16-bit grey {form}": (encoded(Image.fromarray(LEVELS.astype(np.uint16) * 257), form), in_three(LEVELS))
       for form in ("PNG", "TIFF")},
    "16-bit RGB": (png(RAW.astype(np.uint16) * 257, 2, 16), RAW),
    "16-bit RGB, opaque": (png(np.dstack([RAW.astype(np.uint16) * 257, np.full((5, 7), 65535)]), 6, 16), RAW),
    **{f"opaque {form}": (encoded(with_alpha(RGB, 255), form, **LOSSLESS[form]), RAW) for form in ("PNG", "TIFF", "WEBP")},
    "opaque grey": (encoded(GREY.convert("LA")), in_three(LEVELS)),
    "a transparent colour that is nowhere": (png(RAW, 2, 8, chunk(b"tRNS", struct.pack(">3H", 1, 2, 300))), RAW),
    "sRGB profile": (encoded(RGB, icc_profile=SRGB), RAW),
    "grey with sRGB profile": (encoded(GREY, icc_profile=SRGB), in_three(LEVELS)),
    "gamma as of sRGB": (png(RAW, 2, 8, chunk(b"gAMA", struct.pack(">I", 45455))), RAW),
    "primaries of sRGB": (png(RAW, 2, 8, chunk(b"cHRM", struct.pack(">8I", *PRIMARIES["sRGB"]))), RAW),
    "sRGB, whatever gamma": (png(RAW, 2, 8, chunk(b"sRGB", b"\0"), chunk(b"gAMA", struct.pack(">I", 99999))), RAW),
    "code of sRGB": (png(RAW, 2, 8, chunk(b"cICP", bytes((1, 13, 0, 1)))), RAW),
}  # fmt: skip

UNCLEAR = {
    "alpha PNG": (encoded(with_alpha(RGB, GREY)), "is transparent in places: put it on the background"),
    "alpha WEBP": (encoded(with_alpha(RGB, GREY), "WEBP", lossless=True), "is transparent in places"),
    "alpha TIFF": (encoded(with_alpha(RGB, GREY), "TIFF"), "is transparent in places"),
    "alpha 0": (encoded(with_alpha(RGB, 0)), "is transparent in places"),
    "alpha grey": (encoded(with_alpha(GREY, 254)), "is transparent in places"),
    "palette": (encoded(PALETTE, transparency=int(np.asarray(PALETTE)[0, 0])), "is transparent in places"),
    "transparent colour": (png(RAW, 2, 8, chunk(b"tRNS", struct.pack(">3H", *RAW[1, 1]))), "is transparent in places"),
    "transparent grey": (
        png(LEVELS.astype(np.uint16) * 257, 0, 16, chunk(b"tRNS", struct.pack(">H", int(LEVELS[0, 0]) * 257))),
        "is transparent in places",
    ),
    "CMYK TIFF": (encoded(RGB.convert("CMYK"), "TIFF"), "holds pixels of type CMYK"),
    "CMYK JPEG": (encoded(RGB.convert("CMYK"), "JPEG"), "holds pixels of type CMYK"),
    "LAB": (encoded(Image.new("LAB", (7, 5)), "TIFF"), "holds pixels of type LAB"),
    "32-bit": (encoded(Image.fromarray(LEVELS.astype(np.int32)), "TIFF"), "holds levels of an unusual kind"),
    "float": (encoded(Image.fromarray(LEVELS / np.float32(255)), "TIFF"), "holds levels of an unusual kind"),
    "white as 0": (
        encoded(Image.fromarray(LEVELS.astype(np.uint16)), "TIFF", tiffinfo={262: 0}),
        "holds levels of an unusual kind",
    ),
    **{
        f"frames {form}": (
            encoded(RGB, form, save_all=True, append_images=[RGB.rotate(180)]),
            "holds 2 frames, expected one: save the one that is meant",
        )
        for form in ("PNG", "GIF", "TIFF", "WEBP")
    },
    "profile": (encoded(RGB, icc_profile=OTHER), "says that its colours are not sRGB"),
    "profile of grey": (encoded(GREY, "TIFF", icc_profile=OTHER), "says that its colours are not sRGB"),
    "profile of JPEG": (encoded(RGB, "JPEG", icc_profile=OTHER), "says that its colours are not sRGB"),
    "profile of LAB": (encoded(RGB, icc_profile=LAB), "says that its colours are not sRGB"),
    "damaged profile": (encoded(RGB, icc_profile=b"none"), "is damaged or cut short"),
    "Adobe RGB of cameras": (encoded(RGB, "JPEG", exif=exif(interop="R03")), "says that its colours are not sRGB"),
    "gamma": (png(RAW, 2, 8, chunk(b"gAMA", struct.pack(">I", 100000))), "says that its colours are not sRGB"),
    "primaries": (
        png(RAW, 2, 8, chunk(b"cHRM", struct.pack(">8I", *PRIMARIES["Display P3"]))),
        "says that its colours are not sRGB",
    ),
    "code of HDR": (png(RAW, 2, 8, chunk(b"cICP", bytes((9, 16, 0, 1)))), "says that its colours are not sRGB"),
    "no picture": (b"<html>", "is damaged, or no picture of the formats PNG, JPEG"),
    "empty": (b"", "is damaged, or no picture of the formats PNG, JPEG"),
    "400 million pixels": (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b""),
        "is too large for a picture",
    ),
    "100 million pixels": (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 10000, 10000, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b""),
        "is too large for a picture",
    ),
}


@pytest.mark.parametrize("kind", ONE_MEANING)
def test_what_has_one_meaning_is_read_as_that(kind, tmp_path):
    content, expected = ONE_MEANING[kind]
    found = read(tmp_path, content)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", UNCLEAR)
def test_what_has_none_is_refused_by_name(kind, tmp_path):
    content, words = UNCLEAR[kind]
    with pytest.raises(RunError) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path / 'a.png'} {words}")
    assert "\n" not in str(caught.value)


def srgb_with_gamma(exponent):
    """sRGB's profile with another exponent than 2.4, which moves levels by up to 2 (2.46), 4 (2.5) and 8 (2.6) of 255."""
    return SRGB.replace(struct.pack(">i", round(2.4 * 65536)), struct.pack(">i", round(exponent * 65536)))


@pytest.mark.parametrize(
    ("content", "is_srgb"),
    [
        (png(RAW, 2, 8, chunk(b"gAMA", struct.pack(">I", 45455 + 900))), True),
        (png(RAW, 2, 8, chunk(b"gAMA", struct.pack(">I", 45455 + 1100))), False),
        (png(RAW, 2, 8, chunk(b"gAMA", struct.pack(">I", 45455 - 1100))), False),
        (png(RAW, 2, 8, chunk(b"cHRM", struct.pack(">8I", *PRIMARIES["sRGB"][:7], 6900))), True),
        (png(RAW, 2, 8, chunk(b"cHRM", struct.pack(">8I", *PRIMARIES["sRGB"][:7], 7100))), False),
        (encoded(RGB, icc_profile=srgb_with_gamma(2.46)), True),
        (encoded(RGB, icc_profile=srgb_with_gamma(2.5)), False),
    ],
)
def test_other_colours_are_told_from_rounding(tmp_path, content, is_srgb):
    if is_srgb:
        np.testing.assert_array_equal(read(tmp_path, content), RAW)
    else:
        with pytest.raises(RunError, match="says that its colours are not sRGB"):
            read(tmp_path, content)


@settings(deadline=None, max_examples=25)
@given(arrays(np.uint16, (3, 4)))
def test_16_bit_grey_is_rounded_to_the_nearest_of_256_levels(tmp_path_factory, levels):
    levels[0, 0] = 65535  # so that all 16 bits are used
    found = read(tmp_path_factory.mktemp("grey"), png(levels, 0, 16))
    np.testing.assert_array_equal(found, in_three(np.rint(levels / 257).astype(np.uint8)))


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_read_upright(form, orientation, tmp_path):
    content = encoded(RGB, form, exif=exif(orientation=orientation), **LOSSLESS.get(form, {}))
    with Image.open(io.BytesIO(content)) as picture:
        expected = ImageOps.exif_transpose(picture).convert("RGB")
    found = read(tmp_path, content, "a")
    np.testing.assert_array_equal(found, expected)
    assert found.shape == ((5, 7, 3) if orientation < 5 else (7, 5, 3))


def test_the_content_decides_and_not_the_suffix(tmp_path):
    np.testing.assert_array_equal(read(tmp_path, encoded(RGB, "BMP"), "a.jpg"), RAW)


@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "device"])
def test_what_is_no_regular_file_is_refused_at_once(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    path = tmp_path / "a.png"
    with socket.socket(socket.AF_UNIX) as server:
        make = {
            "folder": path.mkdir,
            "pipe": lambda: os.mkfifo(path),
            "socket": lambda: server.bind("a.png"),
            "device": lambda: path.symlink_to("/dev/zero"),
        }
        make[kind]()
        with pytest.raises(
            RunError, match=r"a\.png is a folder, a pipe or a device, expected a picture file: move it away"
        ):
            read_picture(path)


def test_the_system_is_told_from_the_file(tmp_path, monkeypatch):
    with pytest.raises(RunError, match=r"none\.png cannot be read or written: there is no such file"):
        read_picture(tmp_path / "none.png")

    def fail(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("PIL.Image.open", fail)
    with pytest.raises(RunError, match=r"a\.png cannot be read or written: you have no permission"):
        read(tmp_path, b"")


# Damage


def flipped(content, draw):
    place = draw(st.integers(0, len(content) - 1))
    return content[:place] + bytes([content[place] ^ draw(st.integers(1, 255))]) + content[place + 1 :]


def cut(content, draw):
    start = draw(st.integers(0, len(content) - 1))
    return content[:start] + content[start + draw(st.integers(1, len(content))) :]


def replaced(content, draw):
    start, new = draw(st.integers(0, len(content) - 1)), draw(st.binary(min_size=1, max_size=40))
    return content[:start] + new + content[start + len(new) :]


def moved(content, draw):
    """Exchange the two chunks of pixels, whose checksums still hold."""
    first, second = (place - 4 for place in (content.index(b"IDAT"), content.rindex(b"IDAT")))
    end = content.index(b"IEND") - 4
    return content[:first] + content[second:end] + content[first:second] + content[end:]


WHOLE = {name: ONE_MEANING[name] for name in ("16-bit RGB", "16-bit grey PNG", "palette, opaque", "sRGB profile")}
WHOLE |= {"RGB": (png(RAW, 2, 8, chunk(b"tEXt", b"who\0knows")), RAW)}


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(sorted(WHOLE)), st.sampled_from([flipped, cut, replaced, moved]), st.data())
def test_a_damaged_png_is_refused_or_gives_the_same_pixels(tmp_path_factory, kind, damage, data):
    content, expected = WHOLE[kind]
    try:
        found = read(tmp_path_factory.mktemp("damaged"), damage(content, data.draw))
    except RunError as error:
        found, named = expected, "a.png" in str(error)
    else:
        named = True
    assert named
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_file_that_is_cut_short_is_refused(form, kept, tmp_path):
    content = encoded(Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)), form)
    with pytest.raises(RunError, match=r"a\.png is (damaged|cut short)"):
        read(tmp_path, content[: int(kept * len(content))])


@pytest.mark.parametrize("highest", [255, 1023, 4080, 4095, 4096, 65535])
def test_few_bits_in_a_file_of_sixteen_are_refused(tmp_path, highest):
    """Programs save 8, 10 or 12 bits so; read as 16 they would be nearly black."""
    levels = np.linspace(0, highest, 144).astype(np.uint16).reshape(12, 12)
    Image.fromarray(levels).save(tmp_path / "a.png")
    if highest > 4095:
        read_picture(tmp_path / "a.png")
    else:
        with pytest.raises(RunError, match=rf"a\.png has 16 bits, but levels of 0 to {highest} only"):
            read_picture(tmp_path / "a.png")


BLOCKS = np.random.default_rng(7).integers(0, 256, (8, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
"""Blocks of colour compress well, so that a flipped bit changes pixels where only the checksum tells."""


@pytest.mark.parametrize("bit", range(0, 8, 3))
def test_damage_of_a_deflated_tiff_is_refused_or_gives_the_same_pixels(tmp_path, bit):
    Image.fromarray(BLOCKS).save(tmp_path / "whole.tif", compression="tiff_adobe_deflate")
    content = (tmp_path / "whole.tif").read_bytes()
    np.testing.assert_array_equal(read_picture(tmp_path / "whole.tif"), BLOCKS)
    for place in range(8, len(content) - 200, 3):
        changed = bytearray(content)
        changed[place] ^= 1 << bit
        (tmp_path / "a.tif").write_bytes(changed)
        with contextlib.suppress(RunError):
            np.testing.assert_array_equal(read_picture(tmp_path / "a.tif"), BLOCKS)


def tiff(levels, order):
    """Encode 16-bit RGB without compression, as one strip; `order` of bytes: < or >."""
    height, width, _ = levels.shape
    pixels = levels.astype(f"{order}u2").tobytes()
    tags = {256: width, 257: height, 258: 16, 259: 1, 262: 2, 273: 8, 277: 3, 278: height, 279: len(pixels)}
    entries = [struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags.items()]
    entries[2] = struct.pack(f"{order}HHII", 258, 3, 3, 8 + len(pixels))
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)
    where = 8 + len(pixels) + 6
    begin = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, where)
    return begin + pixels + struct.pack(f"{order}HHH", 16, 16, 16) + directory


SIXTEEN = {
    "grey PNG": lambda levels: png(levels[..., 0], 0, 16),
    "grey TIFF": lambda levels: encoded(Image.fromarray(levels[..., 0]), "TIFF"),
    "RGB PNG": lambda levels: png(levels, 2, 16),
    "RGBA PNG": lambda levels: png(np.dstack([levels, np.full(levels.shape[:2], 65535)]), 6, 16),
    "RGB TIFF <": lambda levels: tiff(levels, "<"),
    "RGB TIFF >": lambda levels: tiff(levels, ">"),
}
MANY = np.random.default_rng(5).integers(0, 1 << 16, (12, 12, 3)).astype(np.uint16)
FEW_BITS = {
    "12 bits": MANY >> 4,
    "14 bits with a white": np.where(MANY > 60000, 16383, MANY >> 2).astype(np.uint16),
    "15 bits with a white": np.where(MANY > 60000, 32767, MANY >> 1).astype(np.uint16),
    "12 bits in the upper ones of 14": (MANY >> 4) << 2,
    "8 bits in the upper ones of 14": (MANY >> 8) << 6,
    "12 bits, and one level of 4096": np.where(np.arange(3) == MANY[..., :1] % 3, 4096, (MANY >> 8) << 4).astype(
        np.uint16
    ),
}
DARK = {
    "16 bits": (MANY >> 2) | 1,
    "16 bits, evenly dark": np.full_like(MANY, 20000),
    "8 bits times 257": (MANY >> 8) // 32 * 257,
    "8 bits times 256": (MANY >> 8) // 4 * 256,
    "black": np.zeros_like(MANY),
}


@pytest.mark.parametrize("form", SIXTEEN)
@pytest.mark.parametrize("kind", FEW_BITS)
def test_levels_that_show_fewer_bits_than_sixteen_are_refused(tmp_path, form, kind):
    """Their white would be read as dark grey."""
    with pytest.raises(
        RunError, match=r"has 16 bits, but levels of 0 to \d+ only, so it is not known which one is white"
    ):
        read(tmp_path, SIXTEEN[form](FEW_BITS[kind]))


@pytest.mark.parametrize("form", SIXTEEN)
@pytest.mark.parametrize("kind", DARK)
def test_dark_pictures_of_sixteen_bits_are_read(tmp_path, form, kind):
    levels = DARK[kind]
    if kind == "16 bits":
        levels = levels - (levels == 16383) * np.uint16(2)
    found = read(tmp_path, SIXTEEN[form](levels))
    expected = levels if "RGB" in form else levels[..., :1].repeat(3, axis=2)
    assert np.abs(found - expected / 257).max() < 1


def test_the_previews_of_a_cameras_file_are_left_out(tmp_path):
    frames = [Image.fromarray(np.full((16, 16, 3), level, np.uint8)) for level in (200, 10)]
    frames[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=frames[1:])
    assert np.abs(read_picture(tmp_path / "a.jpg").astype(int) - 200).max() <= 2


def test_versions_of_pillow_that_raise_where_there_is_no_interoperability_read_pictures(tmp_path, monkeypatch):
    """Pillow 11 and others raise KeyError for a part of EXIF that a file does not have."""
    path = tmp_path / "grey.png"
    Image.fromarray(np.full((4, 4, 3), 7, np.uint8)).save(path)
    original = Image.Exif.get_ifd

    def raising(self, tag):
        if tag == ExifTags.IFD.Interop:
            raise KeyError(tag)
        return original(self, tag)

    monkeypatch.setattr(Image.Exif, "get_ifd", raising)
    assert (read_picture(path) == 7).all()

import base64
import hashlib
import io
import re
import webbrowser
from concurrent.futures import ProcessPoolExecutor
from html import unescape
from importlib import resources
from multiprocessing import get_context

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from braindiffuser.images import BATCH, resize, to_uint8
from braindiffuser.report import page as page_module
from braindiffuser.report import strips
from braindiffuser.report.page import SCRIPTS, SHOWN_SIDE, Header, Report, render_page
from braindiffuser.report.region_section import regions_section
from braindiffuser.report.run_section import run_section
from braindiffuser.report.score_sections import noise_ceiling_section, score_sections
from braindiffuser.report.sections import (
    Block,
    ContactSheet,
    Facts,
    Gallery,
    GalleryRow,
    Headline,
    Headlines,
    PictureGroup,
    PictureGroups,
    PictureRef,
    Section,
    Sentences,
    SheetMetric,
    Strip,
    Summary,
    Text,
)

HEADER = Header(experiment="demo", subject="subj01", simulated=True, version="0.1")
HOSTILE = '{}</style></title><script>alert(1)</script><!-- " onload="x" \' & &lt; {{{{ 7 * 7 }}}} $x_1$ {}'
CONTENTS = [
    {"type": "text", "text": "words"},
    {"type": "text", "text": "note", "style": "note"},
    {"type": "headlines", "items": [{"label": "label", "value": "value", "notes": ["one", "two"]}]},
    *(
        {
            "type": "table",
            "caption": f"caption{fold}",
            "corner": "corner",
            "columns": ["a", "b"],
            "rows": [{"label": "row", "cells": [{"value": "1", "interval": "interval"}, {"value": "2"}]}],
            "main": "b",
            "fold": fold,
        }
        for fold in ("", "fold")
    ),
    {"type": "figures", "figures": [{"svg": "<svg/>", "title": "title", "note": "under"}]},
    {
        "type": "pictures",
        "groups": [{"name": "V1", "note": "3 voxels", "pictures": [{"kind": "final", "number": 0, "label": "see"}]}],
    },
    {
        "type": "gallery",
        "kinds": {"final": "whole"},
        "rows": {"best": [{"number": 0, "stimulus_id": 5, "place": 1, "scores": {"metric": "0.5"}}]},
        "n_ranked": 1,
        "ranking": "metric",
    },
    {
        "type": "contact_sheet",
        "kinds": {"final": "all"},
        "strips": [
            {"number": 0, "stimulus_id": 5, "score": "0.7", "scores": [0.5], "flags": ["doubt"], "neighbours": [0]}
        ],
        "ranking": "by",
        "metrics": [{"label": "sorted by"}],
    },
    {"type": "facts", "facts": {"term": "meaning"}},
    {"type": "facts", "facts": {"term2": "explained"}, "style": "explained"},
    {"type": "code", "text": "a: 1", "fold": "file"},
    {"type": "links", "links": {"other page": "fold-0/report/index.html"}},
    {
        "type": "summary",
        "conclusions": [{"type": "sentences", "heading": "supported", "sentences": ["sentence"], "style": "muted"}],
        "headlines": {"type": "headlines", "items": [{"label": "number", "value": "0.1", "notes": []}]},
        "gallery": {
            "type": "gallery",
            "kinds": {"final": "small"},
            "rows": {"worst": [{"number": 0, "stimulus_id": 5, "place": 1, "scores": {"rank": "0.6"}}]},
            "n_ranked": 1,
            "ranking": "rank",
        },
    },
]
FIXED = {"type", "style", "svg", "kind"}
"""Entries whose values are no free text."""


def replaced(content, replace, key=""):
    """Replace every free text of a block, the keys of mappings included."""
    if isinstance(content, dict):
        free = key in ("scores", "facts", "rows", "links")
        return {replace(name) if free else name: replaced(entry, replace, name) for name, entry in content.items()}
    if isinstance(content, list):
        return [replaced(entry, replace) for entry in content]
    free = isinstance(content, str) and content and key not in FIXED and not content.endswith(".html")
    return replace(content) if free else content


def texts_in(content):
    """Every text of what a page stores for its script."""
    if isinstance(content, dict):
        return texts_in(list(content.values()))
    return [text for each in content for text in texts_in(each)] if isinstance(content, list) else [str(content)]


def page_of(contents, read, header=HEADER, title="Title"):
    blocks = TypeAdapter(tuple[Block, ...]).validate_python(contents)
    return render_page(header, [Section(name="s", title=title, blocks=blocks)], read)


def section(name, *blocks, **facts):
    return Section(name=name, title=name, blocks=blocks, **facts)


@pytest.fixture
def full(scored):
    """Sections of everything that a run leaves."""

    def make(n=15, words=""):
        ablations = {"low_level_only": f"Low level only{words}", "text_only": f"Text only{words}"}
        sets = [scored(n, ablations=ablations), scored(9, name="held_out", first=n, ablations=ablations)]
        for one in sets:
            for entry in one.scores["metrics"].values():
                entry["label"] += words
            one.scores["missing"].append(f"SwAV{words}")
        rois = {f"V1{words}": {"n_voxels": 320, "median": 38.2, "quartiles": [20.1, 52.3]}}
        rois[f"faces{words}"] = {"n_voxels": 0, "note": f"The scenes show no faces.{words}"}
        regions = {"lengths": "from-training", "regions": [{"name": f"V1{words}", "n_voxels": 320}]}
        manifest = {
            "uid": f"demo-0f89{words}",
            "seed": 7,
            "versions": {"torch": f"2.9{words}"},
            "machine": {"platform": f"Linux{words}"},
            "experiment": {"name": f"demo{words}", "alphas": [1.0]},
            "stages": {f"fit{words}": {"seconds": 65.0, "peak_memory_gb": 1.5, "finished": f"2026{words}"}},
        }
        records = {f"fit.text{words}": {"uid": "ab", "finished": f"2026{words}", "versions": {"torch": f"2.8{words}"}}}
        return [
            *score_sections(sets),
            noise_ceiling_section({"rois": rois, "note": f"a note{words}"}),
            regions_section("roi_maximisation", regions, ["roi_maximisation_low_level", "roi_maximisation_full"]),
            run_section(manifest, records),
        ]

    return make


def test_every_text_stays_text_wherever_it_stands(coded, outline):
    tokens = {}

    def hostile(text):
        return tokens.setdefault(text, HOSTILE.format(f"t{len(tokens)}", f"u{len(tokens)}"))

    def pages(replace):
        header = Header(experiment=replace("demo"), subject=replace("subj01"), simulated=True, version=replace("0.1"))
        return outline(page_of([replaced(block, replace) for block in CONTENTS], coded, header, replace("Title")))

    attacked, harmless = pages(hostile), pages(lambda text: text)
    assert len(tokens) > 30
    assert attacked.skeleton == harmless.skeleton
    stored = [text for sheet in attacked.data for text in texts_in(sheet)]
    shown = [
        *stored,
        *attacked.texts,
        *(str(value) for _, attributes in attacked.tags for value in attributes.values()),
    ]
    shown = "\n".join(shown).lower()
    missing = [token for token in tokens.values() if token.lower() not in shown]
    assert not missing


def test_hostile_names_of_a_run_stay_text_on_its_page(full, coded, outline):
    attacked = outline(render_page(HEADER, full(words=HOSTILE.format("", "")), coded))
    assert attacked.skeleton == outline(render_page(HEADER, full(words=" x"), coded)).skeleton
    assert HOSTILE.format("", "") in "".join(attacked.texts)


def test_page_runs_its_own_script_alone_and_fetches_nothing(full, coded, outline):
    page = render_page(HEADER, full(), coded)
    found = outline(page)
    assets = resources.files("braindiffuser.report") / "assets"
    assert sorted(SCRIPTS) == sorted(path.name for path in assets.iterdir() if path.name.endswith(".js"))
    script = "\n".join((assets / name).read_text(encoding="utf-8") for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (attributes["content"] for tag, attributes in found.tags if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert f"script-src 'sha256-{digest}';" in policy
    types = [attributes.get("type") for tag, attributes in found.tags if tag == "script"]
    assert types == ["application/json", "application/json", None]
    assert page.count(f"<script>{script}</script>") == page.count("<script>") == 1
    page = page.replace(script, "")
    links = found.values("src") + found.values("href") + found.values("xlink:href")
    assert len(links) > 60
    assert all(link.startswith(("data:image/png;base64,", "data:image/webp;base64,", "#")) for link in links)
    assert not {tag for tag, _ in found.tags} & {"link", "iframe", "object", "embed", "base", "form", "a"}
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
    assert not set(found.skeleton[0][1]) & {"srcset", "poster", "background", "manifest"}
    assert "@import" not in page
    assert "image-set" not in page
    assert all(target.strip("'\"").startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))


def test_ids_are_unique_and_references_lead_somewhere(full, coded, outline):
    page = render_page(HEADER, full(), coded)
    found = outline(page)
    ids = found.values("id")
    assert len(ids) == len(set(ids))
    references = [link[1:] for link in found.values("href")] + re.findall(r"url\(#([^)]*)\)", page)
    assert references
    assert set(references) | set(found.values("aria-labelledby")) <= set(ids)


def test_figures_take_their_colours_from_the_page(full, coded):
    page = render_page(HEADER, full(), coded)
    figures = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(figures) == 3 * 3 + 1
    dark = page[page.index("prefers-color-scheme") :]
    for svg in figures:
        assert not re.search(r"#[0-9a-f]{6}\b", svg)
        for variable in re.findall(r"var\(--([a-z-]+)\)", svg):
            assert page.count(f"--{variable}:") == 2
            assert dark.count(f"--{variable}:") == 1


def test_same_sections_same_bytes(full, coded):
    assert render_page(HEADER, full(), coded) == render_page(HEADER, full(), type(coded)())


def test_what_stands_between_backticks_is_code_and_stays_text():
    sentence = "Type `analyse <b> --out RUN`, of 5 % & more, ` alone."
    listed = Sentences(heading="H", sentences=(sentence,), style="plain")
    blocks = (Text(text=sentence), listed, Facts(facts={"a": sentence}))
    page = render_page(HEADER, [Section(name="a", title="A", blocks=blocks)], lambda kind, numbers: None)
    assert page.count("<code>analyse &lt;b&gt; --out RUN</code>, of 5") == 3
    assert page.count("&amp; more, ` alone.") == 3


def test_page_survives_storage(full, coded):
    stored = [Section.model_validate_json(one.model_dump_json(indent=1)) for one in full()]
    assert render_page(HEADER, stored, coded) == render_page(HEADER, full(), type(coded)())


def test_appendices_come_last_and_all_else_keeps_its_order(coded, outline):
    names = {"z": False, "b": True, "a": False, "y": True, "m": False}
    page = render_page(HEADER, [section(name, appendix=last) for name, last in names.items()], coded)
    assert outline(page).values("id") == ["z", "a", "m", "b", "y"]


def test_two_sections_of_one_name_are_refused(coded):
    with pytest.raises(ValueError, match="two sections of the page have the name b"):
        render_page(HEADER, [section("b"), section("a"), section("b", appendix=True)], coded)


def test_a_page_of_nothing_is_a_page(coded, outline):
    assert outline(render_page(HEADER, [], coded)).values("id") == []
    assert outline(page_of([{"type": "facts", "facts": {}}], coded)).images() == []


def test_page_says_whether_the_subject_is_simulated(coded):
    recorded = Header(experiment="demo", subject="subj01", simulated=False, version="0.1")
    assert "no human brain was recorded" in render_page(HEADER, [], coded)
    assert "subj01, simulated" in render_page(HEADER, [], coded)
    assert "simulated" not in render_page(recorded, [], coded)


def test_every_picture_of_a_group_is_the_one_that_it_names(coded, outline):
    refs = [PictureRef(kind=kind, number=number, label=f"{kind} {number}") for kind in "ab" for number in (3, 270, 0)]
    groups = tuple(PictureGroup(name="V1", pictures=tuple(refs[start : start + 2])) for start in (0, 2, 4))
    images = outline(render_page(HEADER, [section("s", PictureGroups(groups=groups))], coded)).images()
    assert [coded.name(picture) for _, picture in images] == [(ref.kind, ref.number) for ref in refs]
    assert [label for label, _ in images] == [ref.label for ref in refs]


def test_every_picture_of_a_gallery_is_the_one_of_its_row_and_column(coded, outline):
    rows = [GalleryRow(number=number, stimulus_id=9000 + number, place=1, scores={}) for number in (5, 0, 299)]
    kinds = {"seen": "Seen", "final": "Drawn"}
    gallery = Gallery(kinds=kinds, rows={"Best": tuple(rows[:2]), "Worst": tuple(rows[2:])}, n_ranked=300, ranking="M")
    images = outline(render_page(HEADER, [section("s", gallery)], coded)).images()
    expected = [(kind, row.number) for row in rows for kind in kinds]
    assert [coded.name(picture) for _, picture in images] == expected
    assert [label for label, _ in images] == [f"{kinds[kind]}, stimulus {9000 + number}" for kind, number in expected]


def test_a_summary_shows_conclusions_numbers_and_the_pictures_of_its_gallery(coded, outline):
    rows = {
        heading: (GalleryRow(number=number, stimulus_id=9000 + number, place=1, scores={"M": f"0.777{number}"}),)
        for heading, number in (("Best", 5), ("Worst", 7))
    }
    gallery = Gallery(kinds={"seen": "Seen", "final": "Drawn"}, rows=rows, n_ranked=300, ranking="M")
    lists = (Sentences(heading="Look here first", sentences=("<b>A</b>",), style="alarm"),)
    numbers = Headlines(items=(Headline(label="PixCorr", value="0.3"),))
    page = render_page(HEADER, [section("s", Summary(conclusions=lists, headlines=numbers, gallery=gallery))], coded)
    expected = [(kind, row.number) for (row,) in rows.values() for kind in gallery.kinds]
    assert [coded.name(picture) for _, picture in outline(page).images()] == expected
    for shown in ("Look here first", "&lt;b&gt;A&lt;/b&gt;", "PixCorr", "0.7775", "0.7777", "of 300 test pictures"):
        assert shown in page
    assert "of 300 test" not in render_page(HEADER, [section("s", Summary(conclusions=lists))], coded)


@pytest.mark.parametrize("n", [1, 7, BATCH, BATCH + 1, 300])
def test_contact_sheet_shows_each_kind_of_each_stimulus_in_the_order_given(n, coded, outline, monkeypatch):
    monkeypatch.setattr(strips, "_uri", page_module._png_uri)  # which loses nothing
    numbers = [(7 * place) % n if n % 7 else place for place in range(n)]
    kinds = {"seen": "Seen", "low": "Low", "final": "Drawn"}
    told = tuple(Strip(number=number, stimulus_id=9000 + number, score="0.5") for number in numbers)
    sheet = ContactSheet(kinds=kinds, strips=told, ranking="M")
    images = outline(render_page(HEADER, [section("s", sheet)], coded)).images()
    assert [label for label, _ in images] == [f"Test picture {number}: seen, low, drawn" for number in numbers]
    for number, (_, strip) in zip(numbers, images, strict=True):
        side = strip.shape[0]
        assert strip.shape == (side, 3 * side, 3)
        for place, kind in enumerate(kinds):
            assert coded.name(strip[:, place * side : (place + 1) * side]) == (kind, number)


def test_what_a_page_stores_of_a_sheet_is_the_sheet_in_the_order_of_its_pictures(coded, outline):
    """JSON objects are written in the order of their keys: kinds are no object."""
    kinds = {"seen": "Z", "low": "B", "final": "A"}
    sheet = ContactSheet(
        kinds=kinds,
        strips=(
            Strip(number=3, stimulus_id=7, score="</script>", scores=(0.25, None), flags=("a",), neighbours=(3, 1)),
        ),
        ranking="M",
        metrics=(SheetMetric(label="</script><b>"), SheetMetric(label="N", higher_is_better=False)),
        scored="final",
    )
    page = render_page(HEADER, [section("s", sheet)], coded)
    (data,) = outline(page).data
    assert [tuple(pair) for pair in data["kinds"]] == list(kinds.items())
    (strip,) = data["strips"]
    assert strip.pop("seen") == hashlib.sha256(to_uint8(coded("seen", [3]))[0].tobytes()).hexdigest()[:16]
    stored = sheet.model_dump(mode="json")
    assert strip.pop("printed") == ["0.250", "–"]
    assert strip == stored["strips"][0]
    assert data["metrics"] == stored["metrics"]
    assert data["scored"] == "final"
    assert "</script><b>" not in page


def test_strips_are_compressed_without_running_into_each_other():
    rng = np.random.default_rng(0)
    smooth = rng.random((2, 3, 4, 4), np.float32)
    drawn = {"seen": resize(smooth, 64), "final": 1 - resize(smooth, 64)}
    sheet = ContactSheet(
        kinds=dict.fromkeys(drawn, "x"),
        strips=tuple(Strip(number=number, stimulus_id=number, score="") for number in range(2)),
        ranking="M",
    )
    made = strips.make_strips(lambda kind, numbers: drawn[kind][list(numbers)], sheet, 1e6)
    assert (made.width, made.height) == (128, 64)
    for number, uri in enumerate(made.uris):
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))).astype(float)
        for place, pictures in enumerate(drawn.values()):
            wanted = to_uint8(pictures)[number].astype(float)
            difference = np.abs(shown[:, place * 64 : (place + 1) * 64] - wanted)
            assert difference.mean() < 6
            assert difference[:, [0, 1, 62, 63]].mean() < 12


def test_pictures_are_shown_as_they_are_and_large_ones_shrunk(outline):
    rng = np.random.default_rng(0)
    drawn = {name: rng.random((1, 3, side, side), np.float32) for name, side in (("small", 16), ("large", 300))}
    refs = tuple(PictureRef(kind=kind, number=0) for kind in drawn)
    block = PictureGroups(groups=(PictureGroup(name="V1", pictures=refs),))
    page = render_page(HEADER, [section("s", block)], lambda kind, numbers: drawn[kind])
    (_, small), (_, large) = outline(page).images()
    np.testing.assert_array_equal(small, to_uint8(drawn["small"])[0])
    assert large.shape == (SHOWN_SIDE, SHOWN_SIDE, 3)


@pytest.mark.parametrize("n", [40, 300])
def test_few_pictures_are_asked_for_at_once_however_many_there_are(n, full, coded):
    render_page(HEADER, full(n), coded)
    assert max(coded.asked) == BATCH
    assert sum(coded.asked) >= 3 * n


def test_contact_sheets_of_many_pictures_do_not_weigh_more(coded, monkeypatch):
    pictures = np.random.default_rng(0).random((3, 3, 256, 256), np.float32)

    def made(n):
        told = tuple(Strip(number=number, stimulus_id=number, score="") for number in range(n))
        sheet = ContactSheet(kinds={"seen": "Seen"}, strips=told, ranking="M")
        return strips.make_strips(lambda kind, numbers: pictures[[number % 3 for number in numbers]], sheet, 1e5)

    few, several, many = (made(n) for n in (2, 12, 300))
    assert few.height == strips.SIDES[0]
    assert many.height == strips.SIDES[-1] < several.height < few.height
    assert sum(map(len, several.uris)) < 100_000


def test_pictures_of_a_sheet_are_not_enlarged():
    small = np.zeros((1, 3, 70, 70), np.float32)
    sheet = ContactSheet(kinds={"seen": "S"}, strips=(Strip(number=0, stimulus_id=0, score=""),), ranking="M")
    assert strips.make_strips(lambda kind, numbers: small, sheet, 1e9).height == 64


def test_columns_of_tables_hold_their_cells_and_the_main_one_stands_out(coded):
    page = page_of([CONTENTS[3]], coded)
    assert '<td>1 <small>interval</small></td><td class="main">2</td>' in page
    assert "<details>" not in page
    assert "<summary>fold</summary>" in page_of([CONTENTS[4]], coded)


def test_report_shows_itself_in_a_frame_that_holds_the_very_page(full, coded, outline):
    page = render_page(HEADER, full(words=HOSTILE.format("", "")), coded)
    shown = Report(page)._repr_html_()
    ((tag, attributes),) = outline(shown).tags
    assert tag == "iframe"
    assert attributes["srcdoc"] == page
    assert attributes["sandbox"] == "allow-scripts"
    assert unescape(re.search(r'srcdoc="([^"]*)"', shown)[1]) == page


def test_report_is_saved_as_it_is(tmp_path):
    path = Report("<p>é ↑ \u00a0</p>\n").save(str(tmp_path / "new" / "page.html"))
    assert path == tmp_path / "new" / "page.html"
    assert path.read_bytes() == "<p>é ↑ \u00a0</p>\n".encode()
    assert Report("other").save(path).read_text() == "other"
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]


def test_report_is_saved_whole_or_not_at_all(tmp_path):
    path = Report("old").save(tmp_path / "page.html")
    with pytest.raises(UnicodeEncodeError):
        Report("new, and what no file can hold: \ud800").save(path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


def test_report_opens_in_the_browser(monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first, second = (Report(text).open_in_browser() for text in ("one", "two"))
    assert [first.read_text(), second.read_text()] == ["one", "two"]
    assert opened == [first.as_uri(), second.as_uri()]
    assert tmp_path in first.parents


def test_import_loads_neither_torch_nor_matplotlib():
    names = ["page", "sections", "score_sections", "fold_sections", "region_section", "run_section", "gallery"]
    loads = " and ".join(f"__import__('braindiffuser.report.{name}')" for name in names)
    code = f"{loads} and {{'torch', 'matplotlib'}} & set(__import__('sys').modules)"
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh_interpreter:
        assert fresh_interpreter.submit(eval, code).result() == set()


def test_texts_and_facts_are_printed_in_order(coded, outline):
    blocks = Text(text="first"), Facts(facts={"second": "third"}), Text(text="fourth", style="verdict")
    texts = [text for text in outline(render_page(HEADER, [section("s", *blocks)], coded)).texts if text.strip()]
    assert texts[texts.index("first") :][:4] == ["first", "second", "third", "fourth"]


@pytest.mark.parametrize("experiment", ["", "mine"])
@pytest.mark.parametrize("simulated", [False, True])
def test_a_subject_without_a_name_leaves_no_gap(coded, simulated, experiment):
    header = Header(experiment=experiment, subject="", simulated=simulated, version="0.1")
    page = page_of(CONTENTS, coded, header)
    title = unescape(re.search(r"<title>(.*)</title>", page)[1])
    assert title == (experiment or "Brain-Diffuser run") + " (simulated)" * simulated
    (lead,) = re.findall(r'<p class="lead">(.*)</p>', page)
    assert lead.startswith(
        "Pictures that the simulated subject was shown" if simulated else "Pictures that a person looked"
    )
    above = re.findall(r'<p class="eyebrow">(.*)</p>', page)
    assert above == (
        [", ".join(filter(None, [experiment, "simulated" * simulated]))] if experiment or simulated else []
    )


def test_a_subject_with_a_name_is_named(coded):
    page = page_of(CONTENTS, coded, HEADER)
    for part in (
        "<title>demo – subj01 (simulated)<",
        '"eyebrow">demo · subj01, simulated<',
        "subject subj01 was shown",
    ):
        assert part in page


def test_texts_wrap_and_tables_scroll_in_a_box_of_their_own(coded):
    """Texts inherit it; tables alone keep words whole, since their box scrolls."""
    style = page_of(CONTENTS, coded).split("<style>")[1].split("</style>")[0]
    rules = dict(re.findall(r"^(body|table|caption|\.box) {([^}]*)}", style, re.MULTILINE))
    assert "overflow-wrap: anywhere" in rules["body"]
    assert "overflow-wrap: break-word" in rules["table"]
    assert "overflow-wrap: anywhere" in rules["caption"]
    assert "overflow-x: auto" in rules[".box"]

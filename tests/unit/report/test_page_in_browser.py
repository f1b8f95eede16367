"""The page in a real browser: what its script lets a reader do, what it never does, and that it is whole without."""

import os
import re
import shutil
import sys

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from braindiffuser.images import resize
from braindiffuser.report.page import Header, Report, render_page
from braindiffuser.report.region_map import region_map
from braindiffuser.report.region_section import regions_section
from braindiffuser.report.score_sections import score_sections
from braindiffuser.report.sections import ContactSheet, Section, SheetMetric, Strip, Table, Text

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next((path for name in NAMES if (path := shutil.which(name))), None)
ASKED_FOR = "CI" in os.environ and sys.platform == "linux"
"""Whether a missing browser is a fault: a public host's Linux has one."""
pytestmark = pytest.mark.skipif(BROWSER is None and not ASKED_FOR, reason="there is no Chromium to look with")

HEADER = Header(experiment="demo", subject="subj01", simulated=True, version="0.1")
KINDS = {"seen": "Seen", "low_level": "Low level", "final": "Reconstruction"}
METRICS = (
    SheetMetric(label="PixCorr"),
    SheetMetric(label="CLIP", in_percent=True),
    SheetMetric(label="SwAV", higher_is_better=False),
)
SCORES = {
    "PixCorr": [0.1, 0.4, 0.4, -0.2, 0.9, None],
    "CLIP": [0.5, 1.0, 0.75, 0.25, 0.0, 0.5],
    "SwAV": [0.6, 0.2, 0.3, 0.9, 0.5, 0.1],
}
FLAG = "does not show what was decoded"


class Colours:
    """Pictures of one colour: red says the kind, green the number; seen ones are the same for every reader."""

    def __init__(self, drawn=100):
        self.red = {"seen": 0, "low_level": 50, "final": drawn}

    def __call__(self, kind, numbers):
        colours = np.array([(self.red[kind], 40 * number, 255 - 40 * number) for number in numbers], np.float32) / 255
        return np.broadcast_to(colours.reshape(-1, 3, 1, 1), (len(numbers), 3, 32, 32)).astype(np.float32)


def sheet(numbers=range(6), scores=SCORES):
    strips = tuple(
        Strip(
            number=number,
            stimulus_id=70 + number,
            stimulus_name="a shed 2.png" if number == 2 else "",
            score=f"{100 * scores['CLIP'][number]:.1f} %",
            scores=tuple(scores[metric.label][number] for metric in METRICS),
            flags=(FLAG,) if number in (1, 3) else (),
            neighbours=(number, (number + 2) % 6, 99),
        )
        for number in numbers
    )
    return ContactSheet(
        kinds=KINDS,
        strips=strips,
        ranking="CLIP",
        metrics=METRICS,
        scored="final",
        scores_of="Reconstruction",
        profile="demo",
    )


def page_of(*blocks, read=None, header=HEADER):
    return render_page(header, [Section(name="gallery", title="Gallery", blocks=blocks)], read or Colours())


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def show(browser, tmp_path):
    """Open a page from a file; the test fails on any error of a script and on any request but for that file."""
    contexts, complaints, asked = [], [], []

    def opened(document, **options):
        path = tmp_path / f"page-{len(contexts)}.html"
        path.write_text(document, encoding="utf-8")
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        for summary in page.locator("details > summary").all():
            summary.click()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith(("data:", tmp_path.as_uri()))] == []


def shown(page):
    """Numbers of the pictures that a sheet shows, in their order on the page."""
    captions = page.locator(".sheet figure:visible figcaption").all_inner_texts()
    return [int(text.split(" · ")[0]) for text in captions]


def labelled(page, text):
    return page.get_by_label(text, exact=True)


def colour_at(page, selector, x):
    """Return the colour of an element at a share of its width, half-way down, as the screen shows it."""
    from io import BytesIO

    from PIL import Image

    picture = np.asarray(Image.open(BytesIO(page.locator(selector).screenshot())).convert("RGB"))
    return picture[picture.shape[0] // 2, int(x * picture.shape[1])].tolist()


def close_to(colour, red, number):
    return max(abs(a - b) for a, b in zip(colour, (red, 40 * number, 255 - 40 * number), strict=True)) < 12


def test_without_scripts_the_page_is_whole(show, full_page):
    with_script, without = (show(full_page, java_script_enabled=on) for on in (True, False))
    for page in (with_script, without):
        assert page.locator("img:visible").count() == len(re.findall("<img ", full_page))
    assert without.locator("button:visible, select:visible, input:visible, dialog:visible").count() == 0
    text = without.locator("main").inner_text()
    assert set(re.findall(r"\w+", text)) <= set(re.findall(r"\w+", with_script.locator("main").inner_text()))


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.label)
def test_pictures_are_sorted_by_any_score_from_either_end_and_unknown_scores_come_last(show, metric):
    page = show(page_of(sheet()))
    assert shown(page) == list(range(6))
    scores = SCORES[metric.label]
    known = [number for number in range(6) if scores[number] is not None]
    unknown = [number for number in range(6) if scores[number] is None]
    sign = -1 if metric.higher_is_better else 1
    best = sorted(known, key=lambda number: sign * scores[number])
    worst = sorted(known, key=lambda number: -sign * scores[number])
    labelled(page, "Sort by").select_option(label=metric.label)
    assert shown(page) == best + unknown
    labelled(page, "From").select_option(label="worst first")
    assert shown(page) == worst + unknown
    labelled(page, "Sort by").select_option(label="their order")
    assert shown(page) == list(range(6))


def test_scores_stand_below_the_pictures_that_they_are_of(show):
    page = show(page_of(sheet()))
    labelled(page, "Sort by").select_option(label="CLIP")
    captions = page.locator(".sheet figcaption").all_inner_texts()
    assert captions == [f"{n} · {70 + n} · {100 * SCORES['CLIP'][n]:.1f} %" for n in (1, 2, 0, 5, 3, 4)]
    labelled(page, "Sort by").select_option(label="PixCorr")
    assert page.locator(".sheet figcaption").all_inner_texts()[-1] == "5 · 75 · –"


def test_pictures_are_chosen_by_score_in_the_printed_unit_by_flags_and_by_words(show):
    page = show(page_of(sheet()))
    said = page.locator("output.note").first
    labelled(page, "Sort by").select_option(label="CLIP")
    labelled(page, "Score at least").fill("50")
    assert shown(page) == [1, 2, 0, 5]
    labelled(page, "at most").fill("75")
    assert shown(page) == [2, 0, 5]
    assert said.inner_text() == "3 of 6 pictures, by CLIP"
    labelled(page, "at most").fill("")
    labelled(page, "Show").select_option(label="flagged")
    assert shown(page) == [1]
    labelled(page, "Show").select_option(label="not flagged")
    assert shown(page) == [2, 0, 5]
    labelled(page, "Find").fill("STIMULUS 75")
    assert shown(page) == [5]
    labelled(page, "Find").fill("shed 2")
    assert shown(page) == [2]
    labelled(page, "Find").fill("STIMULUS 75")
    labelled(page, "Sort by").select_option(label="PixCorr")
    labelled(page, "Find").fill("")
    labelled(page, "Score at least").fill("-1")
    assert shown(page) == [4, 2, 0]  # 5 has no such score, 1 and 3 are flagged
    assert said.inner_text() == "3 of 6 pictures, by PixCorr"


def test_a_range_holds_what_is_printed_as_its_ends(show):
    scores = {"PixCorr": [-0.2049, 0.2951, 0.1, 0.1, 0.1, None], "CLIP": [298 / 299, 0.29, 0.57, 0.1, 0.1, 0.1]}
    page = show(page_of(sheet(scores={**SCORES, **scores})))
    for label, value, place in (
        ("CLIP", "99.7", 0),
        ("CLIP", "29", 1),
        ("CLIP", "57", 2),
        ("PixCorr", "-0.205", 0),
        ("PixCorr", "0.295", 1),
    ):
        labelled(page, "Sort by").select_option(label=label)
        for end in ("Score at least", "at most"):
            labelled(page, end).fill(value)
        assert shown(page) == [place]


def test_the_keyboard_steps_through_the_pictures_in_the_order_shown(show):
    page = show(page_of(sheet()))
    labelled(page, "Sort by").select_option(label="SwAV")  # 5 1 2 4 0 3
    page.get_by_label("Look at Test picture 2, stimulus 72, a shed 2.png").focus()
    page.keyboard.press("Enter")
    title, where = page.locator("[data-part=title]"), page.locator("[data-part=where]")
    assert (title.inner_text(), where.inner_text()) == ("Test picture 2, stimulus 72, a shed 2.png", "3 of 6")
    for key, number in (
        ("ArrowRight", 4),
        ("ArrowRight", 0),
        ("ArrowLeft", 4),
        ("End", 3),
        ("ArrowRight", 3),
        ("Home", 5),
    ):
        page.keyboard.press(key)
        assert title.inner_text() == f"Test picture {number}, stimulus {70 + number}"
    previous = page.get_by_role("button", name="← Previous")
    assert previous.get_attribute("aria-disabled") == "true"
    previous.click(force=True)
    assert title.inner_text() == "Test picture 5, stimulus 75"
    page.keyboard.press("ArrowRight")  # which still arrives
    page.keyboard.press("ArrowLeft")
    assert where.inner_text() == "1 of 6"
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    expect(page.get_by_label("Look at Test picture 5, stimulus 75")).to_be_focused()


def test_the_wipe_moves_from_what_was_drawn_to_what_was_seen(show):
    page = show(page_of(sheet()))
    page.get_by_label("Look at Test picture 4, stimulus 74").click()
    wipe = page.locator("[data-part=wipe]")
    for share in (0, 30, 100):
        wipe.fill(str(share))
        for at in (0.1, 0.5, 0.9):
            red = Colours().red["seen" if 100 * at < share else "final"]
            assert close_to(colour_at(page, "[data-part=stage]", at), red, 4)
        assert wipe.get_attribute("aria-valuetext") == f"{share} % what was seen, {100 - share} % Reconstruction"
    wipe.fill("0")
    page.locator("[data-part=kind]").select_option(label="Low level")
    assert close_to(colour_at(page, "[data-part=stage]", 0.5), Colours().red["low_level"], 4)
    before = page.locator("[data-part=title]").inner_text()
    wipe.focus()
    page.keyboard.press("ArrowRight")  # of the wipe, not to the next picture
    assert (wipe.input_value(), page.locator("[data-part=title]").inner_text()) == ("1", before)


def test_the_viewer_shows_kinds_scores_flags_and_neighbours_of_its_picture(show):
    page = show(page_of(sheet()))
    page.get_by_label("Look at Test picture 3, stimulus 73").click()
    assert page.locator("[data-part=all] figcaption").all_inner_texts() == list(KINDS.values())
    for place, kind in enumerate(KINDS):
        tile = f"[data-part=all] figure:nth-child({place + 1}) .picture"
        assert close_to(colour_at(page, tile, 0.5), Colours().red[kind], 3)
    rows = page.locator("[data-part=scores] tbody tr").all_inner_texts()
    assert page.locator("[data-part=scores] thead").inner_text().strip().split("\t") == [
        "Metric",
        "Score: Reconstruction",
    ]
    assert [row.split("\t") for row in rows] == [["PixCorr ↑", "−0.200"], ["CLIP ↑", "25.0 %"], ["SwAV ↓", "0.900"]]
    assert page.locator("[data-part=flags]").inner_text() == f"Flagged: it {FLAG}."
    near = page.locator("[data-part=neighbours]")
    assert near.locator("figcaption").all_inner_texts() == [
        "1: this one",
        "2: picture 5",
        "3: picture 99, not on this page",
    ]
    assert close_to(colour_at(page, "[data-part=neighbours] figure:nth-child(2) .picture", 0.5), 0, 5)
    near.get_by_role("button").nth(1).click()
    assert page.locator("[data-part=title]").inner_text() == "Test picture 5, stimulus 75"
    assert not page.locator("[data-part=flags]").is_visible()


def other_page(tmp_path, document, name="other.html"):
    path = tmp_path / name
    path.write_text(document, encoding="utf-8")
    return path


def test_two_pages_are_compared_by_what_was_seen_and_not_by_number(show, tmp_path):
    """The other page has four of the pictures, in another order, under other numbers of its own."""
    theirs = {name: [0.0] * 6 for name in SCORES} | {"CLIP": [0.25] * 6}
    strips = tuple(
        strip.model_copy(update={"number": 10 + place, "stimulus_id": 500 + place})
        for place, strip in enumerate(sheet((5, 2, 1, 0), theirs).strips)
    )
    order, drawn = (5, 2, 1, 0), Colours(200)
    another = sheet().model_copy(update={"strips": strips, "n_pictures": 6})  # of as many as are on the page
    document = page_of(
        another, read=lambda kind, numbers: drawn(kind, [order[number - 10] for number in numbers]), header=HEADER
    )
    page = show(page_of(sheet()))
    labelled(page, "Sort by").select_option(label="CLIP")
    labelled(page, "Compare with another page").set_input_files(other_page(tmp_path, document))
    expect(page.locator("output.note")).to_contain_text("differences")
    captions = page.locator(".sheet figure:visible figcaption").all_inner_texts()
    assert captions == [
        "1 · 71 · 100.0 % (+75.0 pp)",
        "2 · 72 · 75.0 % (+50.0 pp)",
        "0 · 70 · 50.0 % (+25.0 pp)",
        "5 · 75 · 50.0 % (+25.0 pp)",
    ]
    assert (
        "; 4 of this page's pictures are in demo – subj01 (simulated)" in page.locator("output.note").first.inner_text()
    )
    page.get_by_label("Look at Test picture 2, stimulus 72, a shed 2.png").click()
    rows = [row.split("\t") for row in page.locator("[data-part=scores] tbody tr").all_inner_texts()]
    assert rows[1] == ["CLIP ↑", "75.0 %", "25.0 %", "+50.0 pp"]
    assert rows[2] == ["SwAV ↓", "0.300", "0.000", "+0.300"]
    assert rows[0] == ["PixCorr ↑", "0.400", "0.000", "+0.400"]
    assert close_to(colour_at(page, "[data-part=all] figure:nth-child(4) .picture", 0.5), 200, 2)


def compared(show, tmp_path, other, own=None):
    """What the sheet and the viewer say of picture 1 by CLIP and by SwAV, beside another sheet."""
    page = show(page_of(own or sheet()))
    labelled(page, "Sort by").select_option(label="CLIP")
    labelled(page, "Compare with another page").set_input_files(other_page(tmp_path, page_of(other)))
    expect(page.locator("output.note")).to_contain_text("differences")
    page.get_by_label("Look at Test picture 1, stimulus 71").click()
    rows = [row.split("\t") for row in page.locator("[data-part=scores] tbody tr").all_inner_texts()]
    captions = page.locator(".sheet figure:visible figcaption").all_inner_texts()
    return captions[0], rows[1][2:], rows[2][2:], page.locator("output.note").first.inner_text()


def test_scores_of_two_profiles_that_nobody_knows_are_not_compared(show, tmp_path):
    nameless = sheet().model_copy(update={"profile": ""})
    caption, clip, swav, said = compared(show, tmp_path, nameless, own=nameless)
    assert (caption, clip, swav) == ("1 · 71 · 100.0 %", ["–", "–"], ["–", "–"])
    assert "is not known of both pages" in said
    assert "Identification" not in said


def test_identification_among_other_numbers_of_pictures_is_not_compared(show, tmp_path):
    caption, clip, swav, said = compared(show, tmp_path, sheet((1, 2)))
    assert caption == "1 · 71 · 100.0 % (–)"
    assert (clip, swav) == (["100.0 %", "–"], ["0.200", "0.000"])
    assert "Identification is among 6 pictures here and 2 there" in said


def test_the_number_of_pictures_is_that_of_the_test_set_and_not_of_the_page(show, tmp_path):
    caption, clip, _, said = compared(show, tmp_path, sheet((1, 2)).model_copy(update={"n_pictures": 6}))
    assert (caption, clip) == ("1 · 71 · 100.0 % (0.0 pp)", ["100.0 %", "0.0 pp"])
    assert "Identification" not in said


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"profile": "another"}, "of the profile another"),
        ({"profile": ""}, "is not known of both pages"),
        (
            {"metrics": (METRICS[0], METRICS[1].model_copy(update={"in_percent": False}), METRICS[2])},
            "unit and direction",
        ),
        (
            {"metrics": (METRICS[0], METRICS[1].model_copy(update={"higher_is_better": False}), METRICS[2])},
            "unit and direction",
        ),
    ],
    ids=["profile", "no profile", "unit", "direction"],
)
def test_metrics_that_share_a_label_alone_are_not_compared(change, told, show, tmp_path):
    caption, clip, _, said = compared(show, tmp_path, sheet().model_copy(update=change))
    assert (caption, clip) == ("1 · 71 · 100.0 %", ["–", "–"])
    assert told in said


def test_digits_alone_find_that_number(show):
    strips = tuple(strip.model_copy(update={"number": 10 * strip.number}) for strip in sheet().strips)
    page = show(
        page_of(
            sheet().model_copy(update={"strips": strips}),
            read=lambda kind, all_: Colours()(kind, [n // 10 for n in all_]),
        )
    )
    for words, numbers in {
        "1": [],
        "10": [10],
        "0": [0],
        "5": [],
        "73": [30],
        "02": [20],
        "1 ": [],
        "stimulus 7": [0, 10, 20, 30, 40, 50],
    }.items():
        labelled(page, "Find").fill(words)
        assert shown(page) == numbers, words


def part_of(document):
    """The section of a page, to stand in it once more."""
    return re.search(r"<section.*?</section>", document, re.DOTALL).group()


def poisoned(document):
    """A page whose pictures would ask a network, and whose title is markup."""
    document = document.replace("<title>", "<title>&lt;img src=x onerror=alert(1)&gt;")
    return document.replace('src="data:image/webp', 'src="https://example.org/x.webp?')


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda document: "<p>another page</p>", "holds no pictures to compare"),
        (lambda document: document.replace('"format": 2', '"format": 1'), "stores pictures differently"),
        (lambda document: document.replace('"format": 2', '"format": '), "is damaged"),
        (
            lambda document: re.sub('"seen": "[0-9a-f]{16}"', '"seen": "0000000000000000"', document),
            "shows none of these",
        ),
        (poisoned, "is damaged"),
        (lambda document: document.replace('"kinds": [["seen"', '"kinds": [[7'), "is damaged"),
        (lambda document: document.replace('"scores": [0.1', '"scores": ["0.1"'), "is damaged"),
        (lambda document: document.replace('"printed": ["0.100"', '"printed": [7'), "is damaged"),
        (lambda document: document.replace('"metrics": [{', '"metrics": [null, {'), "is damaged"),
        (lambda document: document.replace('"n_pictures": 6', '"n_pictures": "6"'), "is damaged"),
        (lambda document: document.replace('"profile": "demo"', '"profile": 7'), "is damaged"),
        (
            lambda document: document.replace('<div class="sheet"', f'{part_of(document)}<div class="sheet"', 1),
            "in several places",
        ),
    ],
    ids=[
        "foreign",
        "version",
        "damaged",
        "other-pictures",
        "poisoned",
        "kinds",
        "scores",
        "printed",
        "metrics",
        "n-pictures",
        "profile",
        "twice",
    ],
)
def test_a_page_that_cannot_be_compared_is_refused_and_nothing_of_it_runs(change, said, show, tmp_path):
    document = page_of(sheet())
    page = show(document)
    changed = change(document)
    assert changed != document
    labelled(page, "Compare with another page").set_input_files(other_page(tmp_path, changed))
    expect(page.locator("output.note")).to_contain_text(said)
    assert shown(page) == list(range(6))


def test_scores_are_printed_as_on_the_rest_of_the_page(show, scored, coded):
    """JavaScript rounds halves up, and has another minus sign."""
    test = scored(12)
    test.per_image["pixcorr"] = np.linspace(-0.0015, 0.0005, 12)
    test.per_image["clip"] = np.arange(12) / 80
    page = show(render_page(HEADER, score_sections([test]), coded))
    for row in page.locator(".row[data-number]").all():
        still = row.locator("dd").all_inner_texts()
        row.get_by_role("button", name="Look closer").click()
        alive = page.locator("[data-part=scores] tbody td").all_inner_texts()
        assert alive == still
        page.keyboard.press("Escape")


def test_of_a_page_with_two_test_sets_of_the_same_pictures_the_same_one_is_compared(show, tmp_path):
    def of_sets(scores, drawn):
        sections = [
            Section(name=name, title=name, blocks=(sheet(scores={**SCORES, "CLIP": [value] * 6}),), test_set=name)
            for name, value in zip(("seen", "imagined"), scores, strict=True)
        ]
        return render_page(HEADER, sections, Colours(drawn))

    page = show(of_sets((0.5, 0.75), 100))
    path = other_page(tmp_path, of_sets((0.25, 0.125), 200))
    for place, expected in enumerate(("50.0 % (+25.0 pp)", "75.0 % (+62.5 pp)")):
        labelled(page, "Sort by").nth(place).select_option(label="CLIP")
        labelled(page, "Compare with another page").nth(place).set_input_files(path)
        expect(page.locator("output.note").nth(place)).to_contain_text("differences")
        caption = page.locator(".sheet").nth(place).locator("figcaption").first
        assert caption.inner_text() == f"0 · 70 · {expected}"


def test_sections_of_one_test_set_are_shown_alone(show, full_page):
    page = show(full_page)
    of_set = page.locator("section[data-test-set]")
    sets = of_set.evaluate_all("all => all.map(one => one.dataset.testSet)")
    assert set(sets) == {"test", "held_out"}
    for chosen in (*dict.fromkeys(sets), ""):
        labelled(page, "Sections on test set").select_option(chosen)
        visible = of_set.evaluate_all("all => all.filter(one => one.checkVisibility()).map(one => one.dataset.testSet)")
        assert visible == [name for name in sets if chosen in ("", name)]
        assert page.locator("#how-to-read").is_visible()


def test_rows_of_a_gallery_open_their_own_picture(show, full_page):
    page = show(full_page)
    row = page.locator("section:has(#gallery) .row[data-number]").nth(2)
    row.get_by_role("button", name="Look closer").click()
    expected = f"Test picture {row.get_attribute('data-number')}, stimulus {row.get_attribute('data-stimulus')}"
    assert page.locator("[data-part=title]").inner_text() == expected


def test_after_looking_closer_the_focus_is_where_it_was(show, full_page):
    page = show(full_page)
    button = page.locator("section:has(#gallery) .row[data-number]").nth(1).get_by_role("button", name="Look closer")
    button.click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    expect(button).to_be_focused()


def test_the_buttons_of_the_viewer_stand_in_one_line_on_a_telephone(show):
    page = show(page_of(sheet()), viewport={"width": 390, "height": 844})
    labelled(page, "Find").fill("3")
    page.get_by_label("Look at Test picture 3, stimulus 73").click()
    page.locator("[data-part=neighbours] button").nth(1).click()
    assert page.locator("[data-part=where]").inner_text() == "not among those shown"  # the longest that stands there
    boxes = [page.locator(f"[data-part={name}]").bounding_box() for name in ("previous", "next", "close")]
    assert len({box["y"] for box in boxes}) == 1
    assert boxes[2]["x"] + boxes[2]["width"] > 340


@pytest.mark.parametrize("how", ["pointer", "keyboard", "card", "list"])
def test_a_region_of_the_map_shows_its_own_picture_beside_it(how, show):
    page = show(region_page())
    part = page.locator(".map [data-region='V2']").first
    if how == "pointer":
        part.hover()
    elif how == "keyboard":
        page.get_by_role("button", name="V2").focus()
    elif how == "list":
        page.get_by_role("button", name="V2").hover()
    else:
        page.locator("[data-card='V2']").hover()
    assert page.locator(".beside figcaption").inner_text().startswith("V2 8 voxels")
    assert close_to(colour_at(page, ".beside img", 0.5), 100, 1)
    assert page.locator(".map [data-region].chosen").evaluate_all("all => all.map(one => one.dataset.region)") == [
        "V2",
        "V2",
    ]
    assert page.locator(".map .outline.chosen").evaluate_all("all => all.map(one => one.dataset.outline)") == [
        "V2",
        "V2",
    ]
    assert page.locator(".legend [aria-pressed=true]").all_inner_texts() == ["V2"]
    assert page.locator(".map [data-region=V1] title").first.text_content() == "V1"


def test_clicks_at_one_place_of_a_map_go_through_all_regions_there(show):
    """A region that is covered by others in every view is reached, too."""
    places = np.argwhere(np.ones((2, 4, 4)))
    masks = {"V1": np.ones(len(places), bool), "left": places[:, 1] < 2, "right": places[:, 1] >= 2}
    page = show(region_page({**masks, "all": masks["V1"]}))
    box = page.locator(".map [data-region=left]").first.bounding_box()
    reached = []
    for _ in range(4):
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        reached += page.locator(".legend [aria-pressed=true]").all_inner_texts()
    assert set(reached[:3]) == {"V1", "all", "left"}
    assert reached[3] == reached[0]


def test_each_region_of_a_map_is_one_tab_stop_and_is_told_apart(show):
    page = show(region_page())
    stops = page.locator(".map").evaluate(
        "map => [...map.querySelectorAll('*')].filter(one => one.tabIndex >= 0).length"
    )
    assert stops == 2
    first, second = (page.locator(f".map [data-region={name}]").first for name in ("V1", "V2"))
    assert len({part.evaluate("part => getComputedStyle(part).fill") for part in (first, second)}) == 2
    for name in ("V1", "V2"):
        fill = page.locator(f".map [data-region={name}]").first.evaluate("part => getComputedStyle(part).fill")
        entry = page.locator(f".legend [data-name={name}]")
        assert entry.evaluate("entry => getComputedStyle(entry, '::before').backgroundColor") == fill


def region_page(regions=None):
    places = np.argwhere(np.ones((2, 4, 4)))
    regions = regions or {"V1": places[:, 1] < 2, "V2": places[:, 1] == 3}
    facts = {
        "lengths": "from-training",
        "regions": [{"name": name, "n_voxels": int(mask.sum())} for name, mask in regions.items()],
    }
    section = regions_section("regions", facts, ["final"], region_map(places, regions, oriented=True))
    return render_page(HEADER, [section], Colours())


@pytest.mark.parametrize("by", ["style", "script"])
def test_what_is_folded_is_printed_and_folded_again(by, browser, tmp_path):
    (tmp_path / "page.html").write_text(page_of(sheet()), encoding="utf-8")
    context = browser.new_context(java_script_enabled=by == "script")
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    if by == "style":
        shown = "[...document.querySelectorAll('.sheet img')].filter(one => one.checkVisibility()).length"
        assert page.evaluate(shown) == 0
        page.emulate_media(media="print")
        page.wait_for_function(f"{shown} === 6")  # after the next frame
    else:
        are_open = "[...document.querySelectorAll('details')].every(one => one.open)"
        assert page.evaluate(f"dispatchEvent(new Event('beforeprint')); {are_open}")
        assert not page.evaluate(f"dispatchEvent(new Event('afterprint')); {are_open}")
    context.close()


def test_the_page_prints_its_pictures_and_not_its_controls(show):
    page = show(page_of(sheet()))
    assert page.locator(".tools").is_visible()
    page.emulate_media(media="print")
    assert not page.locator(".tools").is_visible()
    assert page.locator(".sheet img:visible").count() == 6
    assert page.pdf().startswith(b"%PDF")


def test_colours_follow_the_reader(show):
    light, dark = (
        show(page_of(sheet()), color_scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    )
    assert (light, dark) == ("rgb(253, 253, 252)", "rgb(21, 23, 26)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_axe_finds_nothing_serious(scheme, width, show, full_page):
    page = show(full_page, color_scheme=scheme, viewport={"width": width, "height": 900})
    assert faults(page) == []
    page.locator(".sheet button").first.click()
    assert faults(page) == []


def faults(page):
    found = Axe().run(page).response["violations"]
    return [(each["id"], each["nodes"][0]["html"][:200]) for each in found if each["impact"] in ("serious", "critical")]


def test_no_script_but_its_own_runs(browser, tmp_path):
    attacks = "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">"
    document = (
        page_of(sheet())
        .replace("</main>", f"{attacks}</main>")
        .replace(
            "</main>",
            "<svg onload=\"document.title = 'run'\"></svg><a id=trap href=\"javascript:document.title='run'\">x</a></main>",
        )
    )
    (tmp_path / "page.html").write_text(document, encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    page.locator("#trap").click()
    page.wait_for_timeout(100)
    assert page.title() == "demo – subj01 (simulated)"
    page.close()


def test_in_a_notebook_the_page_is_alive_in_a_frame_of_its_own(show):
    page = show(f"<body>{Report(page_of(sheet()))._repr_html_()}</body>")
    frame = page.frames[1]
    frame.locator("summary").click()
    frame.get_by_label("Sort by", exact=True).select_option(label="SwAV")
    assert frame.locator(".sheet figcaption").all_inner_texts()[0].startswith("5 · 75")
    assert page.evaluate("document.querySelector('iframe').contentDocument") is None


def test_a_page_of_a_thousand_pictures_weighs_less_than_eight_megabytes():
    """Pictures with as much detail at every scale as photographs have (amplitudes that fall with frequency)."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.rfftfreq(128), indexing="ij"))
    noise = np.fft.rfft2(rng.standard_normal((20, 3, 128, 128))) / np.maximum(frequency, 1 / 128)
    natural = np.fft.irfft2(noise)
    natural = np.clip(0.5 + 0.2 * natural / natural.std(), 0, 1).astype(np.float32)
    blurred = resize(resize(natural, 16), 128)
    strips = tuple(
        Strip(number=n, stimulus_id=n, score="50.0 %", scores=(0.123456,) * 8, neighbours=(n, 1, 2, 3, 4))
        for n in range(1000)
    )
    metrics = tuple(SheetMetric(label=f"metric {place}") for place in range(8))
    whole = ContactSheet(kinds={**KINDS, "ceiling": "Ceiling"}, strips=strips, ranking="M", metrics=metrics)
    document = page_of(
        whole,
        read=lambda kind, numbers: (blurred if kind == "low_level" else natural)[[number % 20 for number in numbers]],
    )
    assert (
        2_000_000 < len(document.encode()) < 5_500_000
    )  # beside galleries and figures, which take 1.5 MB in the demonstration


@pytest.mark.parametrize("width", [390, 1280])
def test_no_text_makes_a_page_wider_than_its_window(width, show):
    long = "Wm" * 80
    named = tuple(strip.model_copy(update={"name": long, "flags": (long,)}) for strip in sheet().strips)
    cells = [{"value": "100.0 %", "interval": "[97.5 – 100.0 %]"}] * 9
    wide = Table.model_validate(
        {
            "caption": "a caption of several words " * 12,
            "corner": "corner",
            "columns": [f"column {number}" for number in range(9)],
            "rows": [{"label": "row", "cells": cells}],
        }
    )
    header = Header(experiment=long, subject="s" * 64, simulated=False, version="0.1")
    document = page_of(
        Text(text=long), wide, sheet().model_copy(update={"strips": named}), read=Colours(), header=header
    )
    page = show(document, viewport={"width": width, "height": 900})
    needed = "document.documentElement.scrollWidth"
    assert page.evaluate(needed) <= width
    page.locator(".sheet button").first.click()
    assert (
        page.evaluate("(({scrollWidth, clientWidth}) => scrollWidth - clientWidth)(document.querySelector('dialog'))")
        <= 0
    )
    assert page.evaluate(needed) <= width
    if width == 1280:
        assert (
            page.evaluate("(({scrollWidth, clientWidth}) => scrollWidth - clientWidth)(document.querySelector('.box'))")
            <= 0
        )


@pytest.fixture
def full_page(scored, coded):
    """A page of two test sets with galleries and sheets, and of regions."""
    coded.side = 16
    sets = [scored(12), scored(9, name="held_out", first=12)]
    return render_page(HEADER, score_sections(sets), coded)

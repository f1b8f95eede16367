from typing import ClassVar

import pytest
from matplotlib.figure import Figure as Canvas
from pydantic import TypeAdapter, ValidationError

from braindiffuser.report.figures import as_svg
from braindiffuser.report.sections import (
    Block,
    Cell,
    Code,
    ContactSheet,
    Facts,
    Figure,
    Figures,
    Gallery,
    GalleryRow,
    Headline,
    Headlines,
    Links,
    PictureGroup,
    PictureGroups,
    PictureRef,
    Row,
    Section,
    Sentences,
    Sparse,
    Strip,
    Summary,
    Table,
    Text,
)

BLOCKS = (
    Text(text="Mean red is 0.4.", style="verdict"),
    Sentences(heading="What they do not show", sentences=("One subject.",), style="muted"),
    Headlines(items=(Headline(label="PixCorr", value="0.3", notes=("ceiling 0.9",)),)),
    Table(
        caption="c",
        columns=("a", "b"),
        rows=(Row(label="r", cells=(Cell(value="1", interval="0 – 2"), Cell(value="2"))),),
    ),
    Figures(figures=(Figure(svg='<svg viewBox="0 0 1 1"><path d="M 0 0"/></svg>', title="t", note="n"),)),
    PictureGroups(
        groups=(PictureGroup(name="V1", note="3 voxels", pictures=(PictureRef(kind="final", number=3, label="l"),)),)
    ),
    Gallery(
        kinds={"seen": "Seen"},
        rows={"Best": (GalleryRow(number=3, stimulus_id=7, place=1, scores={"PixCorr": "0.3"}),)},
        n_ranked=5,
        ranking="PixCorr",
    ),
    ContactSheet(kinds={"seen": "Seen"}, strips=(Strip(number=3, stimulus_id=7, score="0.3"),), ranking="PixCorr"),
    Facts(facts={"Seed": "0"}, style="explained"),
    Code(text="a: 1\n", fold="YAML"),
    Links(links={"Seed": "fold-0/report/index.html"}),
    Summary(
        conclusions=(Sentences(heading="What the data support", sentences=("Responses carry what was seen.",)),),
        headlines=Headlines(items=(Headline(label="PixCorr", value="0.3"),)),
        gallery=Gallery(
            kinds={"seen": "Seen"},
            rows={"Best": (GalleryRow(number=3, stimulus_id=7, place=1, scores={"PixCorr": "0.3"}),)},
            n_ranked=5,
            ranking="PixCorr",
        ),
    ),
)
ANY_BLOCK = TypeAdapter(Block)
PNG = "data:image/png;base64,iVBORw0KGgo="


def objects(content):
    """All mappings in JSON that have fields, with their place; those whose keys are free have none."""
    if isinstance(content, dict):
        if not content.keys() & {"seen", "Best", "PixCorr", "Seed"}:
            yield content
        for value in content.values():
            yield from objects(value)
    elif isinstance(content, list):
        for value in content:
            yield from objects(value)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.type)
def test_every_block_comes_back_from_json(block):
    section = Section(name="colour", title="Colour", blocks=(block, block), appendix=True)
    assert Section.model_validate_json(section.model_dump_json()) == section
    assert type(Section.model_validate_json(section.model_dump_json()).blocks[0]) is type(block)


def test_a_field_that_is_added_later_leaves_what_is_stored_as_it_was():
    class Earlier(Sparse):
        always: ClassVar = ("shown",)

        name: str
        shown: str = ""
        items: tuple[int, ...] = ()

    class Later(Earlier):
        added: int = 3

    for values in ({"name": ""}, {"name": "a", "shown": "b", "items": (1,)}):
        assert Later(**values).model_dump_json() == Earlier(**values).model_dump_json()
    assert Earlier(name="").model_dump(mode="json") == {"name": "", "shown": ""}
    assert Later(name="", added=4).model_dump(mode="json") == {"name": "", "shown": "", "added": 4}


def test_there_is_a_test_of_every_block():
    kinds = {
        schema["properties"]["type"]["const"] for name, schema in _schemas().items() if "type" in schema["properties"]
    }
    assert kinds == {block.type for block in BLOCKS}


def _schemas():
    return ANY_BLOCK.json_schema()["$defs"]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.type)
def test_unknown_entries_are_refused_at_every_depth(block):
    content = block.model_dump(mode="json")
    found = list(objects(content))
    assert found
    for place in found:
        place["surprise"] = 1
        with pytest.raises(ValidationError, match="no such entry"):
            ANY_BLOCK.validate_python(content)
        del place["surprise"]
    ANY_BLOCK.validate_python(content)


@pytest.mark.parametrize("content", [{"type": "movie", "text": "x"}, {"text": "x"}, {"type": "Text", "text": "x"}])
def test_unknown_blocks_are_refused(content):
    with pytest.raises(ValidationError, match=r"'type'|discriminator"):
        Section.model_validate({"name": "a", "title": "A", "blocks": [content]})


@pytest.mark.parametrize("name", ["", "a b", 'a"b', "a\n", "<b>", "A", "a/b", "é"])
def test_names_of_sections_are_anchors(name):
    with pytest.raises(ValidationError, match="pattern"):
        Section(name=name, title="A", blocks=())


@pytest.mark.parametrize("kind", ["..", ".", "a/b", "../seen", "", "a b", ".hidden", "seen\n"])
def test_kinds_of_pictures_are_names_of_folders(kind):
    for make in (
        lambda: PictureRef(kind=kind, number=0),
        lambda: Gallery(kinds={kind: "x"}, rows={}, n_ranked=0, ranking="x"),
        lambda: ContactSheet(kinds={kind: "x"}, strips=(Strip(number=0, stimulus_id=0, score=""),), ranking="x"),
    ):
        with pytest.raises(ValidationError, match="pattern"):
            make()


def test_rows_have_a_cell_for_each_column():
    with pytest.raises(ValidationError, match="row 'r' has 1 cells, the table 2 columns"):
        Table(caption="c", columns=("a", "b"), rows=(Row(label="r", cells=(Cell(value="1"),)),))


SMUGGLED = {
    "script": "<svg><script>alert(1)</script></svg>",
    "capital script": "<svg><SCRIPT>alert(1)</SCRIPT></svg>",
    "script of a namespace": '<svg xmlns:x="http://www.w3.org/1999/xhtml"><x:script>alert(1)</x:script></svg>',
    "script by default namespace": '<svg><g xmlns="http://www.w3.org/1999/xhtml"><script>alert(1)</script></g></svg>',
    "script behind a document type": "<!DOCTYPE svg><svg/>",
    "entity": '<!DOCTYPE svg [<!ENTITY x "<script/>">]><svg>&x;</svg>',
    "instruction": '<?xml-stylesheet href="https://evil"?><svg/>',
    "comment": "<svg><!-- --><g/></svg>",
    "cdata": "<svg><style><![CDATA[</style><script>]]></style></svg>",
    "handler": '<svg onload="alert(1)"/>',
    "capital handler": '<svg ONLOAD="alert(1)"/>',
    "handler deep inside": '<svg><g><path d="" onclick="alert(1)"/></g></svg>',
    "handler of a namespace": '<svg xmlns:x="x"><g x:onclick="alert(1)"/></svg>',
    "foreign object": "<svg><foreignObject><body/></foreignObject></svg>",
    "link": '<svg><a href="#x"><path d=""/></a></svg>',
    "outside image": '<svg><image href="https://evil/x.png"/></svg>',
    "outside image of old": '<svg xmlns:xlink="http://www.w3.org/1999/xlink"><image xlink:href="//evil"/></svg>',
    "capital href": '<svg><use HREF="https://evil#x"/></svg>',
    "href after a space": '<svg><use href=" https://evil#x"/></svg>',
    "svg in svg": '<svg><image href="data:image/svg+xml;base64,PHN2Zy8+"/></svg>',
    "html in data": '<svg><use href="data:text/html,x"/></svg>',
    "script in href": '<svg><use href="java&#9;script:alert(1)"/></svg>',
    "animated href": '<svg><animate attributeName="href" to="https://evil"/></svg>',
    "animated transform": "<svg><animateTransform/></svg>",
    "set": '<svg><set attributeName="onload" to="alert(1)"/></svg>',
    "paragraph that ends the svg": '<svg><p/><form action="java&#9;script:alert(1)"><button>x</button></form></svg>',
    "refresh": '<svg><meta http-equiv="refresh" content="0;url=https://evil"/></svg>',
    "picture set": '<svg><img srcset="https://evil/x.png"/></svg>',
    "poster": '<svg><video poster="https://evil/x.png"/></svg>',
    "background": '<svg><table background="https://evil/x.png"/></svg>',
    "unknown element": "<svg><blink/></svg>",
    "root with a prefix": '<s:svg xmlns:s="http://www.w3.org/2000/svg"><image srcset="https://evil/x.png"/></s:svg>',
    "HTML in a title": "<svg><title><style></style></title></svg>",
    "HTML in a description": '<svg><desc><image srcset="https://evil/x.png"/></desc></svg>',
    "url": '<svg><path style="fill: url(https://evil)" d=""/></svg>',
    "url in quotes": '<svg><path style="fill: url( \'https://evil#x\' )" d=""/></svg>',
    "url in an attribute": '<svg><path fill="url(//evil#x)" d=""/></svg>',
    "second url": '<svg><path style="fill: url(#a), url(https://evil)" d=""/></svg>',
    "odd url": '<svg><path fill="uRl(\n\t//evil#x" d=""/></svg>',
    "url with an entity": '<svg><path fill="&#117;rl(//evil#x)" d=""/></svg>',
    "url with an escape": r'<svg><path style="fill: u\72l(//evil)" d=""/></svg>',
    "style": "<svg><style>* { fill: url(https://evil) }</style></svg>",
    "import": "<svg><style>@ImPoRt 'https://evil';</style></svg>",
    "import with an escape": r"<svg><style>@\69mport 'https://evil';</style></svg>",
    "import behind an element": "<svg><style><g/>@import 'https://evil';</style></svg>",
    "picture set in a style": "<svg><style>* { background: image-set('https://evil' 1x) }</style></svg>",
    "picture set of old": "<svg><g style=\"background: -webkit-image-set('https://evil' 1x)\"/></svg>",
    "src in a style": "<svg><g style=\"background: src('https://evil')\"/></svg>",
    "two elements": "<svg/><svg/>",
    "text behind": "<svg/>x",
    "unclosed": "<svg>",
    "no svg": "<div/>",
    "no element": "alert(1)",
    "nothing": "",
    "undeclared entity": "<svg>&nbsp;</svg>",
    "zero": "<svg>\x00</svg>",
}


@pytest.mark.parametrize("svg", SMUGGLED.values(), ids=SMUGGLED.keys())
def test_figures_that_do_more_than_draw_are_refused(svg):
    with pytest.raises(ValidationError, match="a figure m"):
        Figure(svg=svg)


@pytest.mark.parametrize(
    "svg",
    [
        '<svg viewBox="0 0 1 1"/>',
        f'<svg><image href="{PNG}"/></svg>',
        "<svg><defs><clipPath id='c'><rect/></clipPath></defs><g clip-path=\"url(#c)\"><use href='#c'/></g></svg>",
        "<svg><g style=\"fill: url('#c'); font: 10px 'DejaVu Sans'\"/></svg>",
        "<svg><style>* { stroke-linecap: butt }</style><title>V1</title></svg>",
        "<svg><text>@import url(https://x) &lt;script> C:\\ onload=1 javascript:</text></svg>",
        '<svg aria-label="url(https://x), @import and \\"/>',
    ],
)
def test_figures_that_draw_are_kept_as_they_are(svg):
    assert Figure(svg=svg).svg == svg


def heatmap(axes):
    axes.figure.colorbar(axes.imshow([[0, 1], [2, 3]]))


def words(axes):
    axes.set_title("</svg><script>alert('x')</script> --> @import url(https://x) \\ &amp; $x^2$")
    axes.text(0, 0, '"onload="alert(1)', parse_math=False)


DRAWINGS = {
    "heatmap": heatmap,
    "words": words,
    "line": lambda axes: axes.plot([1, 2], "o--", label="a") and axes.legend(),
    "bars": lambda axes: axes.bar([1, 2], [3, 4], hatch="//"),
    "scatter": lambda axes: axes.scatter([1, 2], [3, 4], c=[0, 1], marker="^"),
    "contours": lambda axes: axes.contourf([[0, 1], [2, 3]]),
    "mesh": lambda axes: axes.pcolormesh([[0, 1], [2, 3]], rasterized=True),
    "pie": lambda axes: axes.pie([1, 2], labels=["a", "b"], shadow=True),
    "logarithm": lambda axes: axes.loglog([1, 10], [1, 10]),
    "named": lambda axes: axes.plot([1, 2])[0].set_gid("my-line"),
}


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS.keys())
def test_whatever_matplotlib_draws_is_a_figure(draw):
    canvas = Canvas(figsize=(2, 2))
    draw(canvas.add_subplot())
    svg = as_svg(canvas, "drawn", 'a "drawing" <of> url(https://x) \\ @import')
    assert Figure(svg=svg).svg == svg


@pytest.mark.parametrize(
    "path",
    [
        "https://example.org/index.html",
        "//example.org/index.html",
        "/etc/index.html",
        "../index.html",
        "fold-0/../../index.html",
        "fold-0/.hidden/index.html",
        "javascript:alert(1)/index.html",
        "fold-0/report/index.html#x",
        "fold-0/report/index.html?x=1",
        "fold-0/report/run.exe",
        "fold-0\\index.html",
        "index.html",
        "fold-0/index.html\n",
        "",
    ],
)
def test_links_lead_to_pages_in_folders_below_and_nowhere_else(path):
    with pytest.raises(ValidationError, match="links"):
        Links(links={"x": path})

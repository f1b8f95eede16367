"""An analysis of one's own: how well is each target group decoded, before any picture is drawn?

This line of an experiment file asks it (a list replaces the preset's list, so the demo's own analysis is left out):

    analyses: [{kind: analysis:DecodingAccuracy}]

Run in this folder:

    braindiffuser run --config analysis.yaml --with analysis --out RUN
"""

from collections.abc import Mapping

from braindiffuser.analyses import Analysis, Outcome, RunData
from braindiffuser.metrics.two_way_identification import two_way_estimate
from braindiffuser.report import CSS_COLOURS, Cell, Figure, Figures, Row, Section, Table, Text, as_svg

Interval = tuple[float, float, float]
"""Value, lower and upper end of its 95 % interval over test stimuli."""


class DecodingAccuracy(Analysis):
    """Two-way identification of test stimuli by their decoded features: group by group, each test set among itself."""

    def run(self, data: RunData) -> Outcome:
        """Compare decoded features with the stimuli's own."""
        sets, groups = data.test_sets, data.groups
        found = {group: {name: _accuracy(data, group, rows) for name, rows in sets.items()} for group in groups}
        first = {group: next(iter(by_set.values())) for group, by_set in found.items()}
        best = max(first, key=first.__getitem__)
        sentence = f"Test stimuli are told apart best by {best}: {_percent(first[best][0])}, where chance is 50 %."
        table = Table(
            caption="Two-way identification by decoded features, of each test set among itself",
            corner="Target group",
            columns=tuple(sets),
            rows=tuple(Row(label=group, cells=tuple(map(_cell, by_set.values()))) for group, by_set in found.items()),
        )
        figure = Figures(figures=(Figure(svg=_draw(first, self.label)),))
        blocks = (Text(text=sentence), table, figure)
        return Outcome(Section(name=self.label, title="How well is each group decoded?", blocks=blocks), facts=found)


def _accuracy(data: RunData, group: str, rows: slice) -> Interval:
    truth, predicted = data.truth(group)[rows], data.predictions(group)[rows]
    n = len(truth)
    return two_way_estimate(truth.reshape(n, -1), predicted.reshape(n, -1))


def _cell(accuracy: Interval) -> Cell:
    value, low, high = accuracy
    return Cell(value=_percent(value), interval=f"{_percent(low)} – {_percent(high)}")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _draw(found: Mapping[str, Interval], name: str) -> str:
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(6, 0.4 * len(found) + 0.6), layout="constrained")
    axes = drawing.add_subplot(facecolor="none")
    for row, (value, low, high) in enumerate(found.values()):
        axes.plot([low, high], [row, row], color=CSS_COLOURS["reconstruction"])
        axes.plot(value, row, "o", color=CSS_COLOURS["reconstruction"])
    axes.axvline(0.5, color=CSS_COLOURS["muted"], linestyle=":")
    axes.set_yticks(range(len(found)), list(found))
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=CSS_COLOURS["ink"])
    axes.set_xlabel("two-way identification", color=CSS_COLOURS["ink"])
    return as_svg(drawing, name, "Two-way identification of each target group, with 95 % intervals")

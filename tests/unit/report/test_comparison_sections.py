from braindiffuser.report.comparison_sections import comparison_sections
from braindiffuser.report.sections import Table, Text


def entry(values, *, label="M", better=True, half=0.01):
    return {
        "label": label,
        "higher_is_better": better,
        "chance": None,
        "values": values,
        "ci95": {name: [value - half, value + half] for name, value in values.items()},
    }


def verdicts(section):
    return [block.text for block in section.blocks if isinstance(block, Text) and block.style == "verdict"]


def cells(section):
    (table,) = [block for block in section.blocks if isinstance(block, Table)]
    return table.columns, [[cell.value for cell in row.cells] for row in table.rows]


RECOVERY = {
    "n_images": 20,
    "metrics": {
        "a": entry({"all": 0.9, "latents": 0.9, "text": 0.5}, label="A"),
        "b": entry({"all": 0.2, "latents": 0.4, "text": 0.1}, label="B", better=False),
    },
}
RANDOM = {
    "n_images": 20,
    "metrics": {
        "a": entry({"reconstruction": 0.9, "random_responses": 0.5}, label="A"),
        "b": entry({"reconstruction": 0.505, "random_responses": 0.5}, label="B"),
    },
}


def test_nothing_is_said_of_what_was_not_drawn():
    assert comparison_sections({"metrics": {}}) == []


def test_each_branch_is_held_against_all_of_them():
    (section,) = comparison_sections({"recovery": RECOVERY})
    assert verdicts(section) == [
        "From latents alone: worse than all branches on B, by 95 % intervals that do not overlap.",
        "From text alone: worse than all branches on A and better on B, by 95 % intervals that do not overlap.",
    ]
    columns, rows = cells(section)
    assert columns == ("All branches", "Latents alone", "Text alone", "Chance")
    assert rows[0][:3] == ["0.900", "0.900", "0.500"]


def test_a_branch_that_is_only_better_is_said_to_be_better_than_what():
    better = {"n_images": 5, "metrics": {"a": entry({"all": 0.5, "latents": 0.7}, label="A")}}
    (section,) = comparison_sections({"recovery": better})
    assert verdicts(section) == [
        "From latents alone: better than all branches on A, by 95 % intervals that do not overlap."
    ]


def test_a_branch_that_no_metric_tells_apart_is_not_called_equal():
    same = {"n_images": 5, "metrics": {"a": entry({"all": 0.5, "latents": 0.501})}}
    (section,) = comparison_sections({"recovery": same})
    assert "no metric tells it from all branches" in verdicts(section)[0]


def test_random_responses_are_what_the_generator_knows_by_itself():
    (section,) = comparison_sections({"random_responses": RANDOM})
    assert verdicts(section) == [
        "Reconstructions are better than pictures from random responses on A, not on B, counting 95 % intervals that do not "
        "overlap."
    ]
    none = {**RANDOM, "metrics": {"b": RANDOM["metrics"]["b"]}}
    assert "on no metric, not on B" in verdicts(comparison_sections({"random_responses": none})[0])[0]
    assert all(block.fold for part in (section, *comparison_sections({"recovery": RECOVERY})) for block in part.blocks
               if isinstance(block, Table))  # fmt: skip
    columns, rows = cells(section)
    assert columns[:2] == ("Reconstruction", "Random responses")
    assert rows[1][:2] == ["0.505", "0.500"]

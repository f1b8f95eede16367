"""What is said of a run's folder."""

from pathlib import Path

import pytest

from braindiffuser.run_folder import orphans_sentence


@pytest.mark.parametrize(
    ("steps", "ways"),
    [
        (["reconstruct.rough"], []),
        (
            ["analyse.curve_sessions", "analyse.curve_rank"],
            ["`braindiffuser curve mine sessions`", "`braindiffuser curve mine rank`"],
        ),
        (["analyse.split_audit"], ["`braindiffuser analyse KIND --out mine`"]),
        (["analyse.a", "analyse.curve_rank"], ["`braindiffuser curve mine rank`", "`braindiffuser analyse KIND"]),
    ],
)
def test_analyses_that_leave_the_page_are_named_with_the_way_back(steps, ways):
    said = orphans_sentence(steps, Path("mine"))
    assert "kept, but are no longer on the page" in said
    for words in (*steps, *ways):
        assert words in said
    assert ("without --config" in said) == bool(ways)


def test_the_way_back_can_be_typed_for_any_folder():
    said = orphans_sentence(["analyse.curve_rank", "analyse.split_audit"], Path("my runs/a"))
    assert (
        "`braindiffuser curve 'my runs/a' rank` and `braindiffuser analyse KIND --out 'my runs/a'` put them back"
        in said
    )

"""From folders of pictures to a page, its answers and their score."""

import base64
import csv
import hashlib
import io
import json
import re
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from braindiffuser.errors import RunError
from braindiffuser.ratings.answer_key import key_path, write_key
from braindiffuser.ratings.answers import ratings_markdown, score_ratings
from braindiffuser.ratings.choices import OTHER_PICTURE
from braindiffuser.ratings.page import make_ratings

N = 12


def write_pictures(folder, seed, n=N, first=0, side=16):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(first, first + n):
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(folder / f"{number:04d}.png")
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("folders")
    return [write_pictures(root / name, seed) for seed, name in enumerate(("seen", "ours", "theirs"))]


@pytest.fixture
def page(folders, tmp_path):
    make_ratings(folders[:2], tmp_path / "page.html", n_trials=10, n_catch=5)
    return tmp_path / "page.html"


def content_of(page):
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="content">(.*?)</script>', text, re.S).group(1))


def key_of(page):
    return json.loads(key_path(page).read_text())


def answer(page, name, wrong=(), wrong_catches=0, left_out=()):
    """Answers of a rater who is right but in some trials, as the page saves them."""
    other = {"left": "right", "right": "left"}
    answers, catches = [], 0
    for trial, facts in key_of(page)["trials"].items():
        errs = trial in wrong
        if facts["kind"] == "catch":
            catches += 1
            errs = catches <= wrong_catches
        if trial not in left_out:
            side = other[facts["right_side"]] if errs else facts["right_side"]
            answers.append({"trial": trial, "choice": side, "milliseconds": 900})
    kit = content_of(page)["kit"]
    path = page.with_name(f"{name}.json")
    path.write_text(json.dumps({"format": "braindiffuser-ratings-1", "kit": kit, "rater": name, "answers": answers}))
    return path


def asked(page):
    return [trial for trial, facts in key_of(page)["trials"].items() if facts["kind"] != "catch"]


def pixels(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_the_page_shows_the_pictures_of_its_key(page, folders):
    content, key = content_of(page), key_of(page)
    assert len(content["trials"]) == 15
    assert len({trial["id"] for trial in content["trials"]}) == 15

    def file(said):
        method, _, name = said.partition("/")
        return next(folder for folder in folders if folder.name == method) / f"{name}.png"

    for trial in content["trials"]:
        facts = key["trials"][trial["id"]]
        right, wrong = (facts["right_side"], {"left": "right", "right": "left"}[facts["right_side"]])
        for place, said in {right: facts["right"], wrong: facts["wrong"], "seen": f"seen/{facts['seen']}"}.items():
            np.testing.assert_array_equal(pixels(content["pictures"][trial[place]]), np.asarray(Image.open(file(said))))


def test_the_page_stands_alone_and_holds_nothing_of_the_key(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(
        r"""(src|href)\s*=\s*["'](?!data:)|https?:|@import|fetch\(|XMLHttpRequest|WebSocket|sendBeacon""", text
    )
    assert "default-src 'none'" in text
    words = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
    for word in ("right_side", "ours/", OTHER_PICTURE, "catch", "0003.", '"0003'):
        assert word not in words
    assert {frozenset(trial) for trial in content_of(page)["trials"]} == {frozenset({"id", "seen", "left", "right"})}


def test_numbers_of_pictures_do_not_tell_sides(folders, tmp_path):
    """Neither the number of a picture nor its place says which is right."""
    make_ratings(folders[:2], tmp_path / "many.html", n_trials=N, n_catch=0, seed=3)
    trials, key = content_of(tmp_path / "many.html")["trials"], key_of(tmp_path / "many.html")["trials"]
    larger = [(trial["left"] < trial["right"]) == (key[trial["id"]]["right_side"] == "right") for trial in trials]
    assert 2 <= sum(larger) <= 10


def test_the_same_seed_makes_the_same_page_and_another_one_another(page, folders, tmp_path):
    make_ratings(folders[:2], tmp_path / "again.html", n_trials=10, n_catch=5)
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()
    make_ratings(folders[:2], tmp_path / "other.html", n_trials=10, n_catch=5, seed=1)
    assert content_of(tmp_path / "other.html")["kit"] != content_of(page)["kit"]


def test_nothing_is_replaced(page, folders):
    before = page.read_bytes()
    with pytest.raises(RunError, match=r"page\.html is there already, and answers may have been given to it"):
        make_ratings(folders[:2], page)
    page.unlink()
    with pytest.raises(RunError, match=r"page\.key\.json is there already, though its page is not: .* or delete it"):
        make_ratings(folders[:2], page)
    assert before
    with pytest.raises(RunError, match=r"ends in \.html"):
        make_ratings(folders[:2], page.with_suffix(".txt"))


def test_right_choices_are_counted_and_raters_who_do_not_look_are_named(page):
    wrong = asked(page)[:3]
    files = [
        answer(page, "good", wrong),
        answer(page, "better", wrong[:1]),
        answer(page, "asleep", wrong, wrong_catches=2),
    ]
    scores = score_ratings(page, files)
    found = scores["comparisons"][OTHER_PICTURE]
    assert found["value"] == pytest.approx(16 / 20)
    assert (found["n_choices"], found["n_raters"], found["n_pictures"]) == (20, 2, 10)
    assert found["ci95"][0] < 0.8 < found["ci95"][1]
    assert scores["excluded"] == ["asleep"]
    assert scores["remarks"] == ["asleep is excluded: 3 of 5 catch trials right"]
    assert scores["raters"]["good"] == {
        "n_answers": 15,
        "catch_right": 5,
        "n_catch": 5,
        "right": 0.7,
        "excluded": False,
    }
    assert score_ratings(page, files, catch_passed=0.5)["excluded"] == []
    assert scores["kind"] == "other_picture"
    assert ratings_markdown(scores).startswith("| Chosen over | Right choices |")
    assert "| another picture | 80.0% |" in ratings_markdown(scores)


def test_one_catch_trial_of_five_may_be_missed(page):
    assert score_ratings(page, [answer(page, "one", wrong_catches=1)])["excluded"] == []


def test_csv_says_the_same_as_json_and_holds_several_raters(page, tmp_path):
    files = [answer(page, "a", asked(page)[:2]), answer(page, "b", asked(page)[:4])]
    with (tmp_path / "all.csv").open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["kit", "rater", "trial", "choice", "milliseconds"])
        for file in files:
            content = json.loads(file.read_text())
            for each in content["answers"]:
                rows.writerow([content["kit"], content["rater"], each["trial"], each["choice"], each["milliseconds"]])
    assert score_ratings(page, [tmp_path / "all.csv"]) == score_ratings(page, files)


def test_methods_are_compared_picture_by_picture(folders, tmp_path):
    page = tmp_path / "methods.html"
    make_ratings(folders, page, n_trials=8, n_catch=2)
    key = key_of(page)
    assert key["methods"] == ["ours", "theirs"]
    of_method = [facts for facts in key["trials"].values() if facts["comparison"] == "theirs"]
    assert len(of_method) == 8
    assert all(
        facts["right"] == f"ours/{facts['seen']}" and facts["wrong"] == f"theirs/{facts['seen']}" for facts in of_method
    )
    scores = score_ratings(page, [answer(page, "a"), answer(page, "b", asked(page)[:1])])
    assert scores["comparisons"]["theirs"]["value"] == pytest.approx(15 / 16)
    assert (scores["method"], scores["kind"]) == ("ours", "method")
    head, _, row = ratings_markdown(scores).splitlines()
    assert head.startswith("| Over | ours chosen |")
    assert row.startswith("| theirs | 93.8% |")


@pytest.mark.parametrize(
    ("n_trials", "ends"),
    [(8, "choices and 2 catch trials"), (99, f"; {N} pictures are all there are, of 99 asked for")],
)
def test_how_many_trials_a_page_has_is_said(n_trials, ends, folders, tmp_path):
    *_, said = make_ratings(folders, tmp_path / "page.html", n_trials=n_trials, n_catch=2)
    assert (
        said
        == f"the page has {min(n_trials, N)} choices and 2 catch trials{ends.removeprefix('choices and 2 catch trials')}"
    )


def test_a_stack_is_as_good_as_the_folder_of_the_same_pictures_and_roles_are_said(folders, tmp_path):
    seen, ours, theirs = folders
    raw = np.stack([np.asarray(Image.open(theirs / f"{number:04d}.png")) for number in range(N)])
    np.save(tmp_path / "theirs.npy", raw)
    said = {}
    for name, last in (("folder", theirs), ("stack", tmp_path / "theirs.npy")):
        said[name] = make_ratings([seen, ours, last], tmp_path / f"{name}.html", n_trials=8, n_catch=2)
    assert (tmp_path / "stack.html").read_bytes() == (tmp_path / "folder.html").read_bytes()
    assert key_of(tmp_path / "stack.html") == key_of(tmp_path / "folder.html")
    for remarks in said.values():
        assert remarks[0] == (
            f"{seen} is taken for what was seen, since it is named first; raters choose between reconstructions by ours and "
            "reconstructions of the same pictures by theirs"
        )
    assert "theirs.npy have no names, and are taken in the order of the names of" in said["stack"][1]
    np.save(tmp_path / "few.npy", raw[:-1])
    with pytest.raises(RunError, match="a stack has no names, so both need the same number"):
        make_ratings([seen, tmp_path / "few.npy"], tmp_path / "few.html")


def test_an_unfinished_page_counts_as_far_as_it_was_answered_and_one_rater_is_named_as_one(page):
    scores = score_ratings(page, [answer(page, "half", left_out=asked(page)[5:])])
    assert scores["comparisons"][OTHER_PICTURE]["n_choices"] == 5
    assert scores["remarks"][0] == "half answered 10 of 15 trials; those count"
    assert scores["remarks"][1].startswith("one rater is left")


def changed(path, **entries):
    content = json.loads(path.read_text()) | entries
    path.write_text(json.dumps(content))
    return path


def forged(page, **facts):
    """A key with a right checksum, of which one trial is none."""
    key = key_of(page)
    key["trials"]["t001"] |= facts
    write_key(key_path(page), {entry: key[entry] for entry in ("kit", "page_sha256", "methods", "trials")})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda page, file: changed(file, kit="0" * 16), "answers another page"),
        (lambda page, file: changed(file, format="other"), "holds no answers as the page saves them"),
        (lambda page, file: file.write_text("{"), "holds no answers as the page saves them"),
        (lambda page, file: changed(file, answers=[{"trial": "t001", "choice": "up"}]), "'up': expected left or right"),
        (lambda page, file: changed(file, answers=[{"trial": "t999", "choice": "left"}]), "answers t999 with 'left'"),
        (
            lambda page, file: changed(file, answers=2 * [{"trial": "t001", "choice": "left"}]),
            "answers trial t001 twice",
        ),
        (lambda page, file: changed(file, answers=[]), "none of 1 raters got 80% of the catch trials right"),
        (
            lambda page, file: page.write_text(page.read_text() + " "),
            "is not the key of .*page.html, or the page was changed",
        ),
        (lambda page, file: key_path(page).unlink(), "there is no key .*page.key.json"),
        (lambda page, file: changed(key_path(page), format="?"), "is no key of a page of ratings"),
        (
            lambda page, file: changed(key_path(page), format="braindiffuser-ratings-key-1"),
            "that an earlier version wrote",
        ),
        (lambda page, file: file.unlink(), "cannot be read as answers"),
        (lambda page, file: changed(key_path(page), kit=None), "key.json is damaged, or was changed"),
        (lambda page, file: changed(key_path(page), trials={}), "key.json is damaged, or was changed"),
        (lambda page, file: forged(page, right_side="up"), "key.json is damaged, or was changed"),
        (lambda page, file: forged(page, kind="other"), "key.json is damaged, or was changed"),
        (lambda page, file: forged(page, comparison=None), "key.json is damaged, or was changed"),
        (lambda page, file: forged(page, seen=3), "key.json is damaged, or was changed"),
    ],
)
def test_what_does_not_belong_together_is_refused(spoil, words, page):
    file = answer(page, "rater")
    spoil(page, file)
    with pytest.raises(RunError, match=words):
        score_ratings(page, [file])


def test_a_rater_counts_once(page):
    first = answer(page, "twin")
    second = page.with_name("copy.json")
    second.write_bytes(first.read_bytes())
    with pytest.raises(RunError, match="are both of the rater twin"):
        score_ratings(page, [first, second])


def test_raters_without_a_name_are_named_as_that(page):
    first, second = answer(page, "a"), answer(page, "b")
    for file in (first, second):
        changed(file, rater=" ")
    with pytest.raises(RunError, match=r"a.json and .*b.json name no rater, .* write a name of each"):
        score_ratings(page, [first, second])
    content = json.loads(first.read_text())
    changed(first, answers=content["answers"][:-1])
    assert any(
        remark.startswith("the rater without a name answered") for remark in score_ratings(page, [first])["remarks"]
    )


def test_a_name_is_a_raters_in_letters_of_either_case_and_with_blanks_around_it(page, tmp_path):
    first, second = answer(page, "Rater A"), answer(page, "second")
    changed(second, rater=" rater  a ")
    with pytest.raises(RunError, match="are both of the rater rater a: give one file of each, or rename one"):
        score_ratings(page, [first, second])
    half = asked(page)[:5]
    rows = [["kit", "rater", "trial", "choice", "milliseconds"]]
    for name, file in (("A", answer(page, "one", left_out=half)), ("a ", answer(page, "two"))):
        content = json.loads(file.read_text())
        rows += [
            [content["kit"], name, each["trial"], each["choice"], "9"]
            for each in content["answers"]
            if name == "A" or each["trial"] in half
        ]
    (tmp_path / "all.csv").write_text("".join(f"{','.join(row)}\n" for row in rows))
    scores = score_ratings(page, [tmp_path / "all.csv"])
    assert {name: facts["n_answers"] for name, facts in scores["raters"].items()} == {"A": 15}


def test_a_csv_file_that_no_reader_takes_is_named(page, tmp_path):
    path = tmp_path / "long.csv"
    path.write_text(f"kit,rater,trial,choice,milliseconds\nk,{'x' * 200_000},t001,left,3\n")
    with pytest.raises(RunError, match=r"long\.csv holds no answers as the page saves them \(.*\): save them again"):
        score_ratings(page, [path])


@pytest.mark.parametrize("name", ["catch", "another picture", "seen"])
def test_a_method_may_have_any_name(name, folders, tmp_path):
    """Trials of the method called catch are no catch trials: they exclude nobody, and are compared."""
    other = write_pictures(tmp_path / "made" / name, 5)
    page = tmp_path / "page.html"
    make_ratings([folders[0], folders[1], other], page, n_trials=10, n_catch=3)
    scores = score_ratings(page, [answer(page, "rater", asked(page)[:8])])
    assert {each: found["n_choices"] for each, found in scores["comparisons"].items()} == {name: 10}
    assert scores["comparisons"][name]["value"] == pytest.approx(0.2)
    assert (scores["raters"]["rater"]["n_catch"], scores["excluded"]) == (3, [])


@pytest.mark.parametrize("seed", range(4))
def test_nobody_is_asked_to_choose_between_equal_pictures(seed, folders, tmp_path):
    some = write_pictures(tmp_path / "some", 6)
    for number in range(4):
        (some / f"{number:04d}.png").write_bytes((folders[1] / f"{number:04d}.png").read_bytes())
    page = tmp_path / "page.html"
    said = make_ratings([folders[0], folders[1], some], page, n_trials=N, n_catch=2, seed=seed)
    assert said[1:] == (
        f"4 of {N} choices would be between equal pictures (pictures of ours and some), and are left out",
        f"the page has {N - 4} choices and 2 catch trials",
    )
    assert {key_of(page)["trials"][trial]["seen"] for trial in asked(page)} == {f"{n:04d}" for n in range(4, N)}
    assert len(content_of(page)["trials"]) == N - 4 + 2
    shutil.copytree(folders[1], tmp_path / "copy")
    with pytest.raises(
        RunError, match=f"{N} of {N} choices are between equal pictures .*ours and copy.: give pictures that"
    ):
        make_ratings([folders[0], folders[1], tmp_path / "copy"], tmp_path / "other.html", n_trials=N)
    assert not list(tmp_path.glob("other*"))


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_page_that_cannot_be_written_leaves_no_key_and_the_same_command_begins_again(
    error, folders, tmp_path, monkeypatch
):
    @contextmanager
    def fail(path):
        raise error
        yield

    page = tmp_path / "page.html"
    with monkeypatch.context() as patched:
        patched.setattr("braindiffuser.ratings.page.replacing", fail)
        with pytest.raises(type(error)):
            make_ratings(folders[:2], page)
    assert not list(tmp_path.iterdir())
    make_ratings(folders[:2], page)


def test_a_run_gives_the_pictures_of_its_first_test_set(tmp_path):
    run = tmp_path / "run"
    for seed, kind in enumerate(("seen", "final")):
        write_pictures(run / "reconstructions" / kind, seed)
    (run / "manifest.json").write_text("{}")
    (run / "test_sets.json").write_text(json.dumps({"test": [0, 8], "held_out": [8, N]}))
    make_ratings([run], tmp_path / "page.html", n_trials=60, n_catch=2)
    names = {facts["seen"] for facts in key_of(tmp_path / "page.html")["trials"].values()}
    assert names == {f"{number:04d}" for number in range(8)}
    (run / "reconstructions/final/0003.png").unlink()
    with pytest.raises(RunError, match="holds 7 of 8 test pictures: finish the run"):
        make_ratings([run], tmp_path / "other.html")


def test_runs_of_other_pictures_are_not_compared(tmp_path):
    runs = []
    for number in range(2):
        run = tmp_path / f"run-{number}"
        write_pictures(run / "reconstructions/seen", number)
        write_pictures(run / "reconstructions/final", 10 + number)
        (run / "manifest.json").write_text("{}")
        (run / "test_sets.json").write_text(json.dumps({"test": [0, N]}))
        runs.append(run)
    with pytest.raises(RunError, match="run-1 showed another picture 0000"):
        make_ratings(runs, tmp_path / "page.html")


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ([0], "is no run: name a run, or what was seen and then"),
        ([0, 1, 1], "are the same pictures: name each method once"),
    ],
)
def test_folders_that_are_no_methods_are_refused(chosen, words, folders, tmp_path):
    with pytest.raises(RunError, match=words):
        make_ratings([folders[number] for number in chosen], tmp_path / "page.html")


def test_the_key_names_the_page_by_its_content(page):
    assert key_of(page)["page_sha256"] == hashlib.sha256(page.read_bytes()).hexdigest()

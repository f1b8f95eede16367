"""The table of open data: what it states is consistent, and what it names is what readers look for."""

import re

import pytest

from braindiffuser.datasets.dataset import Dataset
from braindiffuser.experiment import Experiment
from braindiffuser.open_data.catalogue import ALL, ROLES
from braindiffuser.open_data.fetch import Choice, describe
from braindiffuser.part import known_kinds

EACH = pytest.mark.parametrize("data", ALL, ids=lambda data: data.name)


def asked(data, subjects=None, sessions=(), roles=()):
    return Choice.of(data.name, subjects or list(data.sessions)[:1], sessions, roles)


@EACH
def test_the_experiment_file_is_one_that_the_reader_takes(data, tmp_path):
    sessions = ["1", "2"] if data.has_session_files else []
    text = asked(data, sessions=sessions).experiment_file(tmp_path / "a: folder")
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    dataset = Experiment.load(tmp_path / "mine.yaml").dataset
    assert dataset.kind in known_kinds(Dataset)
    assert str(tmp_path / "a: folder") in (
        str(dataset.folder),
        str(getattr(dataset, "pictures", None).parent if dataset.folder is None else ""),
    )
    if data.has_session_files and hasattr(dataset, "sessions"):
        assert dataset.sessions == (1, 2)


@EACH
def test_terms_have_a_word_and_it_is_said(data):
    assert bool(data.terms) == bool(data.word)
    said = "\n".join(describe())
    assert data.holds in said
    assert data.licence in said
    assert data.page in said
    assert data.terms in said
    assert f"--accept-terms {data.word}" in said or not data.word


@EACH
def test_a_licence_that_is_not_known_is_said_and_has_to_be_read(data):
    if data.files and "not listed here" in data.licence and "captions" not in data.licence:
        assert data.word == "read"


@EACH
def test_names_are_by_subject_and_session_and_roles_are_known(data):
    assert {files.role for files in data.files} <= set(ROLES)
    for subject in data.sessions:
        names = [name for _, name, _ in asked(data, [subject]).patterns()]
        assert len(names) == len(set(names))
        assert not any(re.search(r"[{}]", name) for name in names)
        per_session = [name for _, name, _ in asked(data, [subject], roles=["betas"]).patterns()]
        assert len(per_session) == (data.sessions[subject] if data.has_session_files else len(data.files) and 1)
        assert all(subject in name for name in per_session)

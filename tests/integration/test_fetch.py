"""What is fetched is what readers read: tiny recordings, served as their servers would, come and open as they were."""

import shutil
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from braindiffuser.cli import app
from braindiffuser.experiment import Experiment
from braindiffuser.open_data import fetch
from braindiffuser.open_data.catalogue import ALL, BOLD5000, GOD, LAION_FMRI, NSD, NSD_IMAGERY, NSD_SYNTHETIC

ROOT = str(Path(__file__).parents[2])
runner = CliRunner()


def imported(name):
    sys.path.append(ROOT)
    try:
        return import_module(name)
    finally:
        sys.path.remove(ROOT)


Served = imported("tests.unit.open_data.served").Served
refused = imported("tests.unit.open_data.served").refused


def serve(data, root, monkeypatch, flat=False):
    """Serve the files below a folder, or their bare names, in place of all servers of a data set."""
    contents = {
        path.name if flat else path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }
    served = Served(contents)
    here = replace(data, files=tuple(replace(files, server=served) for files in data.files))
    monkeypatch.setattr(fetch, "ALL", tuple(here if each is data else each for each in ALL))
    return served


def asked(tmp_path, *words, typed=None):
    """Run the command; return its result, the folder, and the files that the printed experiment reads."""
    folder = tmp_path / "here"
    name, *rest = words
    result = runner.invoke(app, ["fetch", name, str(folder), *rest], input=typed)
    return result, folder


def files_read(result, folder):
    file = folder / "printed.yaml"
    file.write_text(result.stdout, encoding="utf-8")
    return {name for named in Experiment.load(file).dataset.files().values() for name in named}


def everything(folder):
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name for name in names if name not in (".lock", "printed.yaml")}


def test_nsd_comes_as_it_is_read_after_its_terms_are_accepted(tmp_path, monkeypatch):
    tree = imported("tests.unit.datasets.conftest").write_nsd_tree(tmp_path / "there")
    served = serve(NSD, tree.root, monkeypatch)
    words = ("nsd", "--subjects", "subj01", "--sessions", "1", "3")
    for typed in ("no\n", ""):
        result, folder = asked(tmp_path, *words, typed=typed)
        assert result.exit_code == 1
        assert "nothing was downloaded: type signed, or give --accept-terms signed" in result.stderr
        assert "Data Access Agreement" in result.stderr
        assert not served.sent
        assert not folder.exists()
    for accepted in ({"typed": "signed\n"}, {}):
        result, folder = asked(tmp_path, *words, *(() if accepted else ("--accept-terms", "signed")), **accepted)
        assert result.exit_code == 0, result.stderr
        if not accepted:
            assert files_read(result, folder) == everything(folder)
            dataset = Experiment.load(folder / "printed.yaml").dataset
            here, there = (replace_root(dataset, root).open(root) for root in (folder, tree.root))
            assert here.trials.equals(there.trials)
            assert all((here.read_session(n) == there.read_session(n)).all() for n in (1, 3))
    assert len(served.sent) == len(set(served.sent))


@pytest.mark.parametrize(("data", "further", "sets"), [(NSD_SYNTHETIC, "synthetic", 1), (NSD_IMAGERY, "imagery", 3)])
def test_further_experiments_of_nsd_come_as_they_are_read_after_its_terms(data, further, sets, tmp_path, monkeypatch):
    tree = imported("tests.unit.datasets.conftest").write_nsd_tree(tmp_path / "there")
    layout = imported("tests.unit.datasets.further_layout").write_further(tree.root, tree.mask.shape)
    shutil.copytree(layout.by_cue, tree.root / "nsddata/experiments/nsdimagery/rawtargetimages")
    for part in (NSD, data):
        serve(part, tree.root, monkeypatch)
        words = (part.name, "--subjects", "subj01")
        if part is data:
            refusal, _ = asked(tmp_path, *words, typed="no\n")
            assert refusal.exit_code == 1
            assert "Data Access Agreement" in refusal.stderr
        sessions = ("--sessions", "1-3") if part is NSD else ()
        result, folder = asked(tmp_path, *words, *sessions, "--accept-terms", "signed")
        assert result.exit_code == 0, result.stderr
    if further == "imagery":
        shutil.copytree(layout.by_cue, folder / layout.by_cue.relative_to(tree.root))
    assert files_read(result, folder) <= everything(folder)
    experiment = Experiment.load(folder / "printed.yaml")
    assert experiment.responses.normalisation == "training"
    recording, there = (replace_root(experiment.dataset, root).open(root) for root in (folder, tree.root))
    assert recording.trials.equals(there.trials)
    assert len(recording.sets_apart) == sets
    number = recording.apart[0]
    assert (recording.betas_of(number) == there.betas_of(number)).all()


def replace_root(dataset, root):
    return dataset.model_copy(update={"root": root})


@pytest.mark.parametrize("seed", [0, 1])
def test_laion_fmri_comes_as_it_is_read_and_what_is_behind_an_agreement_by_hand(seed, tmp_path, monkeypatch):
    tree = imported("tests.unit.datasets.test_laion_fmri").write(tmp_path / "there", seed)
    served = serve(LAION_FMRI, tree.root, monkeypatch)
    result, folder = asked(tmp_path, "laion_fmri", "--subjects", "sub-01", "--sessions", "1-2")
    assert result.exit_code == 0, result.stderr
    assert "would come" in result.stderr
    assert "https://laion-fmri.hebartlab.com/request" in result.stderr
    gated = {"stimuli/task-images_stimuli.h5", "stimuli/task-images_metadata.csv"}
    assert not gated & everything(folder)
    assert not any("1pt5" in name for name in served.sent)
    for name in gated:
        shutil.copy(tree.root / name, folder / name)
    split = tree.split().relative_to(tree.root)
    (folder / split).parent.mkdir(parents=True)
    shutil.copy(tree.root / split, folder / split)
    read = files_read(result, folder)
    there, here = (
        replace_root(Experiment.load(folder / "printed.yaml").dataset, root).open(folder)
        for root in (tree.root, folder)
    )
    assert read - {name for name in read if "splits" in name or name == "tau.json"} <= everything(folder)
    assert here.trials.equals(there.trials)
    assert here.roi_masks.keys() == there.roi_masks.keys()
    assert all((here.read_session(n) == there.read_session(n)).all() for n in (1, 2))


def test_laion_fmri_comes_from_a_server_of_s3(tmp_path, monkeypatch):
    boto3, moto = pytest.importorskip("boto3"), pytest.importorskip("moto.server")
    tree = imported("tests.unit.datasets.test_laion_fmri").write(tmp_path / "there", 1)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://{}:{}".format(*server.get_host_and_port()))
        owner = boto3.client("s3", region_name="us-west-2", aws_access_key_id="x", aws_secret_access_key="x")  # noqa: S106
        owner.create_bucket(Bucket="laion-fmri", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
        held = tree.volumes(2).relative_to(tree.root).as_posix()
        for path in (path for path in tree.root.rglob("*") if path.is_file()):
            key = path.relative_to(tree.root).as_posix()
            access = {} if key == held else {"ACL": "public-read"}
            owner.put_object(Bucket="laion-fmri", Key=key, Body=path.read_bytes(), **access)
        words = ("laion_fmri", "--subjects", "sub-01", "--sessions", "1", "2")
        result, folder = asked(tmp_path, *words)
        assert result.exit_code == 1
        assert f"{held} did not come from s3://laion-fmri: it is refused (403)" in result.stderr
        came = {name: (folder / name).read_bytes() for name in everything(folder)}
        assert tree.volumes(1).relative_to(tree.root).as_posix() in came
        assert all(content == (tree.root / name).read_bytes() for name, content in came.items())
        owner.put_object_acl(Bucket="laion-fmri", Key=held, ACL="public-read")
        result, folder = asked(tmp_path, *words)
        assert result.exit_code == 0, result.stderr
        assert f"1 file, 0.0 MB, would come; {len(came)} more are here" in result.stderr
        assert everything(folder) == {*came, held}
        owner.close()
    finally:
        server.stop()


def test_bold5000_comes_as_it_is_read(tmp_path, monkeypatch):
    root = tmp_path / "there"
    root.mkdir()
    module, drawn = (imported(f"tests.unit.datasets.{name}") for name in ("test_bold5000", "layouts_drawn"))
    module.write(root, drawn.draw(0))
    served = serve(BOLD5000, root, monkeypatch, flat=True)
    masks = [name for name in served.contents if name.startswith("sub-")]
    served.contents |= {f"derivatives/spm/sub-CSI1/{name}": served.contents.pop(name) for name in masks}
    n = sum("_ses-" in name and "TYPED" in name for name in served.contents)
    result, folder = asked(tmp_path, "bold5000", "--subjects", "CSI1", "--sessions", f"1-{n}", "--accept-terms", "read")
    assert result.exit_code == 0, result.stderr
    shutil.copytree(next(root.rglob("Presented_Stimuli")), folder / "Presented_Stimuli")
    assert files_read(result, folder) == everything(folder)
    here, there = (
        replace_root(Experiment.load(folder / "printed.yaml").dataset, place).open(folder) for place in (folder, root)
    )
    assert here.trials.equals(there.trials)
    assert here.roi_masks.keys() == there.roi_masks.keys()


def test_generic_object_decoding_comes_by_name(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    for n in (1, 2):
        (tmp_path / f"there/Subject{n}.h5").write_bytes(b"bdata")
    serve(GOD, tmp_path / "there", monkeypatch)
    result, folder = asked(tmp_path, "god", "--subjects", "Subject2", "--accept-terms", "read")
    assert result.exit_code == 0, result.stderr
    assert everything(folder) == {"Subject2.h5"}
    assert yaml.safe_load(result.stdout)["dataset"]["responses"] == str(folder / "Subject2.h5")


def test_what_did_not_come_is_said_at_the_end_with_status_1(tmp_path, monkeypatch):
    tree = imported("tests.unit.datasets.test_laion_fmri").write(tmp_path / "there", 1)
    served = serve(LAION_FMRI, tree.root, monkeypatch)
    lost, held = (tree.volumes(n).relative_to(tree.root).as_posix() for n in (1, 2))
    served.answers |= {lost: refused(404), held: refused(403)}
    result, folder = asked(tmp_path, "laion_fmri", "--subjects", "sub-01", "--sessions", "1", "2")
    assert result.exit_code == 1
    said = result.stderr[result.stderr.index("error: ") :]
    assert f"{lost} did not come" in said
    assert f"{held} did not come" in said
    assert said.count("404") == said.count("403") == 1
    assert everything(folder) == set(served.sent)
    assert len(served.sent) > 5


def test_a_dry_run_brings_nothing(tmp_path, monkeypatch):
    tree = imported("tests.unit.datasets.conftest").write_nsd_tree(tmp_path / "there")
    served = serve(NSD, tree.root, monkeypatch)
    words = ("--subjects", "subj01", "--sessions", "1", "--files", "betas", "stimuli", "--dry-run")
    result, folder = asked(tmp_path, "nsd", *words)
    assert result.exit_code == 0
    assert "2 files" in result.stderr
    assert not folder.exists()
    assert not served.sent


def test_without_a_name_all_data_sets_are_described():
    result = runner.invoke(app, ["fetch"])
    assert result.exit_code == 0
    for data in ALL:
        assert data.name in result.stdout
        assert data.licence in result.stdout


def test_what_cannot_be_downloaded_is_said_with_what_to_get_by_hand(tmp_path):
    result, folder = asked(tmp_path, "things", "--subjects", "sub-01")
    assert result.exit_code == 1
    assert "nothing of things can be downloaded" in result.stderr
    assert "sub-01_ResponseData.h5" in result.stderr
    assert not folder.exists()

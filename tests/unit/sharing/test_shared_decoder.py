"""A shared decoder decodes what it did before it was written, and refuses what it was not made for, and files of others."""

import json
import struct
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from braindiffuser.errors import EXTRAS, DependencyError, RunError
from braindiffuser.sharing import SharedDecoder, shared_decoder
from braindiffuser.sharing.response_check import LARGEST, SMALLEST

from .conftest import SHAPES, small_decoder


def rewritten(path, change):
    """Write the file again, with another header."""
    with safe_open(path, framework="np") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = json.loads(file.metadata()["header"])
    change(header, arrays)
    save_file(arrays, path, {"header": json.dumps(header)})


# Decoding


@pytest.mark.parametrize("precision", ["float16", "float32"])
def test_what_is_loaded_decodes_the_same_bit_for_bit(tmp_path, precision):
    decoder, responses = small_decoder(precision)
    decoder.save(tmp_path / "shared")
    loaded = SharedDecoder.load(tmp_path / "shared")
    assert loaded.facts == decoder.facts
    assert list(loaded.groups) == list(decoder.groups)
    np.testing.assert_array_equal(loaded.null["vision"], decoder.null["vision"])
    for group, values in decoder.decode(responses).items():
        assert values.shape == (len(responses), *SHAPES[group])
        assert values.dtype == np.float32
        np.testing.assert_array_equal(loaded.decode(responses)[group], values)


def test_each_row_is_decoded_for_itself(small):
    decoder, responses = small
    whole = decoder.decode(responses)
    for row in (0, 7):
        for group, values in decoder.decode(responses[row : row + 1]).items():
            np.testing.assert_allclose(values[0], whole[group][row], atol=1e-5)


def test_halves_are_widened_once_and_kept_as_they_are(small, tmp_path):
    decoder, responses = small
    decoder.decode(responses)
    assert {each.loadings.dtype for each in decoder.groups.values()} == {np.dtype(np.float16)}
    decoder.save(tmp_path)


# Responses


def test_responses_of_other_voxels_are_refused(small):
    decoder, responses = small
    with pytest.raises(RunError, match=r"of 29 voxels, and the decoder needs 30 of sub-07"):
        decoder.decode(responses[:, 1:])
    with pytest.raises(
        RunError, match=f"with fingerprint {'0' * 16}, and the decoder was fitted to those of {'f' * 16} of sub-07"
    ):
        decoder.decode(responses, fingerprint="0" * 16)
    decoder.decode(responses, fingerprint="f" * 16)


def test_responses_that_are_no_numbers_are_refused(small):
    decoder, responses = small
    responses[3, 2] = np.nan
    with pytest.raises(RunError, match="not finite, first in row 3"):
        decoder.decode(responses)
    with pytest.raises(
        RunError, match=r"shape \(30,\), expected a row for each trial, \(n, 30\): one trial is responses\[None"
    ):
        decoder.decode(responses[0])
    for odd in (responses.astype(complex), responses.astype(str), responses[:0]):
        with pytest.raises(RunError, match=r"responses came as .* expected real numbers"):
            decoder.decode(odd)


@pytest.mark.parametrize(("size", "fits"), [(0.19, False), (0.21, True), (3.9, True), (4.1, False)])
def test_responses_of_another_size_are_refused_unless_asked_for(small, size, fits):
    """Training responses average four trials, so that noise of a single one has twice their size, and twice that is taken."""
    decoder, responses = small
    assert LARGEST * np.sqrt(decoder.facts.responses.mean_repeats) == 4
    assert SMALLEST == 0.2
    np.testing.assert_allclose(np.sqrt(np.mean(responses**2)), 1, rtol=1e-5)
    if fits:
        decoder.decode(size * responses)
    else:
        with pytest.raises(
            RunError, match=rf"{size:g} times as large .* expected 0.2 to 4 times: normalise .*--any-size"
        ):
            decoder.decode(size * responses)
    assert decoder.decode(size * responses, any_size=True)


# Files


def test_a_folder_with_other_files_is_refused(small, tmp_path):
    decoder, _ = small
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"holds notes\.txt: name a new folder"):
        decoder.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(RunError, match="is a file: name a new folder"):
        decoder.save(tmp_path / "notes.txt")


def test_the_same_decoder_is_written_again_but_no_other_and_no_edited_card(small, tmp_path):
    decoder, _ = small
    first = decoder.save(tmp_path).read_bytes()
    assert decoder.save(tmp_path).read_bytes() == first
    for changes in ({"run": "other"}, {"licence": "cc0-1.0"}, {"precision": "float32"}, {"mean_repeats": 5.0}):
        with pytest.raises(RunError, match="another decoder or card"):
            small_decoder(**changes)[0].save(tmp_path)
    assert (tmp_path / "decoder.safetensors").read_bytes() == first
    (tmp_path / "README.md").write_text("edited")
    with pytest.raises(RunError, match="another decoder or card"):
        decoder.save(tmp_path)
    assert (tmp_path / "README.md").read_text() == "edited"


def test_an_entry_that_a_newer_version_states_is_named(small, tmp_path):
    path = small[0].save(tmp_path)

    def state_more(header, arrays):
        header["facts"]["voxels"]["hemisphere"] = "left"
        header["sha256"] = shared_decoder._hash(header["facts"], arrays)

    rewritten(path, state_more)
    with pytest.raises(
        RunError, match=r"states voxels\.hemisphere, which this version does not know: it was written by a newer"
    ):
        SharedDecoder.load(path)


def test_files_that_are_not_ours_are_refused(tmp_path):
    save_file({"a": np.ones(3)}, tmp_path / "decoder.safetensors")
    with pytest.raises(RunError, match="is no shared decoder of format"):
        SharedDecoder.load(tmp_path)
    save_file({"a": np.ones(3)}, tmp_path / "decoder.safetensors", {"header": "[1]"})
    with pytest.raises(RunError, match="is no shared decoder of format"):
        SharedDecoder.load(tmp_path)
    for content in (b"", b"\x80\x04.", struct.pack("<Q", 2**60), b"PK\3\4"):
        (tmp_path / "decoder.safetensors").write_bytes(content)
        with pytest.raises(RunError, match="damaged or no shared decoder"):
            SharedDecoder.load(tmp_path)
    (tmp_path / "decoder.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(RunError, match="pointer of git-lfs"):
        SharedDecoder.load(tmp_path)
    with pytest.raises(RunError, match="there is no shared decoder at"):
        SharedDecoder.load(tmp_path / "nowhere")


def set_entry(*place, value):
    def change(header, arrays):
        entry = header["facts"]
        for key in place[:-1]:
            entry = entry[key]
        entry[place[-1]] = value

    return change


def change_array(name, make):
    def change(header, arrays):
        arrays[name] = make(arrays[name])

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_entry("voxels", "n", value=29), "array .* is not what its header says"),
        (set_entry("groups", "vision", "shape", value=[3, 5]), r"array group\.vision\.\w+ is not what its header says"),
        (set_entry("groups", "vision", "rank", value=10**12), r"array group\.vision\.\w+ is not what its header says"),
        (set_entry("origin", "subject", value="sub-08"), "has not the hash that it states"),
        (set_entry("origin", "more", value=1), r"has origin\.more wrong"),
        (set_entry("calibration", value="transductive"), "has calibration wrong"),
        (set_entry("groups", value={"../evil": 1}), "header has groups"),
        (change_array("group.vision.mean", lambda values: values + 1), "has not the hash that it states"),
        (change_array("group.vision.mean", lambda values: values * np.nan), r"array group\.vision\.mean is not"),
        (
            change_array("group.vision.mean", lambda values: values.astype(np.float64)),
            r"array group\.vision\.mean is not",
        ),
        (change_array("voxels.std", np.zeros_like), "standard deviation is not above 0"),
        (lambda header, arrays: arrays.pop("group.latents.sizes"), r"array group\.latents\.sizes is not"),
        (lambda header, arrays: arrays.update(more=np.ones(2)), "array more is not"),
        (lambda header, arrays: header.pop("sha256"), "has not the hash that it states"),
        (change_array("averages.std", np.zeros_like), "standard deviation is not above 0"),
        (
            set_entry("format", value="braindiffuser-shared-decoder-2"),
            "written by a newer version, so update braindiffuser",
        ),
        (set_entry("format", value="another-format"), "is no shared decoder of format"),
    ],
)
def test_a_file_that_was_altered_is_refused(small, tmp_path, change, message):
    path = small[0].save(tmp_path)
    rewritten(path, lambda header, arrays: None)
    SharedDecoder.load(path)
    rewritten(path, change)
    with pytest.raises(RunError, match=message):
        SharedDecoder.load(path)


def test_a_file_that_is_cut_short_is_refused(small, tmp_path):
    path = small[0].save(tmp_path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(RunError, match="damaged or no shared decoder"):
        SharedDecoder.load(path)


def test_decoding_needs_no_torch(small, tmp_path):
    decoder, responses = small
    decoder.save(tmp_path / "shared")
    np.save(tmp_path / "responses.npy", responses)
    words = ["braindiffuser", "decode", "shared", "responses.npy", "--out", "features.npz", "--trial-by-trial"]
    code = f"import sys; sys.modules['torch'] = None; from braindiffuser.cli import main; sys.argv = {words}; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "features.npz") as made:
        np.testing.assert_allclose(made["vision"], decoder.decode(responses)["vision"], atol=1e-4)


# The hub


class FakeHub:
    """Repositories in a folder."""

    def __init__(self, root):
        self.root, self.made = root, {}

    def create_repo(self, repo_id, *, private, exist_ok):
        assert exist_ok
        self.made.setdefault(repo_id, private)
        (self.root / repo_id).mkdir(parents=True, exist_ok=True)
        (self.root / repo_id / ".gitattributes").touch()

    def repo_info(self, repo_id):
        return SimpleNamespace(private=self.made[repo_id])

    def list_repo_files(self, repo_id):
        return [path.name for path in (self.root / repo_id).iterdir()]

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        for path in type(self.root)(folder_path).iterdir():
            (self.root / repo_id / path.name).write_bytes(path.read_bytes())

    def hf_hub_download(self, repo_id, filename, *, revision):
        if not (self.root / repo_id / filename).is_file():
            raise FileNotFoundError(f"no {filename}")
        return str(self.root / repo_id / filename)


def test_a_decoder_goes_to_the_hub_and_comes_back(small, tmp_path):
    decoder, responses = small
    hub = FakeHub(tmp_path / "hub")
    assert decoder.push_to_hub("lab/sub-07", api=hub) == "lab/sub-07"
    assert hub.made == {"lab/sub-07": True}
    assert sorted(hub.list_repo_files("lab/sub-07")) == [".gitattributes", "README.md", "decoder.safetensors"]
    came = SharedDecoder.from_pretrained("lab/sub-07", api=hub)
    np.testing.assert_array_equal(came.decode(responses)["vision"], decoder.decode(responses)["vision"])


def test_files_on_the_hub_are_replaced_only_if_asked_for(small, tmp_path):
    decoder, _ = small
    hub = FakeHub(tmp_path / "hub")
    hub.create_repo("lab/other", private=True, exist_ok=True)
    (tmp_path / "hub/lab/other/model.bin").write_text("theirs")
    with pytest.raises(RunError, match=r"holds model\.bin: name a new one, or give replace=True"):
        decoder.push_to_hub("lab/other", api=hub)
    decoder.push_to_hub("lab/other", replace=True, private=False, api=hub)
    assert (tmp_path / "hub/lab/other/model.bin").read_text() == "theirs"


def test_a_private_decoder_does_not_go_into_a_public_repository(small, tmp_path):
    decoder, _ = small
    hub = FakeHub(tmp_path / "hub")
    hub.create_repo("lab/open", private=False, exist_ok=True)
    with pytest.raises(RunError, match=r"lab/open is there and public: .* private=False"):
        decoder.push_to_hub("lab/open", api=hub)
    assert hub.list_repo_files("lab/open") == [".gitattributes"]
    decoder.push_to_hub("lab/open", private=False, api=hub)
    assert "decoder.safetensors" in hub.list_repo_files("lab/open")


@pytest.mark.parametrize("name", ["voxels", "group", "null"])
def test_a_target_group_may_have_any_name(small, name, tmp_path):
    decoder, responses = small
    facts = decoder.facts.model_copy(update={"groups": {name: decoder.facts.groups["vision"]}})
    named = SharedDecoder(facts, {name: decoder.groups["vision"]}, {name: decoder.null["vision"]}, decoder.averages)
    named.save(tmp_path / "named")
    loaded = SharedDecoder.load(tmp_path / "named")
    np.testing.assert_array_equal(loaded.decode(responses)[name], decoder.decode(responses)["vision"])
    np.testing.assert_array_equal(loaded.null[name], decoder.null["vision"])


def test_a_folder_whose_decoder_is_a_link_is_not_written_to(small, tmp_path):
    decoder, _ = small
    own = decoder.save(tmp_path / "own")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / own.name).symlink_to(own)
    before = own.read_bytes()
    with pytest.raises(RunError, match=r"other holds decoder\.safetensors: name a new folder"):
        decoder.save(tmp_path / "other")
    assert own.read_bytes() == before


@pytest.mark.parametrize("factor", [0.0, 40.0])
def test_a_single_row_of_another_size_is_named(small, factor):
    decoder, responses = small
    responses = np.repeat(responses, 30, axis=0)
    responses[17] *= factor
    first = next(iter(decoder.groups.values()))
    if not factor:
        responses[17] = first.response_mean
    with pytest.raises(RunError, match=r"^row 17 of the responses is .* --any-size|^responses are .* times"):
        decoder.decode(responses)
    assert decoder.decode(responses, any_size=True)


@pytest.mark.filterwarnings("error")
def test_features_that_are_not_finite_are_refused(small):
    decoder, responses = small
    with pytest.raises(RunError, match=r"decoded features of .* are not finite"):
        decoder.decode(1e38 * np.sign(responses), any_size=True)


def test_what_the_hub_lacks_or_gives_instead_is_said(small, tmp_path):
    hub = FakeHub(tmp_path / "hub")
    with pytest.raises(
        RunError, match=r"there is no lab/none on this machine, and the hub gave no decoder\.safetensors"
    ):
        SharedDecoder.from_pretrained("lab/none", api=hub)
    hub.create_repo("lab/none", private=True, exist_ok=True)
    (tmp_path / "hub/lab/none/decoder.safetensors").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(RunError, match="damaged or no shared decoder"):
        SharedDecoder.from_pretrained("lab/none", api=hub)


def test_a_network_that_is_down_is_one_sentence(small):
    class Down:
        def __getattr__(self, name):
            def refuse(*others, **more):
                raise Exception("no route to host")  # of a library of its own kind

            return refuse

    with pytest.raises(RunError, match=r"the hub did not take lab/a \(no route to host\): check its name"):
        small[0].push_to_hub("lab/a", api=Down())
    with pytest.raises(RunError, match=r"no lab/a on this machine.*\(no route to host\): check the name"):
        SharedDecoder.from_pretrained("lab/a", api=Down())


def test_the_hub_is_asked_though_a_folder_has_that_name(small, tmp_path, monkeypatch):
    decoder, hub = small[0], FakeHub(tmp_path / "hub")
    monkeypatch.chdir(tmp_path)
    decoder.save(tmp_path / "lab/x")
    with pytest.raises(RunError, match=r"the hub gave no decoder\.safetensors of a repository lab/x"):
        SharedDecoder.from_hub("lab/x", api=hub)
    with pytest.raises(RunError, match="lab/x is on this machine, which keeps no revisions"):
        SharedDecoder.from_pretrained("lab/x", revision="deadbeef", api=hub)
    other, _ = small_decoder(subject="another")
    other.push_to_hub("lab/x", api=hub)
    assert SharedDecoder.from_hub("lab/x", api=hub).facts.origin.subject == "another"
    assert SharedDecoder.from_pretrained("lab/x", api=hub).facts.origin.subject == "sub-07"


def test_it_is_one_line_in_a_notebook(small):
    assert repr(small[0]) == "SharedDecoder(sub-07, 30 voxels → vision (3, 4), latents (7,))"


def test_a_folder_is_read_without_the_hub(small, tmp_path, monkeypatch):
    small[0].save(tmp_path)
    monkeypatch.setattr(shared_decoder, "_hub", None)
    assert SharedDecoder.from_pretrained(tmp_path).facts == small[0].facts


def test_the_hub_needs_a_package(monkeypatch, small):
    def refuse(name, *others):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    assert EXTRAS["hub"] == ("huggingface_hub",)
    monkeypatch.setitem(shared_decoder.__builtins__, "__import__", refuse)
    with pytest.raises(DependencyError, match=r"this needs huggingface_hub.*braindiffuser\[hub\]"):
        small[0].push_to_hub("lab/sub-07")


# The card


def test_the_card_says_what_the_header_holds(small, tmp_path):
    from braindiffuser.plain_data import read_yaml

    decoder, _ = small
    decoder.save(tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    assert read_yaml(front.encode()) == {
        "library_name": "braindiffuser",
        "license": "unknown",
        "tags": ["brain-decoding", "fmri", "ridge-regression"],
    }
    for group, own in decoder.facts.groups.items():
        shape = " × ".join(map(str, own.shape))
        assert f"| {group} | {shape} | 5 | {own.rank} | {100 * own.lost:.2f} %" in body
    said = (
        "30 voxels in the space T1w, chosen by V1, V2",
        "f" * 16,
        "1.20 % | 90.0 % [80.0 – 95.0 %]",
        "PixCorr",
        "CC0",
    )
    assert [each for each in said if each not in body] == []
    assert "owners to say" in body
    assert "simulated" not in text
    assert f"{(tmp_path / 'decoder.safetensors').stat().st_size / 1e6:,.1f} MB" in body


def test_the_card_of_simulated_responses_and_of_unknown_terms(tmp_path):
    for name, origin, said in (
        ("simulated", {"simulated": True, "terms": None}, "**Nobody was scanned"),
        ("unknown", {"terms": None}, "states no terms: ask those who recorded it"),
    ):
        small_decoder(**origin)[0].save(tmp_path / name)
        assert said in (tmp_path / name / "README.md").read_text(encoding="utf-8")

"""Downloads from a server of our own and a stand-in of the hub: only a whole and right file ever has its name."""

import errno
import gc
import hashlib
import io
import shutil
import subprocess
import threading
import warnings
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from filelock import FileLock
from safetensors.torch import save_file

from braindiffuser.errors import DependencyError
from braindiffuser.networks.catalogue import ALL, SCORING_NETWORKS, PublishedFile
from braindiffuser.networks.checkpoint_folders import downloads_folder
from braindiffuser.networks.downloads import check_file, download, find, torchvision_folder, working_in


def saved(zipped=True):
    """Bytes of a file of tensors, as torch writes it."""
    file = io.BytesIO()
    tensors = {f"layer.{i}": torch.arange(8_000.0) for i in range(40)}
    torch.save(tensors, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


CONTENT = saved()
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NOTE = "net.pth.sha256"


SIZE = len(CONTENT)
INSTEAD = {
    "/page": b"<html>please log in</html>",
    "/page-of-that-size": b"<html>please log in</html>".ljust(SIZE),
    "/most": CONTENT[: SIZE * 6 // 10],
    "/nearly-all": CONTENT[: -SIZE // 33],
    "/longer": CONTENT + CONTENT[: SIZE // 33],
    "/zeros": bytes(SIZE),
    "/hole": CONTENT[: SIZE // 3] + bytes(4096) + CONTENT[SIZE // 3 + 4096 :],
    "/half-twice": 2 * CONTENT[: SIZE // 2],
    "/shifted": CONTENT[: SIZE // 2] + CONTENT[SIZE // 2 - 64 : -64],
    "/range": CONTENT[SIZE // 33 :],
    "/nothing": b"",
}
"""What a server sends as if it were CONTENT, with the length that it has."""


class Server(BaseHTTPRequestHandler):
    """Serves CONTENT, or what INSTEAD has; of an unknown length at `/short`, where 3 % of it are lost.

    `/cut` breaks off halfway, `/range` says that it is a part, and nothing is at `/none`.
    """

    def do_GET(self):
        self.server.asked.append(self.path)
        body = INSTEAD.get(self.path, CONTENT)
        self.send_response({"/none": 404, "/range": 206}.get(self.path, 200))
        if self.path != "/short":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: {"/cut": len(body) // 2, "/short": -len(body) // 33}.get(self.path)])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with HTTPServer(("127.0.0.1", 0), Server) as running:
        running.asked = []
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


class Hub:
    """Stands in for hf_hub_download: writes bytes into local_dir, and may break off with half of them."""

    def __init__(self):
        self.content, self.asked, self.breaks, self.etag = CONTENT, [], False, "0" * 40

    def facts(self, url):
        assert url == ON_HUB.url
        return SimpleNamespace(etag=self.etag)

    def __call__(self, repo_id, filename, *, revision, local_dir, tqdm_class):
        self.asked.append((repo_id, filename, revision))
        path = Path(local_dir) / filename
        path.parent.mkdir(parents=True, exist_ok=True)
        begun = path.with_suffix(".incomplete")
        with begun.open("ab") as file, tqdm_class(total=len(self.content), initial=file.tell(), disable=True) as bar:
            self.resumed_at = file.tell()
            end = len(self.content) // 2 if self.breaks else len(self.content)
            bar.update(file.write(self.content[self.resumed_at : end]))
        if self.breaks:
            raise RuntimeError("the cable was pulled")
        return str(begun.rename(path))


@pytest.fixture
def hub(monkeypatch):
    stand_in = Hub()
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", stand_in)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", stand_in.facts)
    return stand_in


ON_HUB = PublishedFile("net.pth", "https://huggingface.co/lab/net/resolve/abc123/models/net.pth", 1.28, "MIT", "tests")


def file_at(server, path="/net", **facts):
    url = f"http://127.0.0.1:{server.server_port}{path}"
    return replace(ON_HUB, url=url, **facts)


@pytest.fixture(params=["web", "hub"])
def place(request):
    """A file of either place, and a function that tells how often it was asked for."""
    if request.param == "hub":
        stand_in = request.getfixturevalue("hub")
        return ON_HUB, stand_in.asked
    server = request.getfixturevalue("server")
    return file_at(server), server.asked


# Downloads


def names_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_a_file_is_fetched_once(place, tmp_path):
    file, asked = place
    heard = []
    path = download(file, tmp_path / "new", lambda *report: heard.append(report))
    assert path == tmp_path / "new" / "net.pth"
    assert path.read_bytes() == CONTENT
    assert heard[-1] == ("net.pth", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in heard] == sorted(done for _, done, _ in heard)
    assert download(file, tmp_path / "new") == path
    assert len(asked) == 1
    assert names_in(path.parent) == ["net.pth", NOTE]


def test_progress_is_reported_and_not_printed(place, tmp_path, capfd):
    heard = []
    download(place[0], tmp_path, lambda *report: heard.append(report))
    assert {label for label, _, _ in heard} == {"net.pth"}
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("length", [8, 64])
def test_a_file_with_another_hash_than_published_is_thrown_away(place, tmp_path, length):
    file, _ = place
    with pytest.raises(DependencyError, match=f"its SHA-256 begins {DIGEST[:8]}, expected 000.*download by hand: http"):
        download(replace(file, sha256="0" * length), tmp_path)
    assert names_in(tmp_path) == []
    assert download(replace(file, sha256=DIGEST[:length]), tmp_path).exists()
    assert names_in(tmp_path) == ["net.pth"]


@pytest.mark.parametrize("megabytes", [1.2, 1.4, 500.0])
def test_a_file_of_another_size_than_published_is_thrown_away(place, tmp_path, megabytes):
    with pytest.raises(DependencyError, match=f"has {len(CONTENT):,} bytes, expected about {megabytes} MB"):
        download(replace(place[0], megabytes=megabytes), tmp_path)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("path", ["/cut", "/short", "/none", *INSTEAD])
def test_nothing_is_left_of_a_download_that_failed(server, tmp_path, path):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ResourceWarning)
        with pytest.raises(DependencyError, match=r"download by hand: http://127.*net\.pth"):
            download(file_at(server, path), tmp_path)
        gc.collect()
    assert names_in(tmp_path) == []
    assert not [each.message for each in said if f"('127.0.0.1', {server.server_port})" in str(each.message)]


@pytest.mark.parametrize("path", INSTEAD)
def test_nothing_is_left_of_something_else_that_came_from_the_hub(hub, tmp_path, path):
    hub.content = INSTEAD[path]
    with pytest.raises(DependencyError, match=r"what was downloaded is not net\.pth"):
        download(ON_HUB, tmp_path)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("etag", [None, "", "0" * 40, DIGEST])
def test_the_hash_that_the_hub_states_is_compared(hub, tmp_path, etag):
    hub.etag = "1" * 64
    with pytest.raises(DependencyError, match=f"its SHA-256 begins {DIGEST[:8]}, expected 1111"):
        download(ON_HUB, tmp_path)
    assert names_in(tmp_path) == []
    hub.etag = etag
    assert download(ON_HUB, tmp_path).read_bytes() == CONTENT
    assert names_in(tmp_path) == ["net.pth", NOTE]


def test_what_a_broken_download_left_is_not_a_beginning_of_the_next(server, tmp_path):
    for name in (".unfinished-0123abcd-77-net.pth", "net.pth.part"):
        (tmp_path / name).write_bytes(CONTENT[::-1])
    assert download(file_at(server), tmp_path).read_bytes() == CONTENT
    assert names_in(tmp_path) == ["net.pth", "net.pth.part", NOTE]


def test_a_download_from_the_hub_asks_for_the_revision_and_keeps_what_the_library_keeps(hub, tmp_path):
    hub.breaks = True
    with pytest.raises(DependencyError, match=r"could not be downloaded \(the cable was pulled\): run the same again"):
        download(ON_HUB, tmp_path)
    assert [name for name in names_in(tmp_path) if not name.startswith(".")] == []
    hub.breaks = False
    assert download(ON_HUB, tmp_path).read_bytes() == CONTENT
    assert hub.resumed_at == len(CONTENT) // 2
    assert hub.asked == 2 * [("lab/net", "models/net.pth", "abc123")]
    assert names_in(tmp_path) == ["net.pth", NOTE]


def test_a_wrong_file_from_the_hub_is_not_gone_on_with(hub, tmp_path):
    hub.content = CONTENT[::-1]
    with pytest.raises(DependencyError, match=f"expected {DIGEST}"):
        download(replace(ON_HUB, sha256=DIGEST), tmp_path)
    hub.content = CONTENT
    assert download(replace(ON_HUB, sha256=DIGEST), tmp_path).read_bytes() == CONTENT


def test_without_a_network_the_way_by_hand_is_said(tmp_path):
    file = replace(ON_HUB, url="http://127.0.0.1:9/net.pth", megabytes=6660.0)
    with pytest.raises(
        DependencyError, match=r"download by hand: .*:9/net\.pth \(6,660 MB, MIT\), to be saved as .*net\.pth"
    ):
        download(file, tmp_path)


def test_a_second_download_waits_for_the_first_and_says_so(place, tmp_path):
    heard, said = [], threading.Event()

    def listen(label, done, total):
        heard.append((label, done, total))
        said.set()

    second = threading.Thread(target=download, args=(place[0], tmp_path, listen))
    with FileLock(tmp_path / ".lock"):
        second.start()
        assert said.wait(20)
        assert heard == [(f"another process downloads or converts in {tmp_path}: waiting until it ends", 1, 1)]
        assert place[1] == []
        (tmp_path / "net.pth").write_bytes(CONTENT)
    second.join(20)
    assert not second.is_alive()
    assert place[1] == []  # the first one's file was taken


def test_a_folder_where_the_file_belongs_is_named_before_anything_is_fetched(place, tmp_path):
    (tmp_path / "net.pth").mkdir()
    with pytest.raises(DependencyError, match=rf"{tmp_path}/net\.pth is a folder, .*: move it away"):
        download(place[0], tmp_path)
    assert place[1] == []


@pytest.mark.parametrize(
    "fault",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("Data processing error: No space left on device (os error 28)"),
        PermissionError(errno.EACCES, "Permission denied", "x/net.pth"),
    ],
)
def test_a_fault_of_the_disk_names_the_folder_and_not_the_network(hub, tmp_path, monkeypatch, fault):
    def full(*_, **__):
        raise fault

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", full)
    with pytest.raises(
        DependencyError, match=f"files in {tmp_path} cannot be read or written .*: see that it is a folder with room"
    ) as caught:
        download(ON_HUB, tmp_path)
    assert "network" not in str(caught.value)


@pytest.mark.parametrize("below", [".", "further"])
def test_a_file_where_the_folder_belongs_is_named(hub, tmp_path, below):
    (tmp_path / "file").write_text("")
    with pytest.raises(DependencyError, match=rf"files in {tmp_path}/file.* cannot be .*BRAINDIFFUSER_CHECKPOINTS"):
        download(ON_HUB, tmp_path / "file" / below)
    assert hub.asked == []


# Checks


def test_the_note_of_a_download_is_what_sha256sum_reads(place, tmp_path):
    path = download(place[0], tmp_path)
    assert (tmp_path / NOTE).read_text() == f"{DIGEST}  net.pth\n"
    if shutil.which("sha256sum"):
        command = ["sha256sum", "-c", NOTE]
        assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode == 0
    check_file(path, place[0])


@pytest.mark.parametrize("damaged", [CONTENT[:-1], bytes(len(CONTENT))])
def test_damage_after_the_download_is_named(place, tmp_path, damaged):
    path = download(place[0], tmp_path)
    path.write_bytes(damaged)
    with pytest.raises(DependencyError, match=r"net\.pth is truncated or changed: .*or net\.pth\.sha256 alone"):
        check_file(path, place[0])


def test_a_published_hash_goes_before_a_note(tmp_path):
    (tmp_path / "net.pth").write_bytes(CONTENT)
    (tmp_path / NOTE).write_text(f"{'0' * 64}  net.pth\n")
    check_file(tmp_path / "net.pth", replace(ON_HUB, sha256=DIGEST))
    with pytest.raises(
        DependencyError, match=r"expected 1111; delete it and run `braindiffuser checkpoints --download`$"
    ):
        check_file(tmp_path / "net.pth", replace(ON_HUB, sha256="1111"))


def test_of_a_file_put_there_by_hand_size_and_wholeness_are_checked(tmp_path):
    (tmp_path / "net.pth").write_bytes(CONTENT)
    check_file(tmp_path / "net.pth", ON_HUB)
    (tmp_path / "net.pth").write_bytes(b"<html>")
    with pytest.raises(DependencyError, match=r"has 6 bytes, expected about 1\.3 MB"):
        check_file(tmp_path / "net.pth", ON_HUB)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[: -len(raw) // 33],
        lambda raw: raw[:-1],
        lambda raw: raw + b"\0",
        lambda raw: raw + bytes(len(raw) // 33),
        lambda raw: bytes(len(raw)),
    ],
)
def test_a_file_without_a_known_hash_must_be_a_whole_file_of_tensors(hub, tmp_path, zipped, damage):
    path = tmp_path / "net.pth"
    path.write_bytes(saved(zipped))
    check_file(path, ON_HUB)
    hub.content = damage(saved(zipped))
    path.write_bytes(hub.content)
    with pytest.raises(
        DependencyError, match=rf"{path} is truncated or changed: it is damaged, cut short or no checkpoint .*delete it"
    ):
        check_file(path, ON_HUB)
    path.unlink()
    with pytest.raises(
        DependencyError, match=r"what was downloaded is not net\.pth: it is damaged, cut short or no checkpoint"
    ):
        download(ON_HUB, tmp_path)
    assert names_in(tmp_path) == []


def tensors_file(path):
    """A file of tensors in each format, and the places between its tensors."""
    tensors = {f"layer.{i}": torch.full((1000,), float(i + 1)) for i in range(200)}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=path.suffix == ".pth")
    raw = path.read_bytes()
    return raw, [raw.index(tensor.numpy().tobytes()) for tensor in tensors.values()]


@pytest.mark.parametrize("name", ["net.safetensors", "net.pth", "net.th"])
def test_a_file_that_is_cut_between_tensors_is_not_whole(tmp_path, name):
    path = tmp_path / name
    raw, places = tensors_file(path)
    file = replace(ON_HUB, name=name, megabytes=len(raw) / 1e6)
    check_file(path, file)
    for place in sorted(places)[-2:]:  # within the tolerance of its size
        path.write_bytes(raw[:place])
        with pytest.raises(DependencyError, match="it is damaged, cut short or no checkpoint"):
            check_file(path, file)


# Folders


def test_files_are_found_in_the_named_folder_before_torchvisions(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    file = SCORING_NETWORKS["alexnet"]
    assert find(file, tmp_path) is None
    torchvision_folder().mkdir(parents=True)
    for folder in (torchvision_folder(), tmp_path):
        (folder / file.name).write_bytes(b"")
        assert find(file, tmp_path) == folder / file.name


def test_only_torchvisions_files_are_found_in_its_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    torchvision_folder().mkdir(parents=True)
    for file in ALL:
        (torchvision_folder() / file.name).write_bytes(b"")
    assert {file.url.split("/")[2] for file in ALL if find(file, tmp_path)} == {"download.pytorch.org"}


@pytest.mark.parametrize("names", [(), ("TORCH_HOME",), ("XDG_CACHE_HOME",), ("TORCH_HOME", "XDG_CACHE_HOME")])
@pytest.mark.parametrize("place", ["~/places", "/places"])
def test_torchvisions_folder_is_the_one_that_torch_names(monkeypatch, names, place):
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in names:
        monkeypatch.setenv(name, f"{place}/{name}")
    assert torchvision_folder() == Path(torch.hub.get_dir()) / "checkpoints"


def test_the_folder_of_checkpoints_can_be_named(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINDIFFUSER_CHECKPOINTS", str(tmp_path))
    assert downloads_folder() == tmp_path
    monkeypatch.delenv("BRAINDIFFUSER_CHECKPOINTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert downloads_folder() == tmp_path / "cache" / "braindiffuser"


@pytest.mark.parametrize("note", [b"", b"  \n", DIGEST[:1].encode(), b"\xff\xfe\x00", b"<html>"])
def test_a_note_without_a_hash_vouches_for_nothing(tmp_path, note):
    (tmp_path / "net.pth").write_bytes(CONTENT)
    (tmp_path / NOTE).write_bytes(note)
    with pytest.raises(DependencyError, match=r"net\.pth\.sha256 holds no SHA-256: delete it"):
        check_file(tmp_path / "net.pth", ON_HUB)


def test_a_note_in_capitals_is_the_same_hash(tmp_path):
    (tmp_path / "net.pth").write_bytes(CONTENT)
    (tmp_path / NOTE).write_text(f"{DIGEST.upper()}  net.pth\n")
    check_file(tmp_path / "net.pth", ON_HUB)


def test_the_home_folder_is_expanded(monkeypatch):
    monkeypatch.setenv("BRAINDIFFUSER_CHECKPOINTS", "~/networks")
    assert downloads_folder() == Path.home() / "networks"


def test_what_a_killed_conversion_or_download_left_is_deleted_by_the_next(tmp_path):
    """Of an earlier boot too, since the folder is locked."""
    folder = tmp_path / "brain-diffuser" / "clip"
    folder.mkdir(parents=True)
    left = [place / ".unfinished-0123abcd-77-model.safetensors" for place in (tmp_path, folder)]
    for path in (*left, folder / "mine.safetensors"):
        path.touch()
    with working_in(tmp_path, print):
        assert [path.name for path in tmp_path.rglob("*.safetensors")] == ["mine.safetensors"]

"""Downloads from a server of our own, and by a stand-in for the hub's client: whole, interrupted, damaged, without a network."""

import hashlib
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import huggingface_hub
import pytest
import torch

from braindiffuser.errors import DependencyError
from braindiffuser.networks.catalogue import PublishedFile
from braindiffuser.networks.downloads import (
    check_file,
    checkpoints_folder,
    download,
    find,
    remedy,
    torchvision_folder,
)

CONTENT = bytes(range(256)) * 5000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
ON_HUB = "https://huggingface.co/lab/model/resolve/0123abc/folder/model.bin"


class Server(BaseHTTPRequestHandler):
    """Serves CONTENT; `/cut` breaks off halfway, `/none` says that there is no such file."""

    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_response(404 if self.path == "/none" else 200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if self.path == "/cut" else CONTENT)

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


@pytest.fixture
def hub(monkeypatch):
    """What the hub's client was asked for, and the bytes that it brings."""
    calls, brought = [], [CONTENT]

    def hf_hub_download(repo_id, filename, *, revision, local_dir, tqdm_class):
        calls.append((repo_id, filename, revision))
        with tqdm_class(total=len(CONTENT), unit="B", desc=filename) as bar:
            bar.update(len(brought[0]))
        path = Path(local_dir) / filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(brought[0])
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    return calls, brought


def file_at(server, path="/whole", name="model.bin", sha256=""):
    return PublishedFile(name, f"http://127.0.0.1:{server.server_port}{path}", 1.28, "MIT", "tests", sha256)


def names_in(folder):
    return {path.name for path in folder.iterdir() if path.is_file()}


def test_a_file_is_downloaded_once(server, tmp_path, capfd):
    said = []
    path = download(file_at(server), tmp_path / "new", lambda *progress: said.append(progress))
    assert path.read_bytes() == CONTENT
    assert said[-1] == ("model.bin", len(CONTENT), len(CONTENT))
    assert download(file_at(server), tmp_path / "new") == path
    assert len(server.asked) == 1
    assert names_in(path.parent) == {"model.bin", "model.bin.sha256"}
    assert capfd.readouterr() == ("", "")  # progress is reported, not drawn


@pytest.mark.parametrize("path", ["/cut", "/none"])
def test_what_did_not_come_whole_leaves_no_file(server, tmp_path, path):
    with pytest.raises(DependencyError, match=r"could not be downloaded .*get by hand http://127"):
        download(file_at(server, path), tmp_path)
    assert names_in(tmp_path) == set()
    assert download(file_at(server), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("length", [8, 64])
def test_a_file_with_another_hash_than_published_is_thrown_away(server, tmp_path, length):
    wrong = "0" * length
    assert download(file_at(server, name="right", sha256=DIGEST[:length]), tmp_path).exists()
    with pytest.raises(DependencyError, match=f"its SHA-256 begins {DIGEST[:8]}, expected {wrong}"):
        download(file_at(server, name="wrong", sha256=wrong), tmp_path)
    assert names_in(tmp_path) == {"right"}


def test_a_file_of_the_hub_comes_from_its_pinned_commit(hub, tmp_path):
    calls, _ = hub
    said = []
    file = PublishedFile("mine.bin", ON_HUB, 1.28, "MIT", "tests", DIGEST)
    path = download(file, tmp_path, lambda *progress: said.append(progress))
    assert calls == [("lab/model", "folder/model.bin", "0123abc")]
    assert path == tmp_path / "mine.bin"
    assert path.read_bytes() == CONTENT
    assert said[-1] == ("mine.bin", len(CONTENT), len(CONTENT))
    assert names_in(tmp_path) == {"mine.bin"}


@pytest.mark.parametrize("brought", [CONTENT[:-1], bytes(len(CONTENT)), b"<html>"])
def test_another_file_on_the_hub_never_gets_the_name(hub, tmp_path, brought):
    hub[1][0] = brought
    with pytest.raises(
        DependencyError, match=r"truncated or changed|the download of mine\.bin has 6 bytes, expected about 1 MB"
    ):
        download(PublishedFile("mine.bin", ON_HUB, 1.28, "MIT", "tests", DIGEST), tmp_path)
    assert names_in(tmp_path) == set()


def test_the_note_of_a_download_is_what_sha256sum_reads(server, tmp_path):
    path = download(file_at(server), tmp_path)
    assert (tmp_path / "model.bin.sha256").read_text() == f"{DIGEST}  model.bin\n"
    command = ["sha256sum", "-c", "model.bin.sha256"]
    if shutil.which("sha256sum"):
        assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode == 0
    check_file(path, file_at(server))


@pytest.mark.parametrize("damaged", [CONTENT[:-1], bytes(len(CONTENT))])
def test_damage_after_the_download_is_named(server, tmp_path, damaged):
    path = download(file_at(server), tmp_path)
    path.write_bytes(damaged)
    with pytest.raises(DependencyError, match=r"model\.bin is truncated or changed: .* by model\.bin\.sha256"):
        check_file(path, file_at(server))


def test_a_published_hash_goes_before_a_note(server, tmp_path):
    (tmp_path / "model.bin").write_bytes(CONTENT)
    (tmp_path / "model.bin.sha256").write_text(f"{'0' * 64}  model.bin\n")
    check_file(tmp_path / "model.bin", file_at(server, sha256=DIGEST))
    with pytest.raises(DependencyError, match="expected 1111"):
        check_file(tmp_path / "model.bin", file_at(server, sha256="1111"))


def test_a_page_instead_of_the_file_is_thrown_away(server, tmp_path):
    file = PublishedFile("model.bin", f"http://127.0.0.1:{server.server_port}/whole", 500.0, "MIT", "tests")
    with pytest.raises(
        DependencyError,
        match=r"the download of model\.bin has 1,280,000 bytes, expected about 500 MB: get it by hand: http",
    ):
        download(file, tmp_path)
    assert names_in(tmp_path) == set()


def test_without_a_network_the_way_by_hand_is_said(tmp_path):
    file = PublishedFile("model.bin", "http://127.0.0.1:9/model.bin", 6660.0, "MIT", "tests")
    words = r"get by hand .*model\.bin \(6,660 MB, MIT\), to be saved as .*model\.bin"
    with pytest.raises(DependencyError, match=words):
        download(file, tmp_path)
    assert remedy(file, tmp_path).endswith(f"to be saved as {tmp_path / 'model.bin'}")


def test_files_are_found_where_they_are_downloaded_to_or_where_torchvision_has_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    file = PublishedFile("model.bin", "http://127.0.0.1:9/model.bin", 1.0, "MIT", "tests")
    assert find(file, tmp_path) is None
    torchvision_folder().mkdir(parents=True)
    (torchvision_folder() / "model.bin").write_bytes(b"")
    assert find(file, tmp_path) == torchvision_folder() / "model.bin"
    (tmp_path / "model.bin").write_bytes(b"")
    assert find(file, tmp_path) == tmp_path / "model.bin"


@pytest.mark.parametrize("environment", [{}, {"XDG_CACHE_HOME": "/a/cache"}, {"TORCH_HOME": "/a/torch"}])
def test_torchvisions_folder_is_the_one_that_torch_names(environment, monkeypatch):
    for name in ("XDG_CACHE_HOME", "TORCH_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert torchvision_folder() == Path(torch.hub.get_dir()) / "checkpoints"


def test_a_file_put_there_by_hand_is_accepted(tmp_path):
    (tmp_path / "file").write_bytes(b"anything")
    check_file(tmp_path / "file", PublishedFile("file", "", 0.0, "", ""))


def test_the_folder_of_checkpoints_can_be_named(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINDIFFUSER_CHECKPOINTS", str(tmp_path))
    assert checkpoints_folder() == tmp_path
    monkeypatch.delenv("BRAINDIFFUSER_CHECKPOINTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert checkpoints_folder() == tmp_path / "cache" / "braindiffuser"

"""Downloads from a server of our own: whole, interrupted, damaged, and without a network."""

import hashlib
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from braindiffuser.errors import DependencyError
from braindiffuser.networks.downloads import WeightFile, check_file, digits_of_name, download, weights_folder

CONTENT = bytes(range(256)) * 5000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(BaseHTTPRequestHandler):
    """Serves CONTENT; `/cut` breaks off halfway, `/plain` knows no ranges, `/hub/…` states a hash and sends on."""

    def do_GET(self):
        start = 0
        if self.path.startswith("/hub/"):
            self.send_response(302)
            self.send_header("Location", "/whole")
            self.send_header("X-Linked-Etag", f'"{self.path.removeprefix("/hub/")}"')
            self.end_headers()
            return
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if asked and self.path != "/plain":
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(CONTENT):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
                self.end_headers()
                return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        body = CONTENT[start:]
        self.wfile.write(body[: len(body) // 2] if self.path == "/cut" else body)

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


def file_at(server, path="/whole", name="weights.bin", sha256=""):
    return WeightFile(name, f"http://127.0.0.1:{server.server_port}{path}", 1.28, "MIT", "tests", sha256)


def test_a_file_is_fetched_once(server, tmp_path):
    heard = []
    path = download(file_at(server), tmp_path / "new", lambda *told: heard.append(told))
    assert path.read_bytes() == CONTENT
    assert heard[-1] == ("weights.bin", len(CONTENT), len(CONTENT))
    assert download(file_at(server), tmp_path / "new") == path
    assert len(server.asked) == 1
    assert {entry.name for entry in path.parent.iterdir()} == {"weights.bin", "weights.bin.sha256"}


def test_an_interrupted_download_goes_on(server, tmp_path):
    with pytest.raises(DependencyError, match=r"could not be fetched .*fetch by hand http://127"):
        download(file_at(server, "/cut"), tmp_path)
    part = tmp_path / "weights.bin.part"
    assert not (tmp_path / "weights.bin").exists()
    assert part.read_bytes() == CONTENT[: len(CONTENT) // 2]
    assert download(file_at(server), tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == f"bytes={len(CONTENT) // 2}-"
    assert not part.exists()


def test_a_part_that_is_whole_already_is_taken(server, tmp_path):
    (tmp_path / "weights.bin.part").write_bytes(CONTENT)
    assert download(file_at(server), tmp_path).read_bytes() == CONTENT


def test_a_server_that_knows_no_ranges_starts_anew(server, tmp_path):
    (tmp_path / "weights.bin.part").write_bytes(CONTENT[:1000])
    assert download(file_at(server, "/plain"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("length", [8, 64])
def test_a_file_with_another_hash_than_published_is_thrown_away(server, tmp_path, length):
    wrong = "0" * length
    assert download(file_at(server, name="right", sha256=DIGEST[:length]), tmp_path).exists()
    with pytest.raises(DependencyError, match=f"its SHA-256 begins {DIGEST[:8]}, expected {wrong}"):
        download(file_at(server, name="wrong", sha256=wrong), tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["right"]


def test_a_file_with_another_hash_than_the_hub_states_is_thrown_away(server, tmp_path):
    assert download(file_at(server, f"/hub/{DIGEST}", "right"), tmp_path).read_bytes() == CONTENT
    with pytest.raises(DependencyError, match=f"its SHA-256 begins {DIGEST[:8]}, expected 000"):
        download(file_at(server, f"/hub/{'0' * 64}", "wrong"), tmp_path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"right", "right.sha256"}


def test_what_the_hub_states_holds_for_a_download_that_goes_on(server, tmp_path):
    (tmp_path / "right.part").write_bytes(CONTENT[:1000])
    assert download(file_at(server, f"/hub/{DIGEST}", "right"), tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=1000-"
    for began in (b"other" * 200, bytes(len(CONTENT))):
        (tmp_path / "other.part").write_bytes(began)
        with pytest.raises(DependencyError, match=f"expected {DIGEST}"):
            download(file_at(server, f"/hub/{DIGEST}", "other"), tmp_path)
        assert not (tmp_path / "other.part").exists()


def test_an_etag_that_is_no_hash_is_none(server, tmp_path):
    assert download(file_at(server, "/hub/7cd4a9f1"), tmp_path).read_bytes() == CONTENT


def test_the_note_of_a_download_is_what_sha256sum_reads(server, tmp_path):
    path = download(file_at(server), tmp_path)
    assert (tmp_path / "weights.bin.sha256").read_text() == f"{DIGEST}  weights.bin\n"
    command = ["sha256sum", "-c", "weights.bin.sha256"]
    if shutil.which("sha256sum"):
        assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode == 0
    check_file(path, file_at(server))


@pytest.mark.parametrize("damaged", [CONTENT[:-1], bytes(len(CONTENT))])
def test_damage_after_the_download_is_named(server, tmp_path, damaged):
    path = download(file_at(server), tmp_path)
    path.write_bytes(damaged)
    with pytest.raises(DependencyError, match=r"weights\.bin is truncated or changed: .* by weights\.bin\.sha256"):
        check_file(path, file_at(server))


def test_a_published_hash_goes_before_a_note(server, tmp_path):
    (tmp_path / "weights.bin").write_bytes(CONTENT)
    (tmp_path / "weights.bin.sha256").write_text(f"{'0' * 64}  weights.bin\n")
    check_file(tmp_path / "weights.bin", file_at(server, sha256=DIGEST))
    with pytest.raises(DependencyError, match="expected 1111"):
        check_file(tmp_path / "weights.bin", file_at(server, sha256="1111"))


def test_a_part_that_is_too_long_is_not_taken(server, tmp_path):
    (tmp_path / "weights.bin.part").write_bytes(CONTENT + b"more")
    with pytest.raises(DependencyError, match="could not be fetched"):
        download(file_at(server), tmp_path)


def test_a_page_instead_of_the_file_is_thrown_away(server, tmp_path):
    file = WeightFile("weights.bin", f"http://127.0.0.1:{server.server_port}/whole", 500.0, "MIT", "tests")
    with pytest.raises(DependencyError, match=r"came with 1,280,000 bytes instead of about 500 MB"):
        download(file, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_the_way_by_hand_is_said(tmp_path):
    file = WeightFile("weights.bin", "http://127.0.0.1:9/weights.bin", 6660.0, "MIT", "tests")
    with pytest.raises(
        DependencyError, match=r"fetch by hand .*weights\.bin \(6,660 MB, MIT\), to be saved as .*weights\.bin"
    ):
        download(file, tmp_path)


def test_files_are_found_in_the_first_folder_that_has_them(tmp_path):
    file = WeightFile("weights.bin", "http://127.0.0.1:9/weights.bin", 1.0, "MIT", "tests")
    folders = [tmp_path / name for name in ("a", "b")]
    assert file.find(*folders) is None
    folders[1].mkdir()
    (folders[1] / "weights.bin").write_bytes(b"")
    assert file.find(*folders) == folders[1] / "weights.bin"


def test_a_file_put_there_by_hand_counts_as_it_is(tmp_path):
    (tmp_path / "file").write_bytes(b"anything")
    check_file(tmp_path / "file", WeightFile("file", "", 0.0, "", ""))


@pytest.mark.parametrize(
    ("name", "digits"),
    [("net-0123abcd.pth", "0123abcd"), ("net-0123abcd.pth.tar", ""), ("net-0123.pth", ""), ("net.pth", "")],
)
def test_digits_are_read_from_names_of_pytorchs_kind_only(name, digits):
    assert digits_of_name(name) == digits


def test_the_folder_of_weights_can_be_named(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINDIFFUSER_WEIGHTS", str(tmp_path))
    assert weights_folder() == tmp_path
    monkeypatch.delenv("BRAINDIFFUSER_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert weights_folder() == tmp_path / "cache" / "braindiffuser"

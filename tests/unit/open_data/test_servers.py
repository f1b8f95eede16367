"""Servers, asked over real sockets: a bucket by moto's server where it is installed, and figshare's interface."""

import gc
import hashlib
import json
import sys
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from braindiffuser.errors import DependencyError
from braindiffuser.open_data.servers import Article, Bucket, RefusedError, RemoteFile, UnreachableError

CONTENT = bytes(range(256)) * 9000


@pytest.fixture
def bucket():
    """A bucket of the S3 protocol with a file, one uploaded in parts, and an entry for a folder."""
    boto3 = pytest.importorskip("boto3")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint, name = f"http://{host}:{port}", f"open-{port}"  # all of moto's servers hold the same buckets
    owner = boto3.client(
        "s3",
        region_name="us-west-2",
        endpoint_url=endpoint,
        aws_access_key_id="x",
        aws_secret_access_key="x",  # noqa: S106
    )
    owner.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    owner.put_object(Bucket=name, Key="ds1/sub-01/betas.bin", Body=CONTENT, ACL="public-read")
    owner.put_object(Bucket=name, Key="ds1/sub-01/", Body=b"")
    owner.put_object(Bucket=name, Key="other/betas.bin", Body=b"other")
    part = owner.create_multipart_upload(Bucket=name, Key="ds1/sub-02/betas.bin", ACL="public-read")
    entry = {"Bucket": name, "Key": "ds1/sub-02/betas.bin", "UploadId": part["UploadId"]}
    etag = owner.upload_part(**entry, PartNumber=1, Body=CONTENT)["ETag"]
    owner.complete_multipart_upload(**entry, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    yield Bucket(name, "us-west-2", "ds1/", endpoint), owner
    owner.close()
    server.stop()


def test_a_bucket_lists_names_below_its_folder_with_size_and_md5(bucket):
    here, _ = bucket
    digest = hashlib.md5(CONTENT).hexdigest()  # noqa: S324
    first, second = here.find("sub-0")
    assert first == RemoteFile("sub-01/betas.bin", len(CONTENT), digest, "ds1/sub-01/betas.bin")
    assert (second.name, second.size, second.md5) == ("sub-02/betas.bin", len(CONTENT), "")
    of_parts = hashlib.md5(bytes.fromhex(digest)).hexdigest()  # noqa: S324
    assert (first.etag, second.etag) == ("", f"{of_parts}-1")
    assert here.find("sub-03") == []


def test_a_bucket_gives_a_file_and_counts_what_came(bucket, tmp_path):
    here, _ = bucket
    came = []
    for file in here.find(""):
        here.get(file, tmp_path / "file", came.append)
        assert (tmp_path / "file").read_bytes() == CONTENT
    assert sum(came) == 2 * len(CONTENT)


def test_a_bucket_that_lacks_a_file_or_does_not_exist_says_404(bucket, tmp_path):
    here, owner = bucket
    (file,) = here.find("sub-01")
    owner.delete_object(Bucket=here.name, Key=file.address)
    with pytest.raises(RefusedError) as refused:
        here.get(file, tmp_path / "file", print)
    assert refused.value.status == 404
    with pytest.raises(RefusedError) as refused:
        Bucket("absent", "us-west-2", "", here.endpoint).find("")
    assert refused.value.status == 404


def test_a_bucket_that_keeps_a_file_back_says_403(bucket, tmp_path):
    here, owner = bucket
    owner.put_object(Bucket=here.name, Key="ds1/sub-03/betas.bin", Body=CONTENT)
    (file,) = here.find("sub-03")
    with pytest.raises(RefusedError) as refused:
        here.get(file, tmp_path / "file", print)
    assert refused.value.status == 403


def test_a_bucket_is_asked_without_a_login(bucket, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    here, _ = bucket
    assert len(here.find("")) == 2


def test_no_server_is_unreachable():
    pytest.importorskip("boto3")
    with pytest.raises(UnreachableError):
        Bucket("open", "us-west-2", "", "http://127.0.0.1:9").find("")


def test_a_bucket_needs_boto3(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(DependencyError, match=r"boto3 is needed .*pip install 'braindiffuser\[fetch\]'"):
        Bucket("open", "us-west-2").find("")


@pytest.fixture
def figshare():
    """A server that answers as figshare does: path → status and content."""
    pages = {}

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            status, content = pages.get(self.path, (404, b""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    digest = hashlib.md5(CONTENT).hexdigest()  # noqa: S324
    listed = [
        {"name": "Subject1.h5", "size": len(CONTENT), "computed_md5": digest, "download_url": f"{url}/files/1"},
        {"name": "Subject2.h5", "size": 5, "computed_md5": "", "download_url": f"{url}/files/2"},
        {"name": "Subject3.h5", "size": 5, "is_link_only": True, "download_url": f"{url}/files/3"},
    ]
    pages["/articles/7/files?page_size=1000"] = (200, json.dumps(listed).encode())
    pages["/files/1"] = (200, CONTENT)
    yield Article(7, url), pages
    server.shutdown()
    server.server_close()


def test_an_article_lists_its_files_and_gives_them(figshare, tmp_path):
    article, _ = figshare
    first, second = article.find("Subject")
    assert (first.name, first.size) == ("Subject1.h5", len(CONTENT))
    assert second.md5 == ""
    assert article.find("Subject2") == [second]
    came = []
    article.get(first, tmp_path / "file", came.append)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert hashlib.md5(CONTENT).hexdigest() == first.md5  # noqa: S324
    assert sum(came) == len(CONTENT)


@pytest.mark.parametrize("status", [403, 404])
def test_an_article_tells_refusals_apart(status, figshare, tmp_path):
    article, pages = figshare
    pages["/files/1"] = (status, b"")
    with pytest.raises(RefusedError) as refused:
        article.get(article.find("Subject1")[0], tmp_path / "file", print)
    assert refused.value.status == status


def test_a_refusal_leaves_no_socket_open(figshare, tmp_path):
    article, pages = figshare
    pages["/files/1"] = (403, b"")

    def ask():
        with pytest.raises(RefusedError):
            article.get(article.find("Subject1")[0], tmp_path / "file", print)

    with warnings.catch_warnings(record=True) as unclosed:
        warnings.simplefilter("always", ResourceWarning)
        ask()
        gc.collect()
    assert [str(warning.message) for warning in unclosed] == []


@pytest.mark.parametrize("answer", [(500, b""), (200, b"<html>"), (200, b'[{"name": "x"}]'), (200, b'{"a": 1}')])
def test_an_article_that_answers_something_else_is_unreachable(answer, figshare):
    article, pages = figshare
    pages["/articles/7/files?page_size=1000"] = answer
    with pytest.raises(UnreachableError):
        article.find("")


def test_a_disk_that_cannot_be_written_is_not_the_servers_fault(figshare, tmp_path):
    article, _ = figshare
    with pytest.raises(OSError, match="absent") as raised:
        article.get(article.find("Subject1")[0], tmp_path / "absent" / "file", print)
    assert not isinstance(raised.value, UnreachableError)

"""Servers of open data: each lists its files and sends one. Buckets are asked without a login."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from braindiffuser.batches import lacks_memory
from braindiffuser.errors import DependencyError, reason
from braindiffuser.system_errors import is_of_the_system

CHUNK = 1 << 20
"""Bytes that are asked for at a time."""
FIGSHARE = "https://api.figshare.com/v2"

Received = Callable[[int], None]
"""Called with the number of bytes that came since the last call."""


class RefusedError(Exception):
    """A server answered that it does not give this.

    Attributes:
        status: number of its HTTP answer.
    """

    def __init__(self, status: int) -> None:
        """Keep the status."""
        super().__init__(f"HTTP status {status}")
        self.status = status


class UnreachableError(Exception):
    """A server did not answer, or stopped in the middle."""


@dataclass(frozen=True)
class RemoteFile:
    """A file as a server lists it.

    Attributes:
        name: below the folder that it is kept in, with forward slashes.
        size: in bytes.
        md5: its MD5 in hexadecimal digits; empty if the server states none.
        address: of its content: a key of a bucket, or a URL.
        etag: that of an upload in parts, such as "…-12"; empty for any other.
    """

    name: str
    size: int
    md5: str
    address: str
    etag: str = ""


@runtime_checkable
class Server(Protocol):
    """Where files are listed and come from."""

    @property
    def where(self) -> str:
        """Address for people to look at."""

    def find(self, prefix: str) -> list[RemoteFile]:
        """List the files whose names begin with `prefix`.

        Raises:
            RefusedError: the server does not list them.
            UnreachableError: there is no answer.
        """

    def get(self, file: RemoteFile, path: Path, received: Received) -> None:
        """Write a file's content to `path`.

        Raises:
            RefusedError: the server does not give it.
            UnreachableError: there is no answer, or it breaks off.
            OSError: it cannot be written.
        """


@dataclass(frozen=True)
class Bucket:
    """A public S3 bucket, asked without a login.

    Attributes:
        name: of the bucket.
        region: of the bucket.
        folder: in the bucket, ending with a slash, which names of files are relative to; empty for all of it.
        endpoint: address of another server of the same protocol; None: Amazon's.
    """

    name: str
    region: str
    folder: str = ""
    endpoint: str | None = None

    @property
    def where(self) -> str:
        """Address of the bucket."""
        return f"s3://{self.name}/{self.folder}".rstrip("/")

    def find(self, prefix: str) -> list[RemoteFile]:
        """List the files whose names begin with `prefix`, with the MD5, or the ETag of an upload in parts."""
        with _answers_of_s3():
            pages = self._client.get_paginator("list_objects_v2")
            found = [
                listed
                for page in pages.paginate(Bucket=self.name, Prefix=self.folder + prefix)
                for listed in page.get("Contents", ())
            ]
        return [
            RemoteFile(
                each["Key"].removeprefix(self.folder),
                each["Size"],
                _md5(each.get("ETag", "")),
                each["Key"],
                _of_parts(each.get("ETag", "")),
            )
            for each in found
            if not each["Key"].endswith("/")
        ]

    def get(self, file: RemoteFile, path: Path, received: Received) -> None:
        """Write an object's content to `path`."""
        with _answers_of_s3(), path.open("wb") as out:
            answer = self._client.get_object(Bucket=self.name, Key=file.address)
            with closing(answer["Body"]) as body:
                for chunk in body.iter_chunks(CHUNK):
                    out.write(chunk)
                    received(len(chunk))

    @cached_property
    def _client(self) -> Any:
        try:
            import boto3
            from botocore import UNSIGNED
            from botocore.config import Config
        except ImportError as error:
            raise DependencyError(
                f"boto3 is needed for files in {self.where}: pip install 'braindiffuser[fetch]'"
            ) from error
        retries = {"max_attempts": 5, "mode": "standard"}
        config = Config(signature_version=UNSIGNED, retries=retries, connect_timeout=20, read_timeout=60)
        session = boto3.session.Session()
        return session.client("s3", region_name=self.region, endpoint_url=self.endpoint, config=config)


@dataclass(frozen=True)
class Article:
    """An article of figshare, whose files have names without folders.

    Attributes:
        number: of the article.
        api: address of figshare's programming interface.
    """

    number: int
    api: str = FIGSHARE

    @property
    def where(self) -> str:
        """Address of the article."""
        return f"https://figshare.com/articles/dataset/_/{self.number}"

    def find(self, prefix: str) -> list[RemoteFile]:
        """List the files whose names begin with `prefix`, with the MD5 that figshare computed."""
        url = f"{self.api}/articles/{self.number}/files?page_size=1000"
        with tempfile.TemporaryDirectory() as folder:
            answer = Path(folder) / "files.json"
            _get_over_http(url, answer, lambda _: None)
            try:
                listed = json.loads(answer.read_text(encoding="utf-8"))
                files = [
                    RemoteFile(
                        each["name"], int(each["size"]), _md5(each.get("computed_md5") or ""), each["download_url"]
                    )
                    for each in listed
                    if not each.get("is_link_only")
                ]
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise UnreachableError(f"{url} answered with something else than a list of files") from error
        return [file for file in files if file.name.startswith(prefix)]

    def get(self, file: RemoteFile, path: Path, received: Received) -> None:
        """Write a file's content to `path`."""
        _get_over_http(file.address, path, received)


def _md5(stated: str) -> str:
    """Return an MD5; empty for what is none, such as the ETag of an object that was uploaded in parts."""
    stated = stated.strip('"').lower()
    return stated if re.fullmatch("[0-9a-f]{32}", stated) else ""


def _of_parts(stated: str) -> str:
    """Return the ETag of an object that was uploaded in parts; empty for any other."""
    stated = stated.strip('"').lower()
    return stated if re.fullmatch("[0-9a-f]{32}-[1-9][0-9]{0,4}", stated) else ""


@contextmanager
def _answers_of_s3() -> Iterator[None]:
    """Raise what a bucket answers as RefusedError or UnreachableError; errors of this machine stay as they are."""
    try:
        yield
    except (DependencyError, MemoryError):
        raise
    except Exception as error:  # of botocore, which may not be installed, and of what it stands on
        of_the_network = isinstance(error, ConnectionError | TimeoutError)
        if lacks_memory(error) or (is_of_the_system(error) and not of_the_network):
            raise
        answer = getattr(error, "response", None)
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(answer, dict) else None
        if isinstance(status, int) and 400 <= status < 500:
            raise RefusedError(status) from error
        raise UnreachableError(reason(error)) from error


class _Counter:
    """What pooch takes as a progress bar; draws nothing."""

    def __init__(self, received: Received) -> None:
        """Count bytes for `received`."""
        self.total = 0
        self._received, self._came = received, 0

    def update(self, n: int) -> None:
        """Pass on how much came: pooch counts whole chunks, and all once more at the end."""
        new = min(n, self.total - self._came)
        self._came += new
        self._received(new)

    def reset(self) -> None:
        """Begin to count anew."""

    def close(self) -> None:
        """End."""


def _get_over_http(url: str, path: Path, received: Received) -> None:
    """Write what a URL answers to `path`; as in `Server.get`."""
    from pooch import HTTPDownloader

    try:
        HTTPDownloader(progressbar=_Counter(received), chunk_size=CHUNK, timeout=60)(url, str(path), None)
    except Exception as error:  # of requests, urllib3 and pooch, of many kinds
        if lacks_memory(error):
            raise
        response = getattr(error, "response", None)
        if response is not None:
            response.close()  # pooch leaves that of a refusal open
        status = getattr(response, "status_code", None)
        if isinstance(status, int) and 400 <= status < 500:
            raise RefusedError(status) from error
        if getattr(error, "filename", None) or "No space left on device" in str(error):
            raise
        raise UnreachableError(reason(error) if status else type(error).__name__) from error

"""A server of open data in memory: what it lists, gives and refuses."""

import hashlib
from dataclasses import dataclass, field

from braindiffuser.open_data.servers import RefusedError, RemoteFile, UnreachableError


@dataclass
class Served:
    """Lists and gives `contents`.

    Attributes:
        contents: name → bytes.
        answers: name → what a request for it raises.
        silences: beginning of names → what a listing of them raises.
        sent: names of the files that were given, in order.
        hashed: whether the listing states an MD5.
    """

    contents: dict[str, bytes]
    answers: dict[str, Exception] = field(default_factory=dict)
    silences: dict[str, Exception] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    hashed: bool = True
    where: str = "served://here"

    def find(self, prefix):
        if prefix in self.silences:
            raise self.silences[prefix]
        return [
            RemoteFile(name, len(content), hashlib.md5(content).hexdigest() if self.hashed else "", name)  # noqa: S324
            for name, content in self.contents.items()
            if name.startswith(prefix)
        ]

    def get(self, file, path, received):
        content = self.contents[file.address]
        if file.address in self.answers:
            path.write_bytes(content[: len(content) // 2])
            raise self.answers[file.address]
        path.write_bytes(content)
        received(len(content))
        self.sent.append(file.name)


def refused(status):
    return RefusedError(status)


def silent_server():
    return UnreachableError("no answer")

"""What a command of `fetch` in a message would download."""

import re
import shlex

from braindiffuser.open_data.fetch import Choice


def fetched(message):
    """Return folder and patterns of the command in a message, as `fetch` reads it."""
    words = shlex.split(re.search(r"`(braindiffuser fetch .*?)`", message)[1])
    options, name = {}, ""
    for word in words[4:]:
        name = word if word.startswith("--") else name
        options.setdefault(name, []).extend([] if word == name else [word])
    choice = Choice.of(words[2], options["--subjects"], options.get("--sessions", ()), options.get("--files", ()))
    return words[3], [pattern for _, pattern, _ in choice.patterns()]

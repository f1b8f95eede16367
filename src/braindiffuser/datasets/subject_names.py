"""Subjects that nobody named: what stands in the place of a name, and how texts speak of them."""

UNNAMED = "subject"
"""In the place of a name. A recording is known by it, so it stays the same; texts show what the functions below return."""


def given_name(subject: str) -> str:
    """Return the name of a subject, "" if it has none.

    >>> given_name("sub-01"), given_name("subject")
    ('sub-01', '')
    """
    return "" if subject == UNNAMED else subject


def of_subject(subject: str) -> str:
    """Return " of NAME", nothing if there is no name.

    >>> "session 3" + of_subject("sub-01"), "session 3" + of_subject("subject")
    ('session 3 of sub-01', 'session 3')
    """
    return f" of {subject}" if given_name(subject) else ""

"""Nearest neighbours in features: for each stimulus the one of others with which its features correlate most.

Features are taken a block of rows at a time, so that neither side is ever whole in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64, Int

from braindiffuser.progress import Progress, silent

QUERY_BYTES, REFERENCE_BYTES = 400_000_000, 250_000_000
"""Room for a block of rows, as float32, on either side; the references are read once for each block of queries."""
ROWS_TOGETHER = 128
"""Rows that arrays on disk hold in one piece: larger blocks take whole pieces."""
NO_LENGTH = 1e-6
"""Square of the length of v + u/(k − 1), v being of length 1, up to which it is rounding: the two are opposite if k is 2."""


@runtime_checkable
class RowSource(Protocol):
    """Features of stimuli, (n, …), in any precision: a numpy array, or one on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Stimuli first."""

    def __getitem__(self, key: Any, /) -> Any:
        """Return a block of rows as a numpy array."""


class Nearest(NamedTuple):
    """The most similar reference of each query.

    Attributes:
        similarity: in [−1, 1]; −inf where there is none to compare with.
        place: row of the references.
    """

    similarity: Float64[np.ndarray, " n"]
    place: Int[np.ndarray, " n"]


def mean_row(rows: RowSource) -> Float64[np.ndarray, " d"]:
    """Mean over stimuli of each feature, Σ_i y_i / n, in float64.

    Raises:
        ValueError: if there are none, or a value is not finite.
    """
    if not rows.shape[0]:
        raise ValueError("got no stimulus, of whose features there would be a mean")
    total: Float64[np.ndarray, " d"] = np.zeros(_width(rows))
    for block in blocks_of(rows):
        total += flat_rows(rows, block).sum(axis=0, dtype=np.float64)
    return total / rows.shape[0]


def nearest_rows(
    queries: RowSource,
    references: RowSource,
    mean: Float64[np.ndarray, " d"] | None = None,
    own: Int[np.ndarray, " n"] | None = None,
    progress: Progress = silent,
    label: str = "finding nearest stimuli",
) -> Nearest:
    """Find, for each query, the reference with which its features correlate most.

        s_i = max_{j ≠ own_i} r(x_i − m, y_j − m)

    r is Pearson's correlation over the features of a pair, m what all stimuli have in common. Products are in float32: s is right
    to about 1e-6. Features that are constant within a stimulus correlate with nothing: 0.

    A query that is one of the references is no part of m, as no other query is: of few references, m leans towards each of
    them, and they would all seem farther from each other than a query that is none of them.

    Args:
        queries: features (n, …).
        references: features (n_references, …), of the same kind.
        mean: m, such as `mean_row` of the training features; None: 0.
        own: row of the references that holds the query itself (n,). It is left out of the maximum, and of m, which must be the
            references' mean. None: no query is a reference.
        progress: called as progress(label, done, total) after each block of queries.
        label: for the progress.

    Raises:
        ValueError: if queries and references differ in width, there is no reference, or a value is not finite.

    >>> x = np.array([[0.0, 1, 2], [2, 1, 0], [1, 2, 2]])
    >>> nearest_rows(x[:2], x[1:]).place.tolist(), nearest_rows(x, x, own=np.arange(3)).place.tolist()
    ([1, 0], [2, 2, 0])
    """
    n = queries.shape[0]
    best, place = np.full(n, -np.inf), np.zeros(n, np.int64)
    for rows, others, products in _correlations(queries, references, mean, own, progress, label):
        found = products.argmax(axis=1)
        values = products[np.arange(len(found)), found]
        nearer = values > best[rows]
        best[rows] = np.where(nearer, values, best[rows])
        place[rows] = np.where(nearer, found + others.start, place[rows])
    return Nearest(np.minimum(best, 1.0), place)


def several_nearest_rows(
    queries: RowSource, references: RowSource, n: int, mean: Float64[np.ndarray, " d"] | None = None
) -> Int[np.ndarray, "n_queries n"]:
    """Find, for each query, the n references with which its features correlate most, the nearest first; of equal ones the first.

    Args:
        queries: features (n_queries, …).
        references: features (n_references, …), of the same kind; of fewer than n all are returned.
        n: how many.
        mean: subtracted from both, as `nearest_rows` does.

    Raises:
        ValueError: if queries and references differ in width, there is no reference, or a value is not finite.

    >>> x = np.array([[0.0, 1, 2], [2, 1, 0], [1, 2, 2]])
    >>> several_nearest_rows(x[:2], x, 2).tolist()
    [[0, 2], [1, 2]]
    """
    shape = queries.shape[0], min(n, references.shape[0])
    best, places = np.full(shape, -np.inf), np.zeros(shape, np.int64)
    for rows, others, products in _correlations(queries, references, mean):
        numbers = np.broadcast_to(np.arange(others.start, others.stop), products.shape)
        values, known = np.hstack([best[rows], products]), np.hstack([places[rows], numbers])
        order = np.argsort(-values, axis=1, kind="stable")[:, : shape[1]]
        best[rows], places[rows] = np.take_along_axis(values, order, 1), np.take_along_axis(known, order, 1)
    return places


def _correlations(
    queries: RowSource,
    references: RowSource,
    mean: Float64[np.ndarray, " d"] | None = None,
    own: Int[np.ndarray, " n"] | None = None,
    progress: Progress = silent,
    label: str = "",
) -> Iterator[tuple[slice, slice, Float64[np.ndarray, "n_rows n_others"]]]:
    """Yield rows of queries, rows of references, and r between them as in `nearest_rows`; −inf between a query and itself."""
    if _width(queries) != _width(references):
        raise ValueError(
            f"queries have {_width(queries)} features and references {_width(references)}: expected the same"
        )
    if not references.shape[0]:
        raise ValueError("got no stimulus to compare with")
    for rows in blocks_of(queries, QUERY_BYTES):
        x, x_lengths = _units_and_lengths(flat_rows(queries, rows), mean)
        for others in blocks_of(references):
            y, y_lengths = _units_and_lengths(flat_rows(references, others), mean)
            products = (x @ y.T).astype(np.float64)
            if own is not None:
                if mean is not None:
                    products = without_query(products, x_lengths, y_lengths, references.shape[0])
                inside = np.flatnonzero((own[rows] >= others.start) & (own[rows] < others.stop))
                products[inside, own[rows][inside] - others.start] = -np.inf
            yield rows, others, products
        progress(label, rows.stop, queries.shape[0])


def blocks_of(rows: RowSource, room: int | None = None) -> Iterator[slice]:
    """Yield slices of rows that take `room` bytes as float32 at most, one row at least; None: `REFERENCE_BYTES`."""
    n, size = rows.shape[0], max(1, (REFERENCE_BYTES if room is None else room) // (4 * max(1, _width(rows))))
    if size > ROWS_TOGETHER:
        size -= size % ROWS_TOGETHER
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def flat_rows(rows: RowSource, block: slice) -> Float32[np.ndarray, "n d"]:
    """Return a block of rows, each flattened.

    Raises:
        ValueError: if a value is not finite.
    """
    values = np.asarray(rows[block], np.float32).reshape(block.stop - block.start, -1)
    if not np.isfinite(values).all():
        row = block.start + int(np.argmin(np.isfinite(values).all(axis=1)))
        raise ValueError(f"features hold a value that is not finite, first in row {row}")
    return values


def unit_rows(
    values: Float32[np.ndarray, "n d"], mean: Float64[np.ndarray, " d"] | None = None
) -> Float32[np.ndarray, "n d"]:
    """Return rows less `mean` and their own mean, of length 1, so that products are Pearson's r; constant rows become 0."""
    return _units_and_lengths(values, mean)[0]


def without_query(
    correlations: Float64[np.ndarray, "n m"],
    lengths: Float64[np.ndarray, " n"],
    reference_lengths: Float64[np.ndarray, " m"],
    n_references: int,
) -> Float64[np.ndarray, "n m"]:
    """Return correlations of queries with references less the mean of all references but the query itself.

        m_(−i) = m − u_i/(k − 1),   u_i = x_i − m,   v_j = y_j − m
        r(x_i − m_(−i), y_j − m_(−i)) = r(u_i, v_j + u_i/(k − 1)) = (r_ij + a_ij) / √(1 + 2 a_ij r_ij + a_ij²)
        a_ij = |u_i| / ((k − 1) |v_j|)

    Args:
        correlations: r_ij of u_i and v_j.
        lengths: |u_i|, of rows less their own means.
        reference_lengths: |v_j|; one of length 0 correlates with nothing: 0.
        n_references: k, of which m is the mean.
    """
    scaled = (max(n_references - 1, 1) * reference_lengths)[None, :]
    parts = np.divide(lengths[:, None], scaled, out=np.zeros_like(correlations), where=scaled > 0)
    squares = 1 + (2 * correlations + parts) * parts
    found: Float64[np.ndarray, "n m"] = np.divide(
        correlations + parts,
        np.sqrt(np.maximum(squares, 0)),
        out=np.zeros_like(correlations),
        where=squares > NO_LENGTH,
    )
    return found


def _units_and_lengths(
    values: Float32[np.ndarray, "n d"], mean: Float64[np.ndarray, " d"] | None
) -> tuple[Float32[np.ndarray, "n d"], Float64[np.ndarray, " n"]]:
    """Return rows less `mean` and their own mean, of length 1, and the length that they had; both 0 for constant rows."""
    values = values - (np.float32(0) if mean is None else mean.astype(np.float32))
    largest = np.abs(values).max(axis=1, initial=0)
    values -= values.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    norms = np.sqrt(np.einsum("ij,ij->i", values, values, dtype=np.float64))
    norms[norms <= 4 * np.finfo(np.float32).eps * np.sqrt(values.shape[1]) * largest] = 0
    scale = np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)
    units: Float32[np.ndarray, "n d"] = values * scale[:, None].astype(np.float32)
    return units, norms


def _width(rows: RowSource) -> int:
    return int(np.prod(rows.shape[1:]))

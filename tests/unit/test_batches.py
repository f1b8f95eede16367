"""Laws of batches: every row once and in order, and as many together as the memory of the GPU holds."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from braindiffuser.batches import Batches
from braindiffuser.errors import RunError


class Memory:
    """Stands for a GPU that holds a number of rows."""

    def __init__(self, room):
        self.room, self.tried = room, []

    def compute(self, rows):
        self.tried.append(rows.stop - rows.start)
        if rows.stop - rows.start > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(range(rows.start, rows.stop))


@given(n=st.integers(0, 40), size=st.integers(1, 20), room=st.integers(1, 20))
def test_every_row_is_computed_once_in_order_however_little_room_there_is(n, size, room):
    batches, memory = Batches(size), Memory(room)
    made = list(batches.over(n, memory.compute))
    assert [number for _, numbers in made for number in numbers] == list(range(n))
    assert all(numbers == list(range(rows.start, rows.stop)) for rows, numbers in made)
    assert batches.size == size or batches.size <= room


def test_a_batch_that_does_not_fit_is_halved_for_good_and_said():
    said, memory = [], Memory(3)
    batches = Batches(16, lambda *notice: said.append(notice))
    assert [rows.stop for rows, _ in batches.over(5, memory.compute)] == [2, 4, 5]
    assert memory.tried == [5, 2, 2, 1]
    assert said[-1] == ("batches of 5 do not fit the memory of the GPU: continuing with 2", 1, 1)
    assert len(list(batches.over(4, memory.compute))) == 2
    assert len(said) == 1


def test_what_was_made_may_be_none():
    assert list(Batches(2).over(3, lambda rows: None)) == [(slice(0, 2), None), (slice(2, 3), None)]


def test_a_single_row_that_does_not_fit_is_an_error_with_a_remedy():
    with pytest.raises(RunError, match=r"does not hold a single picture.*--device.*offload: true"):
        list(Batches(4).over(4, Memory(0).compute))


def test_other_errors_pass():
    def fail(rows):
        raise RuntimeError("another")

    with pytest.raises(RuntimeError, match="another"):
        list(Batches(4).over(4, fail))

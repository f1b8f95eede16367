"""Laws of batches: every row once and in order, and as many together as the memory of the GPU holds."""

import errno
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from braindiffuser.batches import Batches, needing_memory
from braindiffuser.errors import RunError

OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory")
ERRORS = [
    OUT_OF_MEMORY,
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.7 GiB"),
    RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED"),
    RuntimeError("FIND was unable to find an engine to execute this computation"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("MPS backend out of memory (MPS allocated: 18.12 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
    MemoryError("Unable to allocate 7.3 GiB for an array"),
    MemoryError(),
    RuntimeError("unable to mmap 4096 bytes from file <model>: Cannot allocate memory (12)"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
    RuntimeError("std::bad_alloc"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]


class Memory:
    """Stands for a GPU that holds a number of rows."""

    def __init__(self, room, error=OUT_OF_MEMORY):
        self.room, self.error, self.tried = room, error, []

    def compute(self, rows):
        self.tried.append(rows.stop - rows.start)
        if rows.stop - rows.start > self.room:
            raise self.error
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
    assert said[-1] == ("batches of 5 do not fit in memory: continuing with 2", 1, 1)
    assert len(list(batches.over(4, memory.compute))) == 2
    assert len(said) == 1


@pytest.mark.parametrize(("n", "size", "room", "ends"), [(5, 16, 3, [2, 4, 5]), (1, 32, 9, [1]), (260, 200, 60, None)])
def test_slices_that_are_filled_up_are_halved_by_what_is_computed(n, size, room, ends):
    """Of 300 rows in all, as many are computed as a batch has; a last one alone is filled up too."""
    said, tried = [], []
    batches = Batches(size, lambda *notice: said.append(notice[0]))

    def compute(rows):
        tried.append(min(batches.size, 300))
        if tried[-1] > room:
            raise OUT_OF_MEMORY
        return rows

    found = [rows.stop for rows, _ in batches.over(n, compute, 300)]
    assert found[-1] == n
    assert ends is None or found == ends
    too_large = [each for each in tried if each > room]
    assert [int(words.split()[2]) for words in said] == too_large
    assert batches.size <= room
    with pytest.raises(torch.OutOfMemoryError):
        list(Batches(2).over(1, Memory(0).compute, 300))


def test_what_was_made_may_be_none():
    assert list(Batches(2).over(3, lambda rows: None)) == [(slice(0, 2), None), (slice(2, 3), None)]


def test_a_single_row_that_does_not_fit_is_a_lack_of_memory():
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        list(Batches(4).over(4, Memory(0).compute))


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_every_lack_of_memory_halves_a_batch(error):
    memory = Memory(2, error)
    assert [rows.stop for rows, _ in Batches(8).over(5, memory.compute)] == [2, 4, 5]
    with pytest.raises(type(error)):
        list(Batches(1).over(1, Memory(0, error).compute))


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("out of memory"), RunError("no")]
)
def test_other_errors_pass(error):
    with pytest.raises(type(error), match=str(error)):
        list(Batches(4).over(4, Memory(0, error).compute))


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_outside_batches_a_lack_of_memory_is_an_error_with_step_device_and_remedies(error):
    on_gpu = not isinstance(error, MemoryError | OSError)
    for device, settings, of_gpu in (
        ("cuda:1", "", on_gpu),
        ("cuda:1", "half: true", on_gpu),
        ("cpu", "half: true", False),
    ):
        with pytest.raises(RunError) as refused, needing_memory(device, lambda: "fit.a", settings):
            raise error
        said = str(refused.value)
        which = f"memory on {device}" if of_gpu else "main memory"
        less = f", set {settings}" if settings and of_gpu else ""
        other = ", or choose another --device" if of_gpu else ""
        assert re.fullmatch(
            rf"fit\.a ran out of {which} \(.+\): free memory that other programs use{less}{other}", said
        )


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2"),
        RunError("out of memory"),
        OSError("out of memory"),
        RuntimeError("Remote I/O error, os error 121"),
    ],
)
def test_outside_batches_other_errors_pass(error):
    with pytest.raises(type(error), match=str(error)), needing_memory("cuda", lambda: "fit.a"):
        raise error

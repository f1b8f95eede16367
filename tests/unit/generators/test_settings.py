"""Precision is a matter of the device."""

import pytest

from braindiffuser.generators.settings import DiffusionConfig


@pytest.mark.parametrize(
    ("precision", "device", "expected"),
    [
        ("full", "cpu", "float32"),
        ("full", "cuda", "float32"),
        ("half", "cpu", "float32"),
        ("half", "cuda", "float16"),
        ("half", "cuda:3", "float16"),
    ],
)
def test_half_is_half_on_a_gpu_alone(precision, device, expected):
    assert DiffusionConfig(precision=precision).dtype_on(device) == expected

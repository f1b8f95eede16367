"""What is counted is what is alive: by hand, against real tensors, and against torch's own profiler."""

import json

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.profiler import ProfilerActivity, profile

from braindiffuser.networks.accounting import peak_memory

KB = 1024


def chain():
    a = torch.zeros(KB, dtype=torch.uint8)  # 1 KB
    b = torch.cat([a, a])  # 3 KB
    del a  # 2 KB
    c = torch.cat([b, b, b])  # 8 KB, the peak
    del b  # 6 KB
    return c.add(1)[: KB // 2]  # 12 KB if c lives on


def test_a_chain_is_counted_as_by_hand():
    assert peak_memory(chain) == 12 * KB


@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        (lambda x: x.view(2, -1).t()[0], 0),
        (lambda x: x.add_(1), 0),
        (lambda x: x + 1, 4 * KB),
        (lambda x: (x + 1).add_(1).view(-1), 4 * KB),
        (lambda x: [x + 1 for _ in range(5)], 20 * KB),
        (lambda x: [(x + 1).sum().item() for _ in range(5)], 4 * KB + 4),
        (lambda x: x.half(), 2 * KB),
        (lambda x: x.split(10), 0),
    ],
)
def test_only_new_storages_count_and_only_while_they_live(compute, expected):
    given = torch.zeros(KB)
    assert peak_memory(lambda: compute(given)) == expected


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.GroupNorm(2, 8), torch.nn.SiLU(), torch.nn.Conv2d(8, 3, 3)]
    return torch.nn.Sequential(*layers).requires_grad_(False)


def test_nothing_needs_to_be_computed(network):
    real = peak_memory(lambda: network(torch.zeros(2, 3, 64, 64)))
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert peak_memory(lambda: network(torch.zeros(2, 3, 64, 64))) == real


def profiled_peak(compute, path):
    """Peak of the bytes that torch's allocator gave out, by torch's profiler."""
    compute()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        compute()
    profiler.export_chrome_trace(str(path))
    events = [event for event in json.loads(path.read_text())["traceEvents"] if event.get("name") == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event["ts"]):
        live += event["args"]["Bytes"]
        peak = max(peak, live)
    return peak


def test_elementwise_work_is_counted_as_the_profiler_does(tmp_path):
    given = torch.ones(64, 64)

    def compute():
        return torch.cat([given, given.exp()]).neg().sum(0).abs()

    assert peak_memory(compute) == profiled_peak(compute, tmp_path / "trace.json")


def test_a_network_takes_what_is_counted_and_its_operations_workspaces(network, tmp_path):
    given = torch.zeros(2, 3, 64, 64)
    counted = peak_memory(lambda: network(given))
    assert counted <= profiled_peak(lambda: network(given), tmp_path / "trace.json") <= 2 * counted

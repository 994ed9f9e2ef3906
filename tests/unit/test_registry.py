"""Method folders by file path, strict weights, and the Python face."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from avsbench import cards, predictor, registry
from avsbench.contract import Method
from avsbench.engine.checkpoint import save_weights
from avsbench.engine.compute import set_tf32
from avsbench.errors import AvsbenchError
from avsbench.nn.precision import tf32_as_it_was
from avsbench.nn.states import load_strict
from avsbench.paths import Paths
from tests.unit.small_method import CARD, MODEL, write_method


@pytest.fixture
def variant(tmp_path):
    return write_method(tmp_path / "models").variants["small-small"]


def build(variant, dataset="ms3"):
    return registry.build(variant, dataset, "mini", 32)


def test_sibling_files_import_and_two_folders_of_one_name_stay_apart(tmp_path):
    one = write_method(tmp_path / "one").variants["small-small"]
    two = write_method(
        tmp_path / "two", model=MODEL.replace("class Small", "class Other").replace("Small(ch", "Other(ch")
    )
    assert type(build(one)).__name__ == "Small"
    assert type(build(two.variants["small-small"])).__name__ == "Other"
    assert type(build(one, "avss")).__module__ == type(build(one)).__module__


def broken(tmp_path, model, **options):
    return write_method(tmp_path, model=model, **options).variants["small-small"]


def test_no_model_file(tmp_path, variant):
    (variant.method.path.parent / "model.py").unlink()
    with pytest.raises(AvsbenchError, match=r"a method needs model\.py"):
        build(variant)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.replace("def build", "def make"), r"model\.py: no function `build`"),
        (lambda m: m.replace("return Small(", "return dict("), r"something else than a method[\s\S]*dict"),
        (lambda m: m.replace("def loss", "def lost"), r"Small lacks loss"),
        (
            lambda m: m.replace("image_size, width", "image_size"),
            r"build does not take what the card gives[\s\S]*width",
        ),
        (lambda m: m.replace("channels=dataset.num_classes", "channels=5"), r"channels does not fit ms3[\s\S]*5"),
        (
            lambda m: m.replace("import torch\n", "import torch\nimport no_such_package\n"),
            r"model\.py:5: cannot be imported",
        ),
        (lambda m: m + "\ndef x(:\n", r"model\.py:\d+: cannot be imported[\s\S]*SyntaxError"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(tmp_path, change, message):
    with pytest.raises(AvsbenchError, match=message):
        build(broken(tmp_path, change(MODEL)))


def test_a_fixed_file_loads_after_a_broken_one(tmp_path):
    variant = broken(tmp_path, "import no_such_package\n")
    with pytest.raises(AvsbenchError, match="cannot be imported"):
        build(variant)
    (variant.method.path.parent / "model.py").write_text(MODEL)
    assert build(variant).channels == 1


def test_weights_load_strictly_with_a_readable_list(variant):
    method = build(variant)
    state = method.own_state()
    del state["see.0.bias"]
    state["stranger"] = torch.zeros(1)
    state["head.weight"] = torch.zeros(2, 16, 1, 1)
    with pytest.raises(AvsbenchError) as caught:
        registry.load_own(method, state, "some.safetensors")
    text = str(caught.value)
    for part in (
        "some.safetensors",
        "1 missing: see.0.bias",
        "1 unexpected: stranger",
        "head.weight [2, 16, 1, 1] instead of [1, 16, 1, 1]",
    ):
        assert part in text


def test_missing_and_broken_weights(tmp_path):
    with pytest.raises(AvsbenchError, match="no such weights"):
        registry.read_weights(tmp_path / "none.safetensors")
    (tmp_path / "short.safetensors").write_bytes(b"1234567890")
    with pytest.raises(AvsbenchError, match="cannot be read"):
        registry.read_weights(tmp_path / "short.safetensors")


OFFICIAL = CARD + 'official: {{file: "{{variant}}_{{dataset}}.pth", note: from the authors}}\n'


def test_the_official_checkpoint(tmp_path):
    rename = '    @classmethod\n    def rename_official(cls, key):\n        return key.replace("eye.", "see.")\n\n'
    model = MODEL.replace("    def forward", rename + "    def forward", 1)
    variant = broken(tmp_path, model, card=OFFICIAL)
    dataset, paths = cards.dataset("ms3"), Paths("full", weights_root=str(tmp_path / "weights"))
    method, source = build(variant), build(variant)
    with pytest.raises(AvsbenchError) as caught:
        registry.load_official(method, variant, dataset, paths)
    assert "official/small-small_ms3.pth" in str(caught.value)
    assert "from the authors" in str(caught.value)
    file = tmp_path / "weights" / "official" / "small-small_ms3.pth"
    file.parent.mkdir(parents=True)
    theirs = {f"module.{key.replace('see.', 'eye.')}": value for key, value in source.state_dict().items()}
    torch.save({"model": {**theirs, "module.total_ops": torch.zeros(1)}, "optimizer": {"lr": 1}}, file)
    registry.load_official(method, variant, dataset, paths)
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in method.state_dict().items())


def test_load_from_another_folder_predicts(tmp_path):
    variant = write_method(tmp_path / "models").variants["small-small"]
    method = build(variant, "ms3")
    file = tmp_path / "weights.safetensors"
    save_weights(file, method.own_state(), {"scale": "mini", "image_size": 32, "dataset": "ms3"})
    np.save(tmp_path / "frames.npy", np.random.default_rng(0).integers(0, 256, (7, 40, 50, 3), dtype=np.uint8))
    code = f"""
import json, numpy as np, avsbench
model = avsbench.load("small-small", dataset="ms3", weights={str(file)!r})
frames = np.load({str(tmp_path / "frames.npy")!r})
wav = (np.sin(np.arange(7 * 22050) / 9).astype("float32"), 22050)
one = model.predict(frames, wav)
two = model.predict(frames.transpose(0, 3, 1, 2), wav)
same = bool((one["scores"] == two["scores"]).all())
print(json.dumps([one["masks"].shape, str(one["masks"].dtype), one["scores"].shape, same, model.image_size]))
"""
    environment = {**os.environ, "AVSBENCH_MODELS": str(tmp_path / "models"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[7, 40, 50], "bool", [7, 1, 40, 50], True, 32]


def test_predict_refuses_other_frames(variant):
    model = predictor.Predictor(build(variant), variant, cards.dataset("ms3"), 32, torch.device("cpu"))
    with pytest.raises(AvsbenchError, match=r"found:\s+float32 \[5, 32, 32, 3\]"):
        model.predict(np.zeros((5, 32, 32, 3), np.float32), (np.zeros(16000, np.float32), 16000))


def test_predict_is_exact_whatever_the_caller_allows(variant):
    """On a GPU with TF32 the network's products would be rounded to ten bits; the engine predicts without it."""
    method, during = build(variant), []

    def look(*_):
        during.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))

    method.register_forward_pre_hook(look)
    model = predictor.Predictor(method, variant, cards.dataset("ms3"), 32, torch.device("cpu"))
    with tf32_as_it_was():
        set_tf32(True)
        model.predict(np.zeros((5, 32, 32, 3), np.uint8), (np.zeros(80000, np.int16), 16000))
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("high", True)
    assert during == [("highest", False)]


def test_predict_gives_class_ids_for_a_semantic_task(variant):
    model = predictor.Predictor(build(variant, "avss"), variant, cards.dataset("avss"), 32, torch.device("cpu"))
    found = model.predict(np.zeros((2, 32, 32, 3), np.uint8), (np.zeros(32000, np.int16), 16000))
    assert found["masks"].dtype == np.int64
    assert found["scores"].shape == (2, 71, 32, 32)
    assert model.classes[1] == "accordion"


def test_load_without_weights_says_what_is_missing(tmp_path, monkeypatch):
    write_method(tmp_path / "models")
    monkeypatch.setenv("AVSBENCH_MODELS", str(tmp_path / "models"))
    with pytest.raises(AvsbenchError, match="no trained weights of small-small on ms3, seed 3"):
        predictor.load("small-small", "ms3", seed=3, results_root=tmp_path)


def test_an_official_checkpoint_may_carry_its_frozen_encoder(tmp_path):
    """It then loads with the rest, and no file of its own is asked for; half an encoder is refused."""

    class Heard(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Linear(2, 3)

        def load_pretrained(self, state):
            load_strict(self, state)

    class Carrying(Method):
        def __init__(self):
            super().__init__()
            self.audio = Heard().requires_grad_(False)
            self.head = nn.Linear(3, 1)

        def encoders(self):
            return {"audio": self.audio}

    source, method = Carrying(), Carrying()
    assert set(method.own_state()) == {"head.weight", "head.bias"}
    registry.load_own(method, source.own_state(), "own")
    assert not torch.equal(method.audio.layers.weight, source.audio.layers.weight)
    whole = source.state_dict()
    registry.load_own(method, whole, "whole")
    assert torch.equal(method.audio.layers.weight, source.audio.layers.weight)
    variant = replace(cards.variant("tpavi-r50"), encoders={"audio": "vggish"})
    paths = Paths("full", weights_root=str(tmp_path / "nowhere"))
    registry.load_encoders(method, variant, "s4", "full", paths, external_only=True, carried=whole)
    with pytest.raises(AvsbenchError, match="vggish"):
        registry.load_encoders(method, variant, "s4", "full", paths, external_only=True, carried=source.own_state())
    with pytest.raises(AvsbenchError, match=r"1 missing: audio\.layers\.bias"):
        registry.load_own(method, {key: v for key, v in whole.items() if key != "audio.layers.bias"}, "half")

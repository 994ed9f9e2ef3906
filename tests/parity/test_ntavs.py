"""NTAVS against outputs of the authors' code, which both sides fill with weights drawn from key names.

Runs over every fixture of `ntavs` under $AVSBENCH_PARITY; files missing there come from this folder. No mask bit flips:
where rounding decides (r50_avss) either side is within the tolerances.
"""

import re

import pytest
import torch

from avsbench import cards, registry
from avsbench.contract_checks.official import key_lists
from avsbench.nn.mask_decoder import MaskDecoder

from .folders import Fixture, fixtures

CARD = cards.method_cards()["ntavs"]
MODULE = registry.method_module(CARD)


def full_size(name):
    backbone, dataset = name.split("_")
    with torch.device("meta"):
        return registry.build(f"ntavs-{backbone}", dataset, "full", 224).eval()


def watch(model, frames):
    """Intermediate results of a network on one clip, gathered while it runs."""
    seen = {}

    def keep(module, take):
        module.register_forward_hook(lambda _, inputs, output: seen.update(take(output)))

    def tokens(x):
        return dict(zip(("ced_256", "ced_512", "ced_1024"), x.unflatten(0, (frames, 3)).unbind(1), strict=True))

    def sides(level, pixels, sounds):  # [1,T,P,C] -> [P,T,C]
        pairs = {"visual": pixels, "audio": sounds}
        return {f"mixer_{level}_{side}": x[0].transpose(0, 1) for side, x in pairs.items()}

    keep(model.audio, tokens)
    for level, name in {0: "projected_res2", 3: "projected_res5"}.items():
        keep(model.projections[level], lambda x, name=name: {name: x})
        keep(model.mixer.blocks[level], lambda x, level=level: sides(level, *x))
    keep(model.pixel_decoder.encoder[-1], lambda x: {"encoder": x})
    keep(model.pixel_decoder, lambda x: {"mask_features": x[0]})
    keep(model.mixer, lambda x: {"audio_queries": x[1]})
    return seen


@pytest.mark.parametrize("folder", fixtures("ntavs", "r50_s4", "pvt_s4", "r50_avss"))
@torch.no_grad()
def test_network(folder):
    """One clip, from pictures and log-mels to class maps."""
    fixture = Fixture(folder)
    model, frames = full_size(folder.name), fixture.about["frames"]
    model.load_state_dict(model.convert_official(fixture.state()), strict=True, assign=True)
    seen = watch(model, frames)

    def pictures(name):
        return (127.5 + 60 * fixture.numbers(name, (1, frames, 3, 224, 224))).clamp(0, 255)

    ends = zip(model.front_ends, (256, 512, 1024), strict=True)
    batch = MODULE.Batch(
        frames=pictures("images"),
        real=torch.ones(1, frames, dtype=torch.bool),
        clip_ids=["a"],
        audio={end: 2 * fixture.numbers(f"log_mel_{window}", (1, frames, 1, 96, 64)) - 2 for end, window in ends},
        features={"maskige": pictures("maskiges")},
    )
    model.train()  # for the predictions of all layers; nothing in here is random
    model.siam.eval()
    predictions = model(batch)["predictions"]
    seen |= {"pred_logits_0": predictions[0][0], "pred_masks_0": predictions[0][1], "pred_masks_1": predictions[1][1]}
    seen |= {"pred_logits": predictions[-1][0], "pred_masks": predictions[-1][1]}
    seen["sem_seg"] = MaskDecoder.semantic(predictions[-1], (224, 224))
    assert fixture.faults(seen) == {}


@pytest.mark.parametrize("folder", fixtures("ntavs", "mixer"))
@torch.no_grad()
def test_mixer(folder):
    """One block on two clips, 3 x 3 pixels and 7 tokens."""
    fixture = Fixture(folder)
    block = MODULE.Mixer().blocks[0]
    state = {MODULE.NTAVS.rename_official(key): value for key, value in fixture.state().items()}
    block.load_state_dict({key.removeprefix("mixer.blocks.0."): value for key, value in state.items()}, strict=True)
    shapes = {"visual": (18, 5, 256), "audio": (14, 5, 256)}
    inputs = [fixture.numbers(name, shape).unflatten(0, (2, -1)).transpose(1, 2) for name, shape in shapes.items()]
    found = dict(zip(shapes, block(*inputs), strict=True))
    assert fixture.faults({name: x.transpose(1, 2).flatten(0, 1) for name, x in found.items()}) == {}


PARAMETERS = {"r50_s4": (84_396_211, 74_835_507), "pvt_s4": (199_000_323, 189_439_619)}
PARAMETERS |= {"r50_avss": (84_413_944, 74_853_240), "pvt_avss": (199_018_056, 189_457_352)}
"""All, and those that train; less those that are not built."""
PUBLISHED = {"r50_s4": (86.5, 76.8), "pvt_s4": (201.5, 191.8)}
"""The same with them, in millions."""


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_key_is_loaded_or_listed_as_dead(name):
    model, keys = full_size(name), key_lists("ntavs")[f"ntavs/{name}"]
    assert len(keys) == {"r50": 1115, "pvt": 2692}[name.split("_")[0]]
    dead = [key for key in keys if any(re.fullmatch(pattern, key) for pattern in CARD.dead_parameters)]
    converted = model.convert_official(keys)
    assert {key: value.shape for key, value in converted.items()} == {
        key: value.shape for key, value in model.state_dict().items()
    }
    assert len(converted) == len(keys) - len(dead)
    counts = sum(p.numel() for p in model.parameters()), sum(p.numel() for p in model.trainable_parameters())
    assert counts == PARAMETERS[name]
    if name in PUBLISHED:
        unused = [key for key in dead if not key.startswith("criterion")]
        frozen = sum(keys[key].numel() for key in unused if key.startswith("audio_backbone"))
        trained = sum(keys[key].numel() for key in unused) - frozen
        found = counts[0] + trained + frozen, counts[1] + trained
        assert tuple(round(count / 1e6, 1) for count in found) == PUBLISHED[name]


def test_a_counter_of_batches_may_be_missing():
    keys = dict(key_lists("ntavs")["ntavs/r50_s4"])
    del keys["audio_backbone.init_bn.1.num_batches_tracked"]
    model = full_size("r50_s4")
    assert set(model.convert_official(keys)) == set(model.state_dict())


def test_what_the_vectors_do_not_show():
    """Epsilons, groups of GroupNorm, the threshold, and what AVSS hears."""
    for name in ("r50_s4", "pvt_avss"):
        model = full_size(name)
        head = [
            m for part in (model.projections, model.pixel_decoder, model.mixer, model.decoder) for m in part.modules()
        ]
        norms = [m for m in head if isinstance(m, torch.nn.LayerNorm | torch.nn.GroupNorm)]
        assert {norm.eps for norm in norms} == {1e-5}
        assert {norm.num_groups for norm in norms if isinstance(norm, torch.nn.GroupNorm)} == {32}
        assert {m.eps for m in model.audio.modules() if isinstance(m, torch.nn.LayerNorm)} == {1e-6}
        assert model.decoder.threshold == 0.2
        middle = {"r50_s4": "msai_512", "pvt_avss": "combo_mel"}[name]
        assert model.front_ends == ("msai_256", middle, "msai_1024")

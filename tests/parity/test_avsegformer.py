"""AVSegFormer against outputs of the authors' code, which both sides fill with weights drawn from key names.

Runs over every fixture of `avsegformer` under $AVSBENCH_PARITY; files missing there come from this folder.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from avsbench import cards, registry
from avsbench.contract_checks.official import key_lists
from avsbench.metrics.binary import binary_counts, frame_iou
from avsbench.metrics.fscore import binary_video_scores
from avsbench.metrics.pairs import frame_areas
from avsbench.metrics.semantic import ClassScores

from . import folders
from .fill import fill

CARD = cards.method_cards()["avsegformer"]
MODULE = registry.method_module(CARD)
FULL = ("r50_s4", "pvt_s4", "pvt_avss")


class Fixture(folders.Fixture):
    """Weights are scaled, and some inputs."""

    def state(self, prefix=""):
        """The reference's state dict, filled and scaled, under names that start with `prefix`."""
        salt, state = self.about.get("weight_salt", 0), {}
        scales = {key: value for key, value in self.about["scale"].items() if key != "rule"}
        for key, shape, kind in json.loads(self.file("keys.json").read_text()):
            if not kind.startswith("float"):
                state[prefix + key] = torch.zeros(shape, dtype=getattr(torch, kind))
                continue
            value = np.asarray(fill(key, tuple(shape), salt))
            scale = next((s for start, s in scales.items() if key.startswith(start)), 1.0) if len(shape) > 1 else 1.0
            state[prefix + key] = torch.from_numpy(value * np.float32(scale))
        return state

    def input(self, name):
        about = self.about["inputs"][name]
        value = self.numbers(about["array"], about["shape"])
        if about.get("then") == "multiplied by 0.3":
            return value * 0.3
        return value * self.flags.view(-1, 1, 1, 1) if about.get("then") else value

    @property
    def flags(self):
        """1 for real frames."""
        count = self.about["inputs"]["frames"]["shape"][0]
        return torch.tensor(self.about["inputs"].get("vid_temporal_mask_flag", [1.0] * count))

    def check(self, seen):
        """Compare with every expected array, which hold every so-manieth entry of each axis."""
        assert set(self.expected) <= set(seen)
        for name, wanted in self.expected.items():
            about = self.about["outputs"][name]
            found = seen[name][tuple(slice(None, None, step) for step in about["stride"])]
            np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=about["atol"], err_msg=name)


def full_size(folder):
    backbone, dataset = folder.name.split("_")
    with torch.device("meta"):
        return registry.build(f"avsegformer-{backbone}", dataset, "full", 224).eval()


def loaded(fixture):
    model = full_size(fixture.folder)
    model.load_state_dict(model.convert_official(fixture.state()), strict=True, assign=True)
    return model


def watch(head):
    """Intermediate results of a head, gathered while it runs."""
    seen = {}
    parts = {"query_init": head.generator, "encoder_layer0_deformable_attention": head.encoder[0].attention}
    parts |= {"encoder_memory": head.encoder[-1], "decoder_last": head.decoder[-1]}
    parts |= {"mask_feature_before_mixer": head.output, "query_mask_mlp": head.responses}
    for name, module in parts.items():
        module.register_forward_hook(lambda _, inputs, output, name=name: seen.update({name: output}))
    return seen


def whole(frames, flags):
    """What was computed for real frames, with zeros for the others."""
    result = frames.new_zeros(len(flags), *frames.shape[1:])
    result[flags.bool()] = frames
    return result


@pytest.mark.parametrize("folder", folders.fixtures("avsegformer", *FULL))
def test_network(folder):
    fixture = Fixture(folder)
    model = loaded(fixture)
    flags, seen = fixture.flags, watch(model.head)
    real = flags.bool()
    with torch.no_grad():
        maps = model.visual(fixture.input("frames"))
        embedding = model.audio(fixture.input("audio"))
        token = model.sound(embedding)[:, None]
        logits, features, _ = model.head([x[real] for x in maps], token[real])
    seen |= {f"backbone{i}": x for i, x in enumerate(maps)} | {"audio_embedding": embedding, "audio_token": token}
    seen |= {"pred": whole(logits, flags), "mask_feature": whole(features, flags)}
    # Padded frames are not computed here; their intermediate results are no part of the comparison.
    for name in ("query_init", "encoder_memory", "decoder_last", "mask_feature_before_mixer", "query_mask_mlp"):
        fixture.expected[name] = fixture.expected[name][real.numpy()]
    fixture.check(seen)


@pytest.mark.parametrize("folder", folders.fixtures("avsegformer", *FULL))
def test_loss_and_gradients(folder):
    """Only the first frame has a truth, and no operation mixes frames: it alone has to be computed."""
    fixture = Fixture(folder)
    about, model = fixture.about["gradients"], loaded(fixture)
    frame, sound = fixture.input("frames")[:1], fixture.input("audio")[:1]
    size = tuple(frame.shape[-2:])
    if model.channels == 1:
        masks = (fixture.numbers("mask", (1, 1, 1, *size)) > 0).long()[0, 0]
    else:
        masks = ((fixture.numbers("label", (10, *size)).abs() * 20).floor() % 71).long()[:1]
    with torch.set_grad_enabled(about["file"] is not None):
        with torch.no_grad():
            embedding = model.audio(sound)
        logits, features, _ = model.head(model.visual(frame), model.sound(embedding)[:, None])
        output = {"logits": logits, "auxiliary": [features.mean(1, keepdim=True)], "chosen": torch.ones(1, 1) > 0}
        batch = MODULE.Batch(frame[None], output["chosen"], ["a"], masks=masks[None], annotated=output["chosen"])
        terms = model.loss(output, batch, 0)
    parts = {"segmentation": about["parts"]["iou_loss"], "auxiliary": about["parts"]["mix_loss"]}
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(parts, rel=1e-4)
    if about["file"] is None:
        return
    sum(terms.values()).backward()
    norms = json.loads(fixture.file("grads.json").read_text())["l2_norm"]
    floor = 1e-6 * max(norms.values())
    parameters = dict(model.named_parameters())
    ours = {name: key for key in norms if (name := model.rename_official(key)) in parameters}
    assert set(ours) == {name for name, p in parameters.items() if p.requires_grad}
    for name, key in ours.items():
        found = parameters[name].grad.norm().item()
        assert found == pytest.approx(norms[key], rel=1e-3, abs=floor), key


def tiny_head(first):
    """The reduced configuration of the fixtures."""
    parts = MODULE.Head, MODULE.Classifier, MODULE.QueryGenerator, MODULE.IntermediateMasks
    head, classifier, generator, intermediate = parts

    def masks():
        return classifier(width=256, hidden=32, channels=3)

    return head(
        in_channels=(8, 16, 24, 32),
        generator=torch.nn.Identity() if first else generator(queries=8, width=256, hidden=1024, layers=2, heads=8),
        classifier=masks(),
        intermediate=intermediate(width=256, classifier=masks()) if first else None,
        queries=8,
        depth=2,
        hidden=(64, 2048),
    ).eval()


@pytest.mark.parametrize("folder", folders.fixtures("avsegformer", "head_tiny", "head_first_tiny"))
@torch.no_grad()
def test_head(folder):
    fixture, first = Fixture(folder), "first" in folder.name
    head = tiny_head(first)
    state = MODULE.AVSegFormer.convert_official(fixture.state("head."))
    head.load_state_dict({key.removeprefix("head."): value for key, value in state.items()}, strict=True)
    maps = [fixture.input(f"feat{i}") for i in range(4)]
    seen = watch(head)
    head.encoder[0].register_forward_hook(lambda _, inputs, output: seen.update(reference=inputs[2]))
    if first:
        last = head.intermediate.steps[2]
        last.register_forward_hook(lambda _, inputs, output: seen.update(fpn_last=output))
    logits, features, masks = head(maps, fixture.input("audio_token"), auxiliary=first)
    seen |= {"pred": logits, "mask_feature": features} | {f"aux_mask{i}": mask for i, mask in enumerate(masks)}
    seen["reference_points"] = seen.pop("reference").expand(2, 3, -1, -1).transpose(1, 2)
    if first:
        seen["decoder_last"], seen["cross_attention_weights_last"] = seen["decoder_last"]
    fixture.check(seen)


CASES = ("s4_dice", "s4_bce", "ms3_dice", "ms3_bce", "ms3_dice_one_empty_mask", "avss")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("folder", folders.fixtures("avsegformer", "losses"))
def test_losses(folder, case):
    fixture = Fixture(folder)
    annotated = torch.ones(2, 5, dtype=torch.bool)
    if case == "avss":
        annotated = torch.zeros(2, 10, dtype=torch.bool)
        annotated[0, 0], annotated[1, :5] = True, True
        logits, features = (fixture.numbers("pred_classes", (20, 71, 12, 12)),
                            fixture.numbers("mask_feature_classes", (20, 16, 3, 3)))  # fmt: skip
        masks = ((fixture.numbers("label", (20, 12, 12)).abs() * 20).floor() % 71).long()
        masks[fixture.numbers("label_background", (20, 12, 12)).abs() < 0.7] = 0
    else:
        logits, features = fixture.numbers("pred", (10, 1, 24, 24)), fixture.numbers("mask_feature", (10, 16, 6, 6))
        masks = torch.zeros(10, 24, 24, dtype=torch.long)
        if case.startswith("s4"):
            annotated[:, 1:] = False
            masks[::5] = (fixture.numbers("gt_first", (2, 1, 1, 24, 24)) > 0.5)[:, 0, 0].long()
        else:
            masks = (fixture.numbers("gt_five", (10, 1, 24, 24)) > 0.5)[:, 0].long()
            if case.endswith("empty_mask"):
                masks[3] = 0
    model = registry.build("avsegformer-r50", case.split("_")[0], "mini", 64)
    model.configure({"loss": {"binary": "bce" if "bce" in case else "dice"}})
    output = {"logits": logits, "chosen": torch.ones_like(annotated), "auxiliary": [features.mean(1, keepdim=True)]}
    batch = MODULE.Batch(torch.zeros(0), output["chosen"], ["a", "b"])
    batch.masks, batch.annotated = masks.unflatten(0, annotated.shape), annotated
    terms = model.loss(output, batch, 0)
    found = [sum(terms.values()).item(), terms["segmentation"].item(), terms["auxiliary"].item()]
    expected = [fixture.expected[case + part] for part in ("", ".iou_loss", ".mix_loss")]
    np.testing.assert_allclose(found, expected, rtol=fixture.about["rtol"])


@pytest.mark.parametrize("folder", folders.fixtures("avsegformer", "metrics"))
def test_metrics(folder):
    fixture = Fixture(folder)
    logits, truth = fixture.numbers("pred", (10, 24, 24)), fixture.numbers("truth", (10, 24, 24)) > 0.5
    truth[4], logits[4] = False, -logits[4].abs() - 1
    logits[4, :2] = 1
    probability, label = logits.sigmoid().numpy(), truth.numpy().astype(np.int64)
    per_frame = frame_iou(binary_counts((logits > 0).numpy(), label))
    halves = [binary_video_scores(probability[part], label[part])[1] for part in (slice(5), slice(5, 10))]
    found = {"mask_iou_per_frame": per_frame, "mask_iou": per_frame.mean()}
    found |= {"f_measure": binary_video_scores(probability, label)[1], "f_measure_two_batches_mean": np.mean(halves)}
    found |= semantic_scores(fixture)
    assert set(found) == set(fixture.expected)
    for name, value in found.items():
        np.testing.assert_allclose(value, fixture.expected[name], rtol=fixture.about["rtol"], err_msg=name)


def semantic_scores(fixture):
    """Protocol C, by the names of the fixture; 15 real frames and five that pad."""
    logits = fixture.numbers("pred_classes", (20, 71, 16, 16))
    logits[:, 8:] -= 2.5
    label = ((fixture.numbers("label", (20, 16, 16)).abs() * 4).floor() % 71).long()
    label[fixture.numbers("label_background", (20, 16, 16)).abs() < 0.7] = 0
    logits.scatter_add_(1, label[:, None], torch.full((20, 1, 16, 16), 2.0))
    scores = ClassScores(71).update(frame_areas(logits[:15].argmax(1).numpy(), label[:15].numpy(), 71)).add_padded(5)
    iou, f, count = scores.per_class()
    iou, f = np.nan_to_num(iou), np.nan_to_num(f)
    found = {"avss_iou_sum": iou * count, "avss_f_sum": f * count, "avss_class_count": count}
    found |= {"avss_miou": scores.compute()["miou_avss"], "avss_f": scores.compute()["f_avss"]}
    return found | {"avss_miou_without_last_class": iou[:-1].mean(), "avss_f_without_last_class": f[:-1].mean()}


# What the key lists add to ours: copies of two stages, and what made the first release's masks.
COPIES, LEFT_OVER = 22_063_104, {1: 1_770_240 + 331_968, 71: 1_770_240 + 334_208}
TRAINABLE = {("r50", 1): 78_761_344, ("r50", 71): 78_765_824, ("pvt", 1): 113_912_320, ("pvt", 71): 113_916_800}
LISTS = ("r50_s4", "r50_avss", "pvt_s4", "pvt_avss", "first_r50_s4", "first_r50_avss", "first_pvt_s4", "first_pvt_avss",
         "robust_pvt_s4")  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_every_key_is_loaded_or_listed_as_dead(name):
    *variant, dataset = name.split("_")
    with torch.device("meta"):
        model = registry.build("-".join(["avsegformer", *variant]), dataset, "full", 224)
    keys = {key: value for key, value in key_lists("avsegformer")[f"avsegformer/{name}"].items()}
    first = variant[0] == "first"
    dead = [key for key in keys if any(re.fullmatch(p, key) for p in CARD.dead_parameters[: 1 if first else 2])]
    converted = model.convert_official(keys)
    assert {key: value.shape for key, value in converted.items()} == {
        key: value.shape for key, value in model.state_dict().items()
    }
    assert len(converted) == len(keys) - len(dead)
    copies = COPIES if variant[-1] == "r50" else 0
    count = sum(p.numel() for p in model.trainable_parameters())
    published = TRAINABLE[variant[-1], model.channels]
    generator = 6_385_152 if first else 0
    left_over = 0 if first else LEFT_OVER[model.channels]
    agreement = 256 * 512 + 512 if variant[0] == "robust" else 0
    assert count + copies + left_over + generator == published + agreement


def test_epsilons():
    """The vectors do not tell them apart."""
    for name in ("r50_s4", "pvt_s4"):
        model = full_size(Path(name))
        norms = [m for m in model.head.modules() if isinstance(m, (torch.nn.LayerNorm, torch.nn.GroupNorm))]
        assert {norm.eps for norm in norms} == {1e-5}
        assert {norm.num_groups for norm in norms if isinstance(norm, torch.nn.GroupNorm)} == {32}
        batch = [m for m in model.visual.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert {(norm.eps, norm.momentum) for norm in batch} <= {(1e-5, 0.1)}
    layers = [m for name, m in model.visual.named_modules() if isinstance(m, torch.nn.LayerNorm)]
    assert {norm.eps for norm in layers} == {1e-5, 1e-6}

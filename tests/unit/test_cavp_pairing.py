"""Pairs and bank of CAVP against cases worked out by hand, and what a resumed or divided training needs of them."""

import numpy as np
import pytest
import torch

from avsbench.contract import IGNORE
from avsbench.engine.distributed import launch
from avsbench.engine.seeds import rng_state, set_rng_state
from avsbench.errors import AvsbenchError
from avsbench.media.front_ends.cavp import log_mel
from tests.unit.cavp_parts import part

Pairing, SoundBank, image_classes = part("pairing").Pairing, part("bank").SoundBank, part("pairing").image_classes
RIGHT = [1, 0, 3, 2]
"""The order that gives each of four items the sound of its neighbour."""


def neighbours(count, device):
    return torch.tensor(RIGHT) if count == 4 else torch.arange(count)


def vectors(*labels, classes=4):
    """Items that show background and these classes."""
    found = torch.zeros(len(labels), classes, dtype=torch.bool)
    found[:, 0] = True
    for item, shown in enumerate(labels):
        found[item, list(shown)] = True
    return found


def sounds(*values):
    return torch.tensor([float(value) for value in values])[:, None, None, None].expand(-1, 1, 2, 3)


def levels(batch):
    return batch[:, 0, 0, 0].tolist()


ITEMS = sounds(10, 11, 12, 13), vectors({1}, {2}, {1}, {1, 3})


def filled(bank, *, batches=1, **options):
    """A pairing in its second epoch, after `batches` of class 1, 1, 2, 2."""
    pairing = Pairing(4, bank=bank, permutation=neighbours, **options)
    for number in range(batches):
        pairing(sounds(*range(20 * number + 1, 20 * number + 5)), vectors({1}, {1}, {2}, {2}))
    pairing.epoch = 1
    return pairing


def test_first_epoch_shuffles_and_overwrites_nothing():
    pairs = Pairing(4, rate=1.0, permutation=neighbours)(*ITEMS)
    assert levels(pairs.sounds) == [11, 10, 13, 12]
    assert pairs.match.tolist() == [False, False, False, False]
    same = Pairing(4, permutation=neighbours)(ITEMS[0], vectors({1}, {1}, {2}, set()))
    assert same.match.tolist() == [True, True, False, False]


def test_fixed_bank_gives_the_oldest_real_sound():
    # Bank: class 1 holds 1, 2 and class 2 holds 3, 4. All four are mismatches; the last shows two classes.
    pairs = filled("fixed", rate=1.0)(*ITEMS)
    assert pairs.match.tolist() == [True, True, True, False]
    assert levels(pairs.sounds) == [1, 3, 1, 12]


def test_reference_bank_gives_silence_until_it_is_full():
    pairs = filled("reference", rate=1.0)(*ITEMS)
    assert pairs.match.tolist() == [True, True, True, False]
    assert levels(pairs.sounds) == [-1, -1, -1, 12]
    # Two more batches: class 1 got 1, 2, 21, 22, 41, 42, of which four fit.
    assert levels(filled("reference", rate=1.0, batches=3)(*ITEMS).sounds) == [21, 23, 21, 12]
    assert levels(filled("fixed", rate=1.0, batches=3)(*ITEMS).sounds) == [21, 23, 21, 12]


def test_class_without_a_sound_stays_a_mismatch():
    unheard = ITEMS[0], vectors({3}, {2}, {1}, set())
    pairs = filled("fixed", rate=1.0)(*unheard)
    assert pairs.match.tolist() == [False, True, True, False]
    assert levels(pairs.sounds) == [11, 3, 1, 12]


@pytest.mark.parametrize(("rate", "match"), [(0.5, [True, True, False, False]), (0.74, [True, True, False, False])])
def test_share_is_rounded_down(rate, match):
    assert filled("fixed", rate=rate)(*ITEMS).match.tolist() == match


def test_label_only_keeps_the_foreign_sound():
    pairing = filled("label_only", rate=1.0)
    pairs = pairing(*ITEMS)
    assert pairs.sounds is None
    assert pairs.order.tolist() == RIGHT
    assert pairs.match.tolist() == [True, True, True, False]
    assert pairing.state() == {}
    full = vectors({1}, {2}, {1}, {1, 3})
    full[0, 0] = False  # its object fills the picture
    assert pairing(ITEMS[0], full).match.tolist() == [False, True, True, False]


def test_none_overwrites_nothing():
    pairing = filled("none", rate=1.0)
    pairs = pairing(*ITEMS)
    assert not pairs.match.any()
    assert levels(pairs.sounds) == [11, 10, 13, 12]
    assert pairing.state() == {}


def test_single_item_is_its_own_partner():
    pairs = Pairing(4)(sounds(5), vectors({1}))
    assert pairs.order.tolist() == [0]
    assert pairs.match.tolist() == [True]


def test_labels_of_a_mismatch_are_background_alone():
    masks = torch.tensor([[[0, 3], [IGNORE, 1]], [[2, 2], [0, IGNORE]]])
    pairs = part("pairing").Pairs(torch.tensor([1, 0]), torch.tensor([True, False]), None)
    assert pairs.labels(masks).tolist() == [[[0, 3], [IGNORE, 1]], [[0, 0], [0, 0]]]


def test_unknown_bank_lists_those_that_exist():
    with pytest.raises(AvsbenchError, match="label_only"):
        Pairing(4, bank="fix")


# a bank of mels


def test_silence_is_the_mel_of_zeros():
    assert (log_mel(np.zeros((1, 16000), np.float32), 96) == part("bank").SILENCE).all()
    assert (log_mel(np.zeros((2, 48000), np.float32), 300) == part("bank").SILENCE).all()


@pytest.mark.parametrize("kind", ["fixed", "reference"])
def test_bank_of_mels_is_a_bank_of_waveforms(kind):
    """Mel of what a bank of waveforms gives out = what a bank of mels gives out, bit for bit."""
    random = np.random.default_rng(0)
    waves, mels = (Pairing(4, bank=kind) for _ in range(2))
    for step in range(6):
        waves.epoch = mels.epoch = step
        batch = random.uniform(-1, 1, (4, 1, 16000)).astype(np.float32)
        classes = vectors(*({int(label)} for label in random.integers(1, 4, 4)))
        # A published bank of waveforms starts with zeros where one of mels starts with -1.
        state = torch.get_rng_state()
        if waves.bank is None:
            waves.bank = SoundBank(torch.zeros(4, 4, 1, 16000), torch.zeros(4, dtype=torch.long))
        wave_pairs = waves(torch.from_numpy(batch), classes)
        torch.set_rng_state(state)
        mel_pairs = mels(torch.from_numpy(log_mel(batch, 96)), classes)
        assert torch.equal(wave_pairs.match, mel_pairs.match)
        assert torch.equal(torch.from_numpy(log_mel(wave_pairs.sounds.numpy(), 96)), mel_pairs.sounds)


# states


def steps(pairing, numbers):
    """Pairs of several steps, the batch of each decided by its number."""
    for number in numbers:
        generator = torch.Generator().manual_seed(number)
        batch = torch.rand(4, 1, 2, 3, generator=generator)
        labels = torch.randint(1, 4, (4,), generator=generator).tolist()
        pairing.epoch = number // 3
        yield pairing(batch, vectors(*({label} for label in labels)))


def test_resumed_pairs_are_the_same_bit_for_bit(tmp_path):
    torch.manual_seed(3)
    pairing = Pairing(4)
    list(steps(pairing, range(5)))
    torch.save({"bank": pairing.state(), "rng": rng_state()}, tmp_path / "state.pt")
    wanted = list(steps(pairing, range(5, 9)))
    torch.manual_seed(99)
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed = Pairing(4)
    resumed.load_state(saved["bank"])
    set_rng_state(saved["rng"])
    for found, expected in zip(steps(resumed, range(5, 9)), wanted, strict=True):
        assert torch.equal(found.sounds, expected.sounds)
        assert torch.equal(found.match, expected.match)
    assert torch.equal(resumed.bank.sounds, pairing.bank.sounds)


def test_loaded_state_is_a_copy():
    pairing = filled("fixed")
    other = Pairing(4)
    other.load_state(pairing.state())
    pairing(sounds(7, 7, 7, 7), vectors({1}, {1}, {1}, {1}))
    assert other.bank.stored.tolist() == [0, 2, 2, 0]
    other.load_state({})
    assert other.bank is None


def _process(group, device, folder):
    torch.manual_seed(group.rank)
    pairing = Pairing(4)
    model = torch.nn.Linear(1, 1)
    model.register_buffer("shared", torch.tensor(float(group.rank)))
    model.pairing = pairing
    wrapped = group.wrap(model, device)
    for pairs in steps(pairing, range(3 * group.rank, 3 * group.rank + 3)):
        wrapped(pairs.match[:, None].float()).sum().backward()
    torch.save({"bank": pairing.state(), "shared": model.shared}, f"{folder}/{group.rank}.pt")


def test_each_process_keeps_a_bank_of_its_own(tmp_path):
    """A buffer would be the first process's everywhere."""
    launch([torch.device("cpu")] * 2, _process, str(tmp_path))
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert [float(each["shared"]) for each in found] == [0.0, 0.0]
    for rank, each in enumerate(found):
        alone = Pairing(4)
        list(steps(alone, range(3 * rank, 3 * rank + 3)))
        assert torch.equal(each["bank"]["sounds"], alone.bank.sounds)
        assert torch.equal(each["bank"]["stored"], alone.bank.stored)


# classes of a picture

MASKS = torch.tensor([[[0, 2], [IGNORE, 1]], [[2, 2], [2, 2]], [[0, 0], [0, IGNORE]], [[IGNORE] * 2] * 2])


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("shown", [[1, 1, 1], [0, 0, 1], [1, 0, 0], [0, 0, 0]]),
        ("told", [[1, 1, 1], [1, 0, 1], [1, 0, 0], [1, 0, 0]]),
        ("sounding", [[0, 1], [0, 1], [1, 0], [1, 0]]),
        ("always", [[0, 1]] * 4),
    ],
)
def test_image_classes(rule, expected):
    assert image_classes(MASKS, 3, rule).int().tolist() == expected

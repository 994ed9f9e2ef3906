"""CED beside its vectors: tables of positions that fit other lengths, long sounds, what a file may hold."""

import pytest
import torch

from avsbench.errors import AvsbenchError
from avsbench.nn.ced import CED, LONGEST, Tagger, fit_positions


def small(longest=64):
    torch.manual_seed(0)
    return CED(width=16, depth=1, heads=2, longest=longest).eval()


def test_a_longer_table_is_cut_and_a_shorter_one_interpolated():
    table = torch.tensor([0.0, 1.0, 2.0, 3.0]).view(1, 1, 1, 4)
    assert torch.equal(fit_positions(table, (1, 3)), table[..., :3])
    # Halves of an unaligned axis: the ends repeat, places between are a quarter and three quarters.
    wanted = torch.tensor([0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0])
    torch.testing.assert_close(fit_positions(table, (1, 8)).flatten(), wanted)


@pytest.mark.parametrize("longest", [32, 128])
def test_a_file_with_another_table_loads(longest):
    source, target = small(longest), small()
    state = {
        **source.state_dict(),
        "outputlayer.1.bias": torch.zeros(3),
        "front_end.0.spectrogram.window": torch.ones(4),
    }
    target.load_pretrained(state)
    wanted = fit_positions(source.time_positions, (1, 4))
    assert torch.equal(target.time_positions, wanted)
    assert torch.equal(target.embed.weight, source.embed.weight)


def test_an_unknown_or_missing_tensor_is_named():
    with pytest.raises(AvsbenchError, match=r"1 unexpected: blocks\.7\.norm1\.weight"):
        small().load_pretrained({**small().state_dict(), "blocks.7.norm1.weight": torch.zeros(16)})
    state = small().state_dict()
    del state["norm.bias"]
    with pytest.raises(AvsbenchError, match=r"1 missing: norm\.bias"):
        small().load_pretrained(state)


@torch.no_grad()
def test_long_sounds_are_averaged_over_their_pieces():
    """Also where the last piece is a whole one; only there the released code drops it."""
    torch.manual_seed(0)
    tagger = Tagger(small(LONGEST), classes=3).eval()
    sound = torch.randn(1, 64, 2 * LONGEST)
    pieces = [tagger(piece) for piece in sound.split(LONGEST, dim=2)]
    torch.testing.assert_close(tagger(sound), torch.stack(pieces).mean(dim=0))
    assert not torch.allclose(pieces[0], pieces[1])


@torch.no_grad()
def test_tokens_go_band_by_band():
    """A change in the highest bands of the first 16 steps reaches the token of that patch before the blocks."""
    encoder = small()
    encoder.blocks = torch.nn.Identity()
    sound = torch.randn(1, 64, 64)
    other = sound.clone()
    other[:, 48:, :16] += 1
    changed = (encoder.tokens(sound) != encoder.tokens(other)).any(dim=2)[0].nonzero().flatten().tolist()
    assert changed == [12]
    assert encoder.count(70) == 16

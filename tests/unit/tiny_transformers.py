"""Tiny networks of the package transformers with random weights, in folders as published ones lie in."""

import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch

from avsbench import cards

transformers = pytest.importorskip("transformers", reason="the extra `sam` is not installed")
tokenizers = pytest.importorskip("tokenizers", reason="the extra `sam` is not installed")

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PIECES = [*LETTERS, *(f"##{letter}" for letter in LETTERS), ",", "(", ")", "-"]


def tiny_clap(folder: Path) -> None:
    """CLAP with 0.1 million weights; RoBERTa's tokeniser without merges, so that a token is a byte."""
    torch.manual_seed(0)
    text = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 64, "max_position_embeddings": 80}  # fmt: skip
    audio = {"patch_embeds_hidden_size": 8, "hidden_size": 64, "depths": [1, 1, 1, 1],
             "num_attention_heads": [1, 2, 2, 2]}  # fmt: skip
    network = transformers.ClapModel(
        transformers.ClapConfig(text_config=text, audio_config=audio, projection_dim=16)
    ).eval()
    _lively(network)
    network.config.save_pretrained(folder)
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())]
    transformers.RobertaTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]).save_pretrained(folder)


def tiny_grounding_dino(folder: Path) -> None:
    """Grounding DINO with 0.1 million weights and 20 queries; BERT's tokeniser of letters, its marks as published."""
    torch.manual_seed(0)
    swin = transformers.SwinConfig(
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )
    bert = transformers.BertConfig(
        vocab_size=1100, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64,
    )  # fmt: skip
    network = transformers.GroundingDinoForObjectDetection(
        transformers.GroundingDinoConfig(
            backbone_config=swin, text_config=bert, d_model=32, num_queries=20, encoder_layers=1, decoder_layers=2,
            encoder_ffn_dim=32, decoder_ffn_dim=32, encoder_attention_heads=4, decoder_attention_heads=4,
            max_text_len=64,
        )
    ).eval()  # fmt: skip
    _lively(network)
    network.save_pretrained(folder)
    marks = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
    free = (number for number in range(200, 1012))
    vocabulary = marks | {piece: next(free) for piece in PIECES}
    names = {number: piece for piece, number in vocabulary.items()}
    full = {names.get(number, f"[unused{number}]"): number for number in range(1030)}
    transformers.BertTokenizer(vocab=full, do_lower_case=True).save_pretrained(folder)


def _lively(network: torch.nn.Module) -> None:
    """Weights so large that what goes in is seen in what comes out."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape) * 1.5 * parameter[0].numel() ** -0.5)


def published_as(name: str, folder: Path) -> cards.EncoderCard:
    """The card of an encoder, whose published files would be those of `folder`."""
    card = cards.encoder(name)
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    small = {name: [0.1, digest] for name, digest in digests.items() if name != Path(card.file).name}
    return dataclasses.replace(card, sha256=digests[Path(card.file).name], beside=small)

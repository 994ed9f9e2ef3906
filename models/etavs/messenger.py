"""Messenger block of ETAVS: a few queries per modality carry messages between sound and picture, and through time.

Letters in shapes: F frames, P pixels of a map, C its channels, Q queries a modality, D = 128 their width, H heads.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsbench.nn.attention import Attention
from avsbench.nn.dropout import Dropout
from avsbench.nn.vggish import EMBEDDING

GROUP = 5
"""Frames whose messengers see each other. A video of 10 is two groups."""


class MessengerBlock(nn.Module):
    """Deliver messages per frame, fuse them over five frames and both modalities, receive those of the other one.

    Two of its attentions are bare: heads without a projection of their result.

    Args:
        channels: C.
        queries: Q.
        heads: H.
        dropout: of the fusion's attention weights and, as published, of whole sums: a share of the encoder's own
            features is zeroed too.
    """

    def __init__(self, channels: int, *, queries: int = 5, heads: int = 8, dropout: float = 0.1):
        super().__init__()
        width = EMBEDDING  # the received message is added to the embedding itself
        self.heads = heads
        self.queries = nn.Parameter(nn.init.xavier_uniform_(torch.empty(queries, width)))
        self.split_queries = nn.Linear(width, 2 * width)
        self.read_audio = nn.Linear(EMBEDDING, 2 * width)
        self.read_visual = nn.Linear(channels, 2 * width)
        # Keys and values are normalised together.
        self.audio_norm = nn.LayerNorm(2 * width)
        self.visual_norm = nn.LayerNorm(2 * width)
        self.fuse = Attention(width, heads=heads, dropout=dropout)
        self.audio_message = nn.Linear(width, 2 * width)
        self.visual_message = nn.Linear(width, 2 * width)
        self.audio_query = nn.Linear(EMBEDDING, width)
        self.visual_query = nn.Linear(channels, width)
        self.audio_output = nn.Linear(width, channels)
        self.visual_output = nn.Linear(width, channels)
        self.dropout = Dropout(dropout)

    def forward(self, sound: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings [F,1,128] and pixels [F,P,C], F a multiple of 5 -> [F,1,C], [F,P,C]."""
        audio, visual = self.deliver(sound, pixels)
        audio, visual = self.fuse_over_time(audio, visual)
        return self.receive(sound, pixels, audio, visual)

    def deliver(self, sound: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """What the messengers of each modality learn in their frame: both [F,Q,D]."""
        audio, visual = self.split_queries(self.queries).chunk(2, dim=-1)
        # The sound is one token, to which every query attends fully: no key is needed.
        heard = self.audio_norm(self.read_audio(sound)).chunk(2, dim=-1)[1]
        keys, values = self.visual_norm(self.read_visual(pixels)).chunk(2, dim=-1)
        seen = self.attend(visual.expand(len(pixels), -1, -1), keys, values)
        return heard + audio, seen + visual

    def fuse_over_time(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Self-attention over the 5 * 2 Q messengers of each group; no residual and no norm, as published."""
        together = torch.cat([audio, visual], dim=1)  # [F,2Q,D]
        groups = together.view(-1, GROUP * together.shape[1], together.shape[2])
        return self.fuse(groups, groups).view_as(together).chunk(2, dim=1)

    def receive(self, sound: Tensor, pixels: Tensor, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Each modality asks the messengers of the other: [F,1,C], [F,P,C]."""
        to_audio = self.attend(self.audio_query(sound), *self.visual_message(visual).chunk(2, dim=-1))
        to_visual = self.attend(self.visual_query(pixels), *self.audio_message(audio).chunk(2, dim=-1))
        return self.dropout(self.audio_output(to_audio + sound)), self.dropout(self.visual_output(to_visual) + pixels)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Bare multi-head attention, [F,·,D] each."""
        split = (x.unflatten(2, (self.heads, -1)).transpose(1, 2) for x in (query, key, value))
        return functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)

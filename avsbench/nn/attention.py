"""Multi-head attention (Vaswani et al., NeurIPS 2017), batch first.

Letters in shapes: N images, Q queries, K keys, C channels, M heads.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsbench.errors import AvsbenchError
from avsbench.nn.dropout import dropout as drop


class Attention(nn.Module):
    """Same function, initialisation and packed input projection as `torch.nn.MultiheadAttention`.

    A single key needs no attention: every query receives that key's value, which is then projected once.

    Args:
        width: C, of queries, keys, values and the result.
        heads: M.
        bias: of all four projections.
        dropout: share of the attention weights that are dropped in training.
    """

    def __init__(self, width: int = 256, *, heads: int = 8, bias: bool = True, dropout: float = 0.0):
        super().__init__()
        if width % heads:
            raise AvsbenchError("attention: width and heads do not fit", found=f"{width} / {heads}")
        self.heads, self.dropout = heads, dropout
        self.in_proj = nn.Linear(width, 3 * width, bias=bias)  # queries, keys, values
        self.out_proj = nn.Linear(width, width, bias=bias)
        nn.init.xavier_uniform_(self.in_proj.weight)
        if bias:
            nn.init.zeros_(self.in_proj.bias)
            nn.init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor | None = None,
        *,
        allowed: Tensor | None = None,
        with_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Attend from queries to keys; either side may have N = 1 and then serves all images of the other.

        Args:
            query: [N,Q,C].
            key: [N,K,C].
            value: [N,K,C]; default: the keys.
            allowed: bool, broadcast to [N,M,Q,K]: True where a query may look. Every query needs a key.
            with_weights: also return the weights, averaged over the heads; in training after their dropout.

        Returns:
            [N,Q,C]; with weights also [N,Q,K].
        """
        dropout = self.dropout if self.training else 0.0
        images = max(len(query), len(key))
        if key.shape[1] == 1 and not (dropout or with_weights) and allowed is None:
            values = self._project(key if value is None else value, 2, 3)
            return self.out_proj(values).expand(images, query.shape[1], -1)
        q, k, v = (self._split(part).expand(images, -1, -1, -1) for part in self._parts(query, key, value))
        # On a processor torch's own form is no better once it drops weights, and its random numbers cost more.
        if not with_weights and not (dropout and query.device.type == "cpu"):
            attended = functional.scaled_dot_product_attention(q, k, v, allowed, dropout)
            return self.out_proj(attended.transpose(1, 2).flatten(2))
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)
        if allowed is not None:
            scores = scores.masked_fill(~allowed, -torch.inf)
        weights = drop(scores.softmax(dim=-1), dropout)
        attended = self.out_proj((weights @ v).transpose(1, 2).flatten(2))
        return (attended, weights.mean(dim=1)) if with_weights else attended

    def _parts(self, query: Tensor, key: Tensor, value: Tensor | None) -> tuple[Tensor, ...]:
        """Projected queries, keys and values, [N,·,C] each: inputs that are one tensor share one product."""
        value = key if value is None else value
        if query is key and key is value:
            return self.in_proj(query).chunk(3, dim=-1)
        if query is key:
            return (*self._project(query, 0, 2).chunk(2, dim=-1), self._project(value, 2, 3))
        if key is value:
            return (self._project(query, 0, 1), *self._project(key, 1, 3).chunk(2, dim=-1))
        return self._project(query, 0, 1), self._project(key, 1, 2), self._project(value, 2, 3)

    def _project(self, x: Tensor, first: int, end: int) -> Tensor:
        """By some of the three thirds of the input projection."""
        width = self.in_proj.in_features
        rows = slice(first * width, end * width)
        bias = None if self.in_proj.bias is None else self.in_proj.bias[rows]
        return functional.linear(x, self.in_proj.weight[rows], bias)

    def _split(self, x: Tensor) -> Tensor:
        """[N,·,C] -> [N,M,·,C/M]."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

"""The generator `semantic_sam`: what Semantic-SAM finds under a grid of clicks; behind the published COMBO and NTAVS.

`network` and `decoder` are the network, `automatic` the generator of masks, `clean` its last step. `build` puts them
behind the interface of all generators.
"""

from avsbench.features.semantic_sam.generator import build

__all__ = ["build"]

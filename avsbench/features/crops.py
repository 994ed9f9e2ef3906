"""Pictures as CLIP's image tower takes them: of one size, normalised; and crops of what a mask shows.

Letters in shapes: F pictures, N masks, H W pixels, S side.
"""

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import center_crop, normalize, resize

from avsbench.contract import CLIP


def clip_pictures(images: Tensor, side: int) -> Tensor:
    """Pictures [F,3,H,W], float in 0..1 -> [F,3,S,S], normalised by CLIP's colours.

    The shorter side becomes S, and the middle is kept. Bicubic without antialias and without clamping: what torchvision
    did to tensors when AudioCLIP and Sam4AVS were written.
    """
    images = resize(images, [side], InterpolationMode.BICUBIC, antialias=False)
    return normalize(center_crop(images, [side, side]), *CLIP)


def masked_crops(picture: Tensor, masks: Tensor, side: int, edges: str = "fixed") -> tuple[Tensor, Tensor]:
    """What each mask shows of a picture, on black, as CLIP's image tower takes it.

    Args:
        picture: [3,H,W], float in 0..1.
        masks: bool [N,H,W].
        edges: `fixed`: a crop holds all of its mask. `reference`: without its last row and column, as published; a mask
            of one row or column then has no crop.

    Returns:
        Crops [n,3,S,S] of those masks that have one, and the numbers of these, int64 [n].
    """
    crops, kept = [], []
    for number, mask in enumerate(masks):
        rows, columns = (torch.nonzero(mask.any(dim=dim)).flatten().tolist() for dim in (1, 0))
        if not rows:
            continue
        (top, bottom), (left, right) = ((line[0], line[-1] + (edges == "fixed")) for line in (rows, columns))
        if bottom > top and right > left:
            crops.append(clip_pictures((picture * mask)[None, :, top:bottom, left:right], side))
            kept.append(number)
    crops = torch.cat(crops) if crops else picture.new_zeros(0, 3, side, side)
    return crops, torch.tensor(kept, dtype=torch.long, device=picture.device)

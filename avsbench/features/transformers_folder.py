"""Networks of the package `transformers`, from a folder of published files. An optional extra: avsbench[sam]."""

import sys
from typing import TYPE_CHECKING

import torch

from avsbench import cards
from avsbench.errors import AvsbenchError
from avsbench.nn.weights import check_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load(kind: str, encoder: str, file: str, device: str) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """A network in eval mode and its tokeniser; nothing is asked of the network.

    Args:
        kind: class of the package, as ClapModel.
        encoder: whose files these are.
        file: the large one; the others lie beside it.

    Raises:
        AvsbenchError: the package or files are missing, or are other ones than published, or hold not all weights.
    """
    try:
        import transformers
    except ModuleNotFoundError:
        raise AvsbenchError(
            f"{encoder} needs the package transformers, which is not installed",
            hint='pip install "avsbench[sam]", or choose another generator in the configuration: features.boxes',
        ) from None
    folder = check_folder(cards.encoder(encoder), file)
    if not sys.stderr.isatty():
        transformers.utils.logging.disable_progress_bar()
    network, about = getattr(transformers, kind).from_pretrained(
        folder, local_files_only=True, output_loading_info=True, dtype=torch.float32
    )
    if about["missing_keys"]:
        raise AvsbenchError(
            f"{file}: does not hold all weights of {kind}",
            found=f"{len(about['missing_keys'])} tensors are missing, {', '.join(sorted(about['missing_keys'])[:3])} …",
            hint=f"transformers {transformers.__version__} may have changed the network; try the version before",
        )
    return network.eval().to(device), transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)

"""The log-mel that VGGish was trained on, as AVSBench and most methods on it compute it."""

from avsbench.media.vggish_mel import VGGISH, front_end

FRONT_ENDS = [front_end("vggish_mel", VGGISH)]

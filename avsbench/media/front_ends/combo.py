"""`audio.pkl` of COMBO (Yang et al., CVPR 2024), which NTAVS reads for AVSS too: the recipe of VGGish."""

from avsbench.media.vggish_mel import VGGISH, front_end

FRONT_ENDS = [front_end("combo_mel", VGGISH)]

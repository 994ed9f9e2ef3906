"""The multi-resolution log-mel of NTAVS (`audio_<window>_96_new_scale.pkl`).

The number in a name is the window in samples; bands, steps and hop are the same for all three, so the three arrays have
one shape and their steps begin together. With 256 samples the lowest band holds no bin of the transform: it is the
constant ln 0.01.
"""

from avsbench.media.vggish_mel import Recipe, front_end

FRONT_ENDS = [front_end(f"msai_{window}", Recipe(window, window, 0.0, 8000.0)) for window in (256, 512, 1024)]

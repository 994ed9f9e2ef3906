"""VPO-style data sets, built from COCO and VGGSound.

VPO ("visual post-production") pairs a still image and the mask of some of its objects with sounds of the same classes
from elsewhere. Its construction was described and never published as code; this package follows the description in
three steps, each a rule of the workflow and a verb:

1. `find_candidates` (`avsbench vpo-candidates`): the annotations of COCO that may sound;
2. `find_sounds` (`avsbench vpo-audio-pool`): the clips of VGGSound that may stand for each class;
3. `build` (`avsbench vpo-build`): `vpo_ss` one object a row; `vpo_ms` several classes in an image, of which some sound;
   `vpo_msmi` these and images with several instances of a class, told apart by their place in the stereo field.

The result has the layout of the release, and so the same reader, but another name (`vpo_ss_rebuilt` …), which keeps it
out of the rows of the released sets. `check_set` (`avsbench check-vpo`) tests any of them.

Our own choices, where the description is silent: COCO's train and val images, and VGGSound's train and test clips,
become train and test; an object is alone of its class when no other annotation of it, however small, is in the image;
every non-empty subset of the objects is equally likely to sound; the sound comes from the centre of the bounding box.
"""

from avsbench.datasets.vpo_build.audio_pool import find_sounds
from avsbench.datasets.vpo_build.build import build
from avsbench.datasets.vpo_build.candidates import find_candidates
from avsbench.datasets.vpo_build.check import check_set
from avsbench.datasets.vpo_build.layout import Kind
from avsbench.datasets.vpo_build.sources import Sources

__all__ = ["Kind", "Sources", "build", "check_set", "find_candidates", "find_sounds"]

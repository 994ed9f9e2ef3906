"""Verb for a video of one's own."""

import json
import logging
from pathlib import Path

from avsbench.cli.common import Verbs, plan_of

log = logging.getLogger("avsbench")


def register(verbs: Verbs) -> None:
    added = verbs.verb("predict-video", predict_video, "masks and an overlay video for a video of your own")
    added.add_argument("file", help="the video: mp4, mov, mkv, webm, avi …")
    added.add_argument("--checkpoint", required=True, metavar="RUN", help="folder of a run")
    added.add_argument("--out", metavar="DIR", help="default: <name of the video>.<variant> in this folder")
    added.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    added.add_argument("--alpha", type=_share, default=0.5, help="share of the colour, 0 to 1 (default %(default)s)")
    added.add_argument("--threshold", type=float, help="probability above which a pixel sounds (binary data sets)")
    added.add_argument("--features", type=json.loads, help="what makes features, as JSON (default: as for training)")
    added.add_argument("--need-sound", action="store_true", help="refuse a video without a sound track")


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(text)
    return value


def predict_video(args) -> None:
    from avsbench.engine.video import load_run
    from avsbench.engine.video import predict_video as predict
    from avsbench.media.video_stream import duration
    from avsbench.paths import VideoPaths
    from avsbench.report.overlay import draw_overlay

    duration(args.file)  # says what is wrong with the file before the network is loaded
    root = plan_of(args).paths.weights_root if Path(args.config).is_file() else args.weights_root
    model = load_run(args.checkpoint, device=args.device, weights_root=root, features=args.features)
    out = VideoPaths(args.out or f"{Path(args.file).stem}.{model.variant.name}")
    seconds = predict(model, args.file, out, threshold=args.threshold, need_sound=args.need_sound)
    draw_overlay(args.file, out, seconds, model.classes, alpha=args.alpha)
    log.info("written: %s, %s and %s (%d seconds)", out.overlay, out.masks, out.table, seconds)

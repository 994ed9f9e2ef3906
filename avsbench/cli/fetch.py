"""The verb `fetch-videos`: raw videos by clip id, where only the tables are at hand."""

from pathlib import Path

from avsbench.cli.common import Verbs

DATASETS = ("s4", "vggsound")


def register(verbs: Verbs) -> None:
    added = verbs.verb("fetch-videos", fetch_videos, "fetch and cut raw videos by clip id; lists those that vanished")
    added.add_argument("--dataset", required=True, choices=DATASETS)
    added.add_argument("--csv", required=True, help="s4_meta_data.csv or vggsound.csv, or some rows of it")
    added.add_argument("--out", required=True, help="folder of the clips, e.g. Single-source/s4_data/raw_videos")
    added.add_argument("--jobs", type=int, default=1, help="videos at a time (default %(default)s)")
    added.add_argument("--sound-only", action="store_true", help="wav files in place of videos, as VPO reads them")
    added.add_argument("--again", action="store_true", help="also ask for videos that had vanished")


def fetch_videos(args) -> int:
    from avsbench.datasets import fetch_videos as videos

    clips = videos.wanted_clips(args.dataset, args.csv)
    out, seconds = Path(args.out), videos.SECONDS[args.dataset]
    options = {"jobs": args.jobs, "again": args.again, "sound_only": args.sound_only}
    there, lost = videos.fetch(clips, out, seconds, videos.youtube(), **options)
    print(f"{there} of {len(clips)} clips in {out}")
    if lost:
        print(f"{len(lost)} missing, with reasons: {out / 'not_fetched.csv'}")
    return 1 if lost else 0

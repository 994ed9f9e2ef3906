"""Verbs that make data: from a download to shards, index and front ends."""

import json
import os
from pathlib import Path

from avsbench import cards, devices
from avsbench.cli.common import SPLITS, Verbs, plan_of
from avsbench.features import MASKIGE


def register(verbs: Verbs) -> None:
    added = verbs.of_dataset("acquire", acquire, "find or render a data set in its official layout")
    added.add_argument("--root", help="folder or archive of the released data, or a folder of archives")
    added.add_argument("--mirrors", type=json.loads, help="files to download as JSON (default: the configuration)")
    added.add_argument("--threads", type=int, default=1)
    verbs.of_dataset("manifests", manifests, "share the clips of a data set out to shards")
    verbs.of_shard("extract", extract, "frames, masks and sound of one shard")
    verbs.of_shard("native", native, "original pictures of one shard, for methods that ask for them")
    added = verbs.of_dataset("index", index, "table of a split: a row per clip")
    added.add_argument("--split", required=True, choices=SPLITS)
    added = verbs.of_dataset("negatives", negatives, "whose sound a clip gets from outside its picture")
    added.add_argument("--split", required=True, choices=SPLITS)
    added = verbs.of_dataset("check-split", check_split, "refuse a split that lacks clips")
    added.add_argument("--split", required=True, choices=SPLITS)
    added.add_argument("--allow-incomplete", action="store_true", help="accept a split with faulty clips")
    added = verbs.of_shard("features", features, "what a generator derives of the clips of one shard")
    added.add_argument("--feature", default=MASKIGE)
    added.add_argument("--settings", type=json.loads, default={}, help="generator, options, weights as JSON, laid over")
    added.add_argument("--device", choices=devices.CHOICES, help="default: the configuration's")
    added = verbs.of_shard("audio", audio, "front ends of one shard")
    added.add_argument("--front-end", required=True, action="append", help="again for each front end")
    added.add_argument("--threads", type=int, default=1)


def acquire(args) -> None:
    from avsbench import datasets

    plan = plan_of(args)
    card = cards.dataset(args.dataset)
    datasets.acquire(
        card,
        scale=plan.scale,
        root=args.root or plan.root(card.name),
        out=plan.paths,
        workers=args.threads,
        mirrors=args.mirrors or plan.mirrors(card.name),
    )


def manifests(args) -> None:
    from avsbench.store.manifest import write_dataset_manifests

    plan = plan_of(args)
    write_dataset_manifests(cards.dataset(args.dataset), plan.paths)


def extract(args) -> None:
    from avsbench.datasets import space
    from avsbench.store.extract import extract_shard

    plan, place, job = _shard_job(args)
    space.before_extract(job["card"], plan)
    extract_shard(**job, image_size=plan.image_size, out=plan.paths.shard(*place), faults_out=plan.paths.faults(*place))


def native(args) -> None:
    from avsbench.datasets import space
    from avsbench.store.native import native_shard

    plan, place, job = _shard_job(args)
    space.before_native(job["card"], plan)
    native_shard(**job, out=plan.paths.native(*place))


def _shard_job(args) -> tuple:
    """The plan, the place of a shard in it, and what every job takes that reads the official files of a shard."""
    from avsbench import datasets

    plan = plan_of(args)
    card = cards.dataset(args.dataset)
    shards = plan.shard_count(card.name, args.split)
    place = (card.name, args.split, args.shard, shards)
    job = {
        "card": card,
        "scale": plan.scale,
        "reader": datasets.reader(card, Path(plan.paths.official(card.name))),
        "manifest_path": plan.paths.manifest(*place),
        "split": args.split,
        "shard": args.shard,
        "shards": shards,
    }
    return plan, place, job


def index(args) -> None:
    from avsbench.store.index import build_index

    plan = plan_of(args)
    build_index(card=cards.dataset(args.dataset), scale=plan.scale, split=args.split, paths=plan.paths)


def negatives(args) -> None:
    from avsbench.store.offscreen import write_negatives

    write_negatives(cards.dataset(args.dataset), args.split, plan_of(args).paths)


def check_split(args) -> None:
    from avsbench.store.complete import check_split

    plan = plan_of(args)
    check_split(
        card=cards.dataset(args.dataset),
        scale=plan.scale,
        split=args.split,
        paths=plan.paths,
        allow_incomplete=args.allow_incomplete,
    )


def audio(args) -> None:
    from avsbench.datasets import space
    from avsbench.media.front_ends import FRONT_ENDS
    from avsbench.store.audio import audio_shard

    plan = plan_of(args)
    card = cards.dataset(args.dataset)
    ends = [FRONT_ENDS[name] for name in args.front_end if name in FRONT_ENDS]  # audio_shard names the unknown ones
    space.before_audio(card, plan, {end.name: end.frame_shape(still=card.frames == 1) for end in ends})
    place = (args.split, args.shard, plan.shard_count(card.name, args.split))
    audio_shard(
        card=card,
        shard_path=plan.paths.shard(card.name, *place),
        outs={name: plan.paths.audio(card.name, name, *place) for name in args.front_end},
        threads=args.threads,
    )


def features(args) -> None:
    from avsbench.datasets import space
    from avsbench.features.settings import resolve
    from avsbench.store.features import feature_shard

    plan = plan_of(args)
    card = cards.dataset(args.dataset)
    setting = resolve(args.feature, plan.paths, plan.config.get("features", {}).get(args.feature, {}), args.settings)
    space.before_features(card, plan, setting, args.split)
    place = (args.split, args.shard, plan.shard_count(card.name, args.split))
    native = setting.pictures == "native" and not card.native
    choice = args.device or os.environ.get(devices.VARIABLE) or plan.config.get("device", "auto")
    gpus = int(setting.gpu(plan.scale))
    if not gpus:
        choice = "cpu"  # also with `device: cuda`: it would wait for a GPU and leave it idle
    with devices.lease(gpus, choice, required=plan.scale != "mini") as leased:
        feature_shard(
            card=card,
            setting=setting,
            shard_path=plan.paths.shard(card.name, *place),
            native_path=plan.paths.native(card.name, *place) if native else None,
            audio_paths={name: plan.paths.audio(card.name, name, *place) for name in setting.card.front_ends},
            out=plan.paths.features(card.name, setting.stored, *place),
            report_out=plan.paths.feature_report(card.name, setting.stored, *place),
            masks_out=plan.paths.feature_masks(card.name, setting.stored, *place),
            device=str(leased[0]),
        )

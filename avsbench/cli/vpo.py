"""Verbs that build VPO-style sets from COCO and VGGSound, and the one that checks such a set."""

import json
from pathlib import Path

from avsbench import cards
from avsbench.cli.common import Verbs, config_overrides, plan_of
from avsbench.config import load_config
from avsbench.errors import AvsbenchError
from avsbench.plan import Plan


def register(verbs: Verbs) -> None:
    added = verbs.verb("vpo-mini-sources", mini_sources, "render the pictures and sounds that mini builds from")
    added.add_argument("--threads", type=int, default=1)
    _of_sources(verbs, "vpo-candidates", candidates, "annotations of COCO that may sound")
    _of_sources(verbs, "vpo-audio-pool", audio_pool, "clips of VGGSound for each class")
    added = _of_sources(verbs, "vpo-build", build, "one VPO-style set, in the layout of the release")
    added.add_argument("--dataset", required=True)
    added = verbs.of_dataset("check-vpo", check, "do rows, pictures, masks and sounds of a VPO set agree?")
    added.add_argument("--root", help="top folder (default: where `acquire` puts it)")
    added.add_argument("--threads", type=int, default=1)


def _of_sources(verbs: Verbs, name: str, run, text: str):
    added = verbs.verb(name, run, text)
    added.add_argument("--sources", type=json.loads, help="vpo_sources as JSON, laid over the configuration")
    added.add_argument("--threads", type=int, default=1)
    return added


def mini_sources(args) -> None:
    from avsbench.datasets.vpo_build.mini_sources import render_sources

    render_sources(Path(plan_of(args).paths.vpo_sources()), workers=args.threads)


def candidates(args) -> None:
    from avsbench.atomic import atomic
    from avsbench.datasets.vpo_build.candidates import find_candidates

    plan, sources = _plan_and_sources(args, "coco")
    with atomic(plan.paths.vpo_candidates()) as temporary:
        find_candidates(sources.coco, sources.masks, sources.area).to_parquet(temporary, index=False)


def audio_pool(args) -> None:
    from avsbench.atomic import atomic
    from avsbench.datasets.vpo_build.audio_pool import find_sounds

    plan, sources = _plan_and_sources(args, "vggsound")
    pool, dropped = find_sounds(sources.vggsound, args.threads)
    with atomic(plan.paths.vpo_dropped_audio()) as temporary:
        dropped.to_csv(temporary, index=False)
    with atomic(plan.paths.vpo_audio_pool()) as temporary:
        pool.to_parquet(temporary, index=False)


def build(args) -> None:
    from avsbench.datasets.vpo_build.build import build as build_set
    from avsbench.datasets.vpo_build.layout import Kind

    plan, sources = _plan_and_sources(args, "coco", "vggsound")
    card, paths = cards.dataset(args.dataset), plan.paths
    if card.construction != "vpo":
        raise AvsbenchError(
            f"{card.name}: not a data set that is built",
            expected=", ".join(name for name, other in cards.dataset_cards().items() if other.construction == "vpo"),
        )
    kind = Kind.of(card.name)
    build_set(
        kind,
        card.name,
        Path(paths.vpo_built(card.name)),
        sources=sources,
        candidates=_read(paths.vpo_candidates(), "vpo-candidates"),
        pool=_read(paths.vpo_audio_pool(), "vpo-audio-pool"),
        ms_root=Path(paths.vpo_built(kind.ms_of(card.name))),
        workers=args.threads,
    )


def check(args) -> None:
    from avsbench.datasets.vpo_build.check import check_set
    from avsbench.datasets.vpo_build.layout import Kind

    plan = plan_of(args)
    card = cards.dataset(args.dataset)
    root = Path(args.root or plan.paths.official(card.name))
    found = check_set(root, Kind.of(card.name), args.threads)
    print(f"{card.name}: {found.images} images, {found.rows} rows, {found.clips} clips agree")


def _plan_and_sources(args, *needed: str):
    """The plan, and the settings of the construction: `--sources` laid over the configuration."""
    from avsbench.datasets.vpo_build.sources import Sources

    overrides = {**config_overrides(args), "vpo_sources": args.sources or {}}
    plan = Plan(load_config(args.config, overrides))
    return plan, Sources.of(json.loads(plan.vpo_sources()), needed)


def _read(path: str, verb: str):
    import pandas as pd

    if not Path(path).is_file():
        raise AvsbenchError(f"{path}: no such table", hint=f"`avsbench {verb}` writes it")
    return pd.read_parquet(path)

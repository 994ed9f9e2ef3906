"""`avsbench <verb>`: each workflow rule calls one verb, so every stage also runs without Snakemake.

Verbs import what they need when they run: `avsbench list` must not pay for torch.
"""

import argparse
import json
import logging
import sys
import traceback
from pathlib import Path

from avsbench import cards
from avsbench.errors import AvsbenchError
from avsbench.plan import UNTRAINED, Plan, load_config

log = logging.getLogger("avsbench")


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run one verb. Exit codes: 0 done, 1 unexpected failure, 2 a mendable problem."""
    arguments = _parser().parse_args(argv)
    _set_up_logging(arguments.log)
    try:
        return arguments.run(arguments) or 0
    except AvsbenchError as error:
        log.error("%s", error)
        return 2
    except KeyboardInterrupt:
        log.error("interrupted; the same command continues")
        return 130
    except OSError as error:
        if error.errno == 28:  # no space left on device
            log.error("the disk is full: %s\n  next:     free space and run the same command again", error)
            return 2
        log.error("%s\n%s", error, traceback.format_exc())
        return 1
    except Exception as error:
        log.error("unexpected: %s: %s\n%s", type(error).__name__, error, traceback.format_exc())
        return 1


# verbs, in the order of the data


def acquire(args) -> None:
    from avsbench import datasets

    plan = _plan(args)
    card = cards.dataset(args.dataset)
    datasets.acquire(
        card, scale=plan.scale, root=args.root or plan.root(card.name), out=plan.paths, workers=args.threads
    )


def manifests(args) -> None:
    from avsbench.store.manifest import write_dataset_manifests

    plan = _plan(args)
    write_dataset_manifests(cards.dataset(args.dataset), plan.paths)


def extract(args) -> None:
    from avsbench import datasets
    from avsbench.store.extract import extract_shard

    plan = _plan(args)
    card = cards.dataset(args.dataset)
    place = (card.name, args.split, args.shard, plan.shard_count(card.name, args.split))
    extract_shard(
        card=card,
        scale=plan.scale,
        image_size=plan.image_size,
        reader=datasets.reader(card, Path(plan.paths.official(card.name))),
        manifest_path=plan.paths.manifest(*place),
        out=plan.paths.shard(*place),
        faults_out=plan.paths.faults(*place),
        split=args.split,
        shard=args.shard,
        shards=place[-1],
    )


def index(args) -> None:
    from avsbench.store.index import build_index

    plan = _plan(args)
    build_index(
        card=cards.dataset(args.dataset),
        scale=plan.scale,
        split=args.split,
        paths=plan.paths,
        allow_incomplete=args.allow_incomplete,
    )


def audio(args) -> None:
    from avsbench.store.audio import audio_shard

    plan = _plan(args)
    card = cards.dataset(args.dataset)
    place = (args.split, args.shard, plan.shard_count(card.name, args.split))
    audio_shard(
        card=card,
        front_end=args.front_end,
        shard_path=plan.paths.shard(card.name, *place),
        out=plan.paths.audio(card.name, args.front_end, *place),
    )


def fetch_weights(args) -> None:
    from avsbench.nn.weights import fetch

    fetch(args.file, _plan(args).paths)


def pretrain_mini(args) -> None:
    from avsbench.engine.pretrain import pretrain_stand_in
    from avsbench.workflow import PRETRAIN_DATASETS

    plan = _plan(args)
    pretrain_stand_in(
        encoder=cards.encoder(args.encoder),
        paths=plan.paths,
        datasets=[cards.dataset(name) for name in PRETRAIN_DATASETS],
        out=plan.paths.stand_in(args.encoder),
    )


def train(args) -> None:
    from avsbench.engine.train import train_run

    train_run(_run_spec(args))


def official(args) -> None:
    from avsbench.engine.official import official_run

    args.seed = "official"
    official_run(_run_spec(args))


def describe(args) -> None:
    from avsbench.engine.official import describe_run

    args.seed = UNTRAINED
    describe_run(_run_spec(args))


def predict(args) -> None:
    from avsbench.engine.predict import predict_run

    predict_run(_run_spec(args), condition=args.condition)


def score(args) -> None:
    from avsbench.evaluation.score import score_run

    plan = _plan(args)
    score_run(plan.paths, args.dataset, args.variant, args.seed, condition=args.condition)


def leaderboard(args) -> None:
    from avsbench.report.stage import render

    config = json.loads(args.config_json) if args.config_json else load_config(args.config)
    plan = Plan(cards.merge(config, _config_overrides(args)))
    log.info("written: %s", render(plan, partial=args.partial))


# verbs for people


def list_all(args) -> None:
    """Print data sets and variants as two plain tables."""
    print("data sets")
    for card in cards.dataset_cards().values():
        print(f"  {card.name:8} {card.title}")
    print("variants")
    for name, variant in cards.variants().items():
        print(f"  {name:14} {', '.join(variant.datasets):16} {variant.method.title}")


def new_method(args) -> None:
    from avsbench.scaffold import new_method as create

    folder = create(args.name)
    print(f"written: {folder}\nnext: avsbench check-method {args.name}")


def check_method(args) -> int:
    from avsbench.contract_checks import check_method as check
    from avsbench.contract_checks import print_results

    return 0 if print_results(check(args.name)) else 1


def verify_weights(args) -> int:
    from avsbench.report.verify import verify_runs

    plan = _plan(args)
    return 0 if verify_runs(plan, args.dataset, args.variant, tolerance=args.tolerance) else 1


# plumbing


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="avsbench", description="Audio-visual segmentation, every stage one verb.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    shared = argparse.ArgumentParser(add_help=False)
    group = shared.add_argument_group("where and how large (defaults: the configuration)")
    group.add_argument("--config", default="config/config.yaml")
    group.add_argument("--scale", choices=cards.SCALES)
    group.add_argument("--image-size", type=int)
    group.add_argument("--data-root")
    group.add_argument("--results-root")
    group.add_argument("--weights-root")
    group.add_argument("--log", help="also write messages to this file")

    def verb(name, run, text, **options):
        added = verbs.add_parser(name, help=text, description=text, parents=[shared], **options)
        added.set_defaults(run=run)
        return added

    def of_dataset(name, run, text):
        added = verb(name, run, text)
        added.add_argument("--dataset", required=True)
        return added

    def of_shard(name, run, text):
        added = of_dataset(name, run, text)
        added.add_argument("--split", required=True, choices=("train", "val", "test"))
        added.add_argument("--shard", required=True, type=int)
        return added

    def of_run(name, run, text):
        added = of_dataset(name, run, text)
        added.add_argument("--variant", required=True)
        added.add_argument("--seed", default="0")
        added.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
        added.add_argument("--threads", type=int, default=1)
        added.add_argument("--code", help="source digest, when a workflow has computed it")
        added.add_argument("--recipe", help="resolved recipe as JSON (default: from the card)")
        return added

    added = of_dataset("acquire", acquire, "find or render a data set in its official layout")
    added.add_argument("--root", help="folder of the released data")
    added.add_argument("--threads", type=int, default=1)
    of_dataset("manifests", manifests, "share the clips of a data set out to shards")
    of_shard("extract", extract, "frames, masks and sound of one shard")
    added = of_dataset("index", index, "table of a split: a row per clip")
    added.add_argument("--split", required=True, choices=("train", "val", "test"))
    added.add_argument("--allow-incomplete", action="store_true", help="accept a split with faulty clips")
    added = of_shard("audio", audio, "one front end of one shard")
    added.add_argument("--front-end", required=True)
    added = verb("fetch-weights", fetch_weights, "download a published file, or say where to put it")
    added.add_argument("file")
    added = verb("pretrain-mini", pretrain_mini, "train the stand-in of a pretrained encoder on mini's training clips")
    added.add_argument("--encoder", required=True)
    of_run("train", train, "train one run, or continue it")
    of_run("official", official, "take the authors' checkpoint as a run")
    of_run("describe", describe, "write run.json of a method without training")
    added = of_run("predict", predict, "store the predictions of a run on the test split")
    added.add_argument("--condition", default="positive", choices=("positive",))
    added = of_run("score", score, "per-frame integers and every protocol of a stored prediction")
    added.add_argument("--condition", default="positive", choices=("positive",))
    added = verb("leaderboard", leaderboard, "write the leaderboard from complete runs")
    added.add_argument("--config-json", help="the effective configuration of a workflow")
    added.add_argument("--partial", action="store_true", help="write leaderboard.partial.md from what exists")

    verb("list", list_all, "data sets and variants that exist")
    added = verb("new-method", new_method, "start a method from models/_template")
    added.add_argument("name")
    added = verb("check-method", check_method, "run the contract tests on one method and explain what fails")
    added.add_argument("name")
    added = of_dataset(
        "verify-weights", verify_weights, "measured scores of official checkpoints against published ones"
    )
    added.add_argument("--variant", required=True)
    added.add_argument("--tolerance", type=float, default=0.5, help="points (default %(default)s)")
    return parser


def _config_overrides(args) -> dict:
    keys = ("scale", "image_size", "data_root", "results_root", "weights_root")
    return {key: getattr(args, key) for key in keys if getattr(args, key) is not None}


def _plan(args) -> Plan:
    return Plan(load_config(args.config, _config_overrides(args)))


def _run_spec(args):
    from avsbench import digest
    from avsbench.spec import RunSpec

    plan = _plan(args)
    variant = cards.variant(args.variant)
    stage = "train" if variant.method.trainable else "predict"
    return RunSpec(
        scale=plan.scale,
        dataset=args.dataset,
        variant=args.variant,
        seed=args.seed,
        recipe=json.loads(args.recipe) if args.recipe else plan.recipe(args.dataset, args.variant),
        image_size=plan.image_size,
        paths=plan.paths,
        threads=args.threads,
        device=args.device,
        code=args.code or digest.stage(stage, variant.method.name),
    )


def _set_up_logging(file: str | None) -> None:
    """Messages go to standard error, and with `--log` to a file that a failed job leaves behind."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if file:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(file, mode="w"))
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=handlers, force=True)


if __name__ == "__main__":
    sys.exit(main())

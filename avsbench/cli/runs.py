"""Verbs of a run: encoders, training, prediction, scores, leaderboard."""

import logging
from pathlib import Path

from avsbench import cards, digest
from avsbench.cli import external
from avsbench.cli.common import Verbs, plan_of, run_spec
from avsbench.conditions import CONDITIONS, REFERENCE
from avsbench.engine import trackers
from avsbench.errors import AvsbenchError
from avsbench.paths import EXTERNAL
from avsbench.plan import UNTRAINED
from avsbench.plan_front_ends import PRETRAIN_DATASETS

log = logging.getLogger("avsbench")

POSITIVE = "positive"
ENSEMBLE = {"alone": (True,), "too": (False, True)}
"""Value of `--ensemble` -> of what is predicted or scored in turn, whether it is the ensemble."""


def register(verbs: Verbs) -> None:
    added = verbs.verb("fetch-weights", fetch_weights, "download a published file, or say where to put it")
    added.add_argument("file")
    added = verbs.verb(
        "pretrain-mini", pretrain_mini, "train the stand-in of a pretrained encoder on mini's training clips"
    )
    added.add_argument("--encoder", required=True)
    added = verbs.of_run("train", train, "train one run, or continue it")
    added.add_argument("--processes", type=int, help="of a training on the CPU (on GPUs there is one for each)")
    added.add_argument("--save-every", type=float, metavar="SECONDS", help="between resume states (default 300)")
    added.add_argument("--restart", action="store_true", help="forget the state of an interrupted training of this run")
    added.add_argument("--tracker", choices=trackers.NAMES, help="show the training log there too")
    verbs.of_run("official", official, "take the authors' checkpoint as a run")
    verbs.of_run("describe", describe, "write run.json of a method without training")
    added = verbs.of_run("predict", predict, "store the predictions of a run on the test split")
    _add_conditions(added)
    _add_ensemble(added, "of the best epochs together, where the recipe says keep_best")
    added = verbs.of_run("score", score, "per-frame integers and every protocol of a prediction", needed=False)
    external.add_options(added)
    _add_conditions(added)
    _add_ensemble(added, "what predict --ensemble stored")
    pages = [verbs.verb("leaderboard", leaderboard, "write the leaderboard from complete runs")]
    pages.append(verbs.verb("study", leaderboard, "write the page of a study from complete runs"))
    pages[1].add_argument("study", help="as `avsbench list` prints it")
    for added in pages:
        added.add_argument("--config-json", help="the effective configuration of a workflow")
        added.add_argument("--partial", action="store_true", help="write <page>.partial.md from what exists")


def _add_conditions(added) -> None:
    names = [POSITIVE, *(f"{name}{end}" for end in ("", REFERENCE) for name in CONDITIONS)]
    added.add_argument(
        "--condition", action="append", choices=names, help="again for each; default: the sound of the clips"
    )


def _add_ensemble(added, text: str) -> None:
    text += "; too: after the best one alone"
    added.add_argument("--ensemble", nargs="?", const="alone", choices=ENSEMBLE, help=text)


def fetch_weights(args) -> None:
    from avsbench.nn.weights import fetch

    fetch(args.file, plan_of(args).paths)


def pretrain_mini(args) -> None:
    from avsbench.engine.pretrain import pretrain_stand_in

    plan = plan_of(args)
    pretrain_stand_in(
        encoder=cards.encoder(args.encoder),
        paths=plan.paths,
        datasets=[cards.dataset(name) for name in PRETRAIN_DATASETS],
        out=plan.paths.stand_in(args.encoder),
    )


def train(args) -> None:
    from avsbench.engine.signals import ignore_stop_signals
    from avsbench.engine.train import train_run
    from avsbench.store.complete import require_complete

    spec = run_spec(args)
    require_complete(spec.paths, args.dataset, ("val", "test"))
    train_run(spec)
    ignore_stop_signals()  # the outputs are there and the state is gone


def official(args) -> None:
    from avsbench.engine.official import official_run

    args.seed = "official"
    official_run(run_spec(args))


def describe(args) -> None:
    from avsbench.engine.official import describe_run

    args.seed = UNTRAINED
    describe_run(run_spec(args))


def predict(args) -> None:
    from avsbench.engine.conditions import predict_conditions
    from avsbench.engine.predict import predict_run
    from avsbench.store.complete import require_complete

    spec = run_spec(args)
    require_complete(spec.paths, args.dataset, ("test",))
    asked = args.condition or [POSITIVE]
    negatives = [condition for condition in asked if condition != POSITIVE]
    for ensemble in ENSEMBLE.get(args.ensemble, (False,)):
        if POSITIVE in asked:
            predict_run(spec, ensemble=ensemble)
        predict_conditions(spec, negatives, ensemble)


def score(args) -> None:
    if args.predictions:
        external.score(args)
        return
    if args.variant == EXTERNAL:
        from avsbench.evaluation.external import score_again

        score_again(plan_of(args).paths, args.dataset, args.seed, args.code or digest.stage("score"))
        return
    if not args.variant:
        raise AvsbenchError("nothing to score", expected="--variant of a run of ours, or --predictions of others")
    from avsbench.evaluation.score import score_run

    run = (args.dataset, args.variant, args.seed)
    for ensemble in ENSEMBLE.get(args.ensemble, (False,)):
        for condition in args.condition or [POSITIVE]:
            score_run(plan_of(args).paths, *run, condition=condition, ensemble=ensemble)


def leaderboard(args) -> None:
    from avsbench.report.stage import render

    study = {"study": args.study} if "study" in args else {}
    page = render(plan_of(args, **study), partial=args.partial)
    beside = " and .html, which a browser opens from disk" if Path(page).with_suffix(".html").is_file() else ""
    log.info("written: %s%s", page, beside)

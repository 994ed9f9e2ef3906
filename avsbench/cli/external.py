"""Verbs about predictions that others made: `score --predictions` and `submit`."""

import argparse

from avsbench import cards, digest
from avsbench.cli.common import Verbs, plan_of
from avsbench.errors import AvsbenchError
from avsbench.paths import EXTERNAL


def register(verbs: Verbs) -> None:
    added = verbs.of_dataset("submit", submit, "add somebody's predictions to the leaderboard, or remove them")
    add_options(added)
    group = added.add_argument_group("what the maker declares")
    group.add_argument("--name", help="of the row")
    group.add_argument("--made-by", default="", help="who trained the model and predicted")
    group.add_argument("--paper", default="", help="where it is described")
    group.add_argument("--url", default="", help="of the paper or the code")
    group.add_argument("--note", default="", help="what else must be known: other training data, an ensemble …")
    group.add_argument("--setting", default="supervised", help="supervised (default) or zero-shot")
    group.add_argument(
        "--selected-on", default="not stated", help="split that chose the epoch: val, test, train, nothing"
    )
    added.add_argument("--remove", metavar="NAME", help="take this submission off the leaderboard")


def add_options(parser: argparse.ArgumentParser) -> None:
    """What scoring the predictions of others takes."""
    group = parser.add_argument_group(
        "predictions of others",
        "PNG masks named <clip>_<n>.png, <clip>/<n>.png, or <clip>.png where a clip is one frame, in any folders; "
        ".npy and .npz likewise, also <clip>.npy [T,h,w], and one .npz with a key a clip. S4 and MS3: 0/255, 0/1 or "
        "black and white. AVSS and VPO: class ids, or colours of the palette of AVSS.",
    )
    group.add_argument("--predictions", metavar="DIR", help="folder, or an .npz")
    group.add_argument("--out", help="folder for scores (default: DIR.scores)")
    group.add_argument("--probabilities", action="store_true", help="they are 0..1 (arrays, grey pictures), not masks")
    group.add_argument("--resize", action="store_true", help="bring other sizes to the ground truth's (nearest pixel)")
    group.add_argument("--first-frame", type=int, choices=(0, 1), help="number of a clip's first frame (default: seen)")
    group.add_argument(
        "--class-ids",
        default="list",
        choices=("list", "released"),
        help="places in the list of classes (default), or the numbers of released masks (VPO: COCO's)",
    )
    group.add_argument("--clips-per-call", type=int, action="append", default=[], metavar="K", help="of F (protocol B)")


def score(args):
    """Score, and print every metric; returns what was made."""
    from avsbench.evaluation.external import score_external
    from avsbench.evaluation.external_read import Form
    from avsbench.report.external import score_table

    plan, card = plan_of(args), cards.dataset(args.dataset)
    done = score_external(
        args.predictions,
        card=card,
        paths=plan.paths,
        out=args.out,
        form=Form(
            probabilities=args.probabilities,
            resize=args.resize,
            first_frame=args.first_frame,
            class_ids=args.class_ids,
        ),
        fscore_k=args.clips_per_call,
        code=digest.stage("score"),
    )
    row, resized = done.scores, done.record["resized_frames"]
    kind = "class ids" if card.task == "semantic" else "hard masks" if row["hard"] else "probabilities"
    size = " × ".join(map(str, reversed(row["size"]))) if row["size"] else "each clip's own size"
    print(f"{card.title}, scale {plan.scale}, test split: {row['clips']} clips, {row['frames']} frames, {size}, {kind}")
    if resized:
        print(f"resized: {resized} frames (nearest pixel)")
    table = score_table(card, row["values"], hard=row["hard"])
    print("", table.markdown(), "", *(f"- {note}" for note in table.notes), sep="\n")
    print(f"\nscores: {done.files.scores}\nper frame: {done.files.frames}")
    return done


def submit(args) -> None:
    from avsbench.evaluation.submissions import Source, withdraw
    from avsbench.evaluation.submissions import submit as add

    plan = plan_of(args)
    dataset = cards.dataset(args.dataset).name
    if args.remove:
        print(f"removed: {withdraw(plan.paths, dataset, args.remove)}")
    elif not (args.predictions and args.name):
        raise AvsbenchError(
            "nothing to submit",
            expected="--predictions DIR, --name NAME, --made-by, and --paper or --url; or --remove NAME",
        )
    else:
        declared = ("name", "made_by", "paper", "url", "note", "setting", "selected_on")
        source = Source(**{key: getattr(args, key) for key in declared})
        if source.name in cards.variants() or source.name == EXTERNAL:
            raise AvsbenchError(f"{source.name} is a variant of ours", hint="name the submission otherwise")
        print(f"submitted: {add(score(args).files, plan.paths, source).folder}")
    print("`snakemake --cores 8` (or `avsbench leaderboard`) renders the leaderboard")

"""Verbs for people: what exists, and help with a method of one's own."""

from avsbench import cards
from avsbench.cli.common import Verbs, plan_of
from avsbench.features import FEATURES, generators
from avsbench.study_cards import study, study_files


def register(verbs: Verbs) -> None:
    verbs.verb("list", list_all, "data sets, variants, generators of features and studies that exist")
    added = verbs.verb("new-method", new_method, "start a method from models/_template")
    added.add_argument("name")
    added = verbs.verb("check-method", check_method, "run the contract tests on one method and explain what fails")
    added.add_argument("name")
    added = verbs.of_dataset(
        "verify-weights", verify_weights, "measured scores of official checkpoints against published ones"
    )
    added.add_argument("--variant", required=True)
    added.add_argument("--tolerance", type=float, default=0.5, help="points (default %(default)s)")


def list_all(args) -> None:
    """Print data sets, variants, generators of features and studies as plain tables."""
    print("data sets")
    for card in cards.dataset_cards().values():
        print(f"  {card.name:17} {card.title}")
    print("variants")
    width = max(map(len, cards.variants()))
    for name, variant in cards.variants().items():
        print(f"  {name:{width}} {', '.join(variant.datasets):40} {variant.method.title}")
    for feature, made in FEATURES.items():
        print(f"generators of the feature {feature}: {made.array}")
        for name, generator in generators(feature).items():
            print(f"  {name:22} {generator.title}")
    print("studies")
    for name in study_files():
        print(f"  {name:22} {study(name).title}")


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

    plan = plan_of(args)
    return 0 if verify_runs(plan, args.dataset, args.variant, tolerance=args.tolerance) else 1

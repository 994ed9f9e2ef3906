"""The verb `clean`: what can be removed to make room."""

from avsbench import cards
from avsbench.cli.common import Verbs, plan_of


def register(verbs: Verbs) -> None:
    added = verbs.verb("clean", clean, "say what could be removed to make room; with --yes, remove it")
    added.add_argument("--data", action="store_true", help="also all data of the scale")
    added.add_argument("--features", action="store_true", help="also features that no run of the configuration sees")
    added.add_argument("--results", action="store_true", help="also all results of the scale")
    added.add_argument("--dataset", help="of data, features and results, only those of this data set")
    added.add_argument("--yes", action="store_true", help="remove what is listed")


def clean(args) -> None:
    from tabulate import tabulate

    from avsbench.clean import find, remove
    from avsbench.datasets.space import readable

    if args.dataset:
        cards.dataset(args.dataset)  # an unknown name is an error, not an empty list
    what = {"data": args.data, "features": args.features, "results": args.results}
    items = find(plan_of(args), **what, dataset=args.dataset)
    if not items:
        print("nothing to remove")
        return
    rows = [(item.what, item.path, readable(item.size)) for item in items]
    print(tabulate(rows, ["what", "path", "size"], colalign=("left", "left", "right")))
    if args.yes:
        print(f"\nremoved, {readable(remove(items))} freed")
    else:
        print(f"\n{readable(sum(item.size for item in items))}; nothing is removed without --yes")

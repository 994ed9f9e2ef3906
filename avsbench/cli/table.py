"""The verb that prints tables of the leaderboard."""

from avsbench.cli.common import Verbs, plan_of
from avsbench.closed_yaml import known
from avsbench.errors import AvsbenchError


def register(verbs: Verbs) -> None:
    added = verbs.verb("table", table, "print tables of the leaderboard for a paper or a spreadsheet")
    added.add_argument("--format", default="markdown", choices=("latex", "csv", "markdown"))
    added.add_argument("--dataset", help="default: all")
    added.add_argument(
        "--table", default="ranking", help="its title on the page, or all (default: ranking, the ranked one)"
    )
    added.add_argument("--study", help="of the page of a study, as `avsbench list` prints it")
    added.add_argument("--list", action="store_true", help="print what --table can name, and nothing else")


def table(args) -> None:
    from avsbench.report.formats import ALL, FORMATS, RANKING, choose, titles
    from avsbench.report.stage import sections

    study = {"study": args.study} if args.study else {}
    found = sections(plan_of(args, **study))
    if args.dataset:
        there = dict.fromkeys(section.dataset for section in found if section.dataset)
        known(args.dataset, there, "--dataset", "data set of the leaderboard")
    if args.table == RANKING and RANKING not in titles(found):
        study = f" --config study={args.study}" if args.study else ""
        raise AvsbenchError("no run is complete, so none is ranked", hint=f"snakemake --cores 8{study}")
    if not args.list:
        known(args.table, dict.fromkeys([*titles(found), ALL]), "--table", "table")
    chosen = choose(found, args.dataset, ALL if args.list else args.table)
    if args.list:
        print(*dict.fromkeys(each.title or RANKING for each, _ in chosen), sep="\n")
        return
    if not chosen:
        raise AvsbenchError(
            f"{args.dataset}: no table {args.table}", hint=f"avsbench table --dataset {args.dataset} --list says which"
        )
    print("\n\n".join(FORMATS[args.format](each, caption) for each, caption in chosen))

"""The verb that shows runs clip by clip."""

from avsbench import cards
from avsbench.cli.common import Verbs, plan_of
from avsbench.errors import AvsbenchError


def register(verbs: Verbs) -> None:
    added = verbs.verb("explore", explore, "write pages that show runs clip by clip: pictures, truth, sound, errors")
    added.add_argument(
        "runs", nargs="*", metavar="RUN_FOLDER", help="of a scored run, such as results/mini/ms3/tpavi-r50/0"
    )
    added.add_argument("--dataset", help="write only what the pages of this data set share")


def explore(args) -> None:
    from avsbench.report.explorer.build import explore
    from avsbench.report.explorer.links import refresh_links
    from avsbench.report.explorer.shared import share

    if bool(args.runs) == bool(args.dataset):
        raise AvsbenchError("nothing to show", expected="folders of runs, or --dataset and no folder")
    paths = plan_of(args).paths
    if args.dataset:
        share(cards.dataset(args.dataset), paths)
        print(f"written: {paths.explorer(args.dataset)}")
        return
    for folder in args.runs:
        print(f"written: {explore(folder, paths)}")
    linked = refresh_links(paths)
    print("open it in a browser, from disk" + (f"; {linked} links to it" if linked else ""))

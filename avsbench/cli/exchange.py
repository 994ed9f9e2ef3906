"""Verbs that exchange data with published code bases: `export` and `import`."""

from avsbench import cards
from avsbench.cli.common import SPLITS, Verbs, plan_of


def register(verbs: Verbs) -> None:
    added = verbs.of_dataset("export", export, "write the files that published code bases read")
    added.add_argument("--out", required=True, help="an empty folder, or one that an earlier export wrote")
    added.add_argument("--layout", choices=("official",), default="official")
    added.add_argument("--split", action="append", choices=SPLITS, help="again for each split (default: all)")
    added.add_argument("--what", default="frames,masks,wav,processed", help="also log_mel, msai, maskige")
    added.add_argument("--name", default="", help='which arrays: "released" for those imported under this name')
    added = verbs.of_dataset("import", import_, "take an author's released pickles or maskiges")
    added.add_argument("--from", dest="source", required=True, help="top folder of the official layout with the files")
    added.add_argument("--what", required=True, choices=("log_mel", "msai", "maskige"))
    added.add_argument("--split", action="append", choices=SPLITS, help="again for each split (default: all)")
    added.add_argument("--name", default="released", help="ends the names of the arrays: vggish_mel_released")
    added.add_argument("--allow-missing", action="store_true", help="leave out clips that lack a file")


def export(args) -> None:
    from avsbench.store.exchange.export import export as write

    plan = plan_of(args)
    write(
        card=cards.dataset(args.dataset),
        scale=plan.scale,
        paths=plan.paths,
        out=args.out,
        splits=_splits(args),
        what=tuple(args.what.split(",")),
        label=args.name,
    )


def import_(args) -> None:
    from avsbench.store.exchange.imports import import_released

    import_released(
        card=cards.dataset(args.dataset),
        paths=plan_of(args).paths,
        root=args.source,
        what=args.what,
        splits=_splits(args),
        label=args.name,
        allow_missing=args.allow_missing,
    )


def _splits(args) -> tuple[str, ...]:
    """In the usual order, each once."""
    return tuple(split for split in SPLITS if split in (args.split or SPLITS))

"""Verb that says what is installed, what is there, and what can run."""

from avsbench.cli.common import Verbs, config_overrides


def register(verbs: Verbs) -> None:
    added = verbs.verb("doctor", doctor, "what is installed, what is there, and what of the configuration can run now")
    added.add_argument("--json", action="store_true", help="for machines")


def doctor(args) -> int:
    from avsbench.doctor import as_json, as_text, diagnose, ready

    findings = diagnose(args.config, config_overrides(args))
    print(as_json(findings) if args.json else as_text(findings))
    return 0 if ready(findings) else 1

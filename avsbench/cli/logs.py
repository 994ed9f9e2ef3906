"""Verb for training logs."""

import logging
import os
from pathlib import Path

from avsbench.cli.common import Verbs, plan_of
from avsbench.engine.trackers import TRACKERS

log = logging.getLogger("avsbench")


def register(verbs: Verbs) -> None:
    added = verbs.verb("replay-log", replay_log, "show the log of a training in TensorBoard or Weights & Biases")
    added.add_argument("folder", metavar="RUN", help="folder of a run, finished or not")
    added.add_argument("--tracker", required=True, choices=tuple(TRACKERS))


def replay_log(args) -> None:
    from avsbench.engine.trainlog import replay

    paths, run = plan_of(args).paths, Path(args.folder)
    file, folder = paths.train_log("", "", ""), paths.tracker("", "", "", args.tracker)
    count = replay(run / os.path.basename(file), args.tracker, run / os.path.basename(folder))
    log.info("%s: %d lines passed on to %s", run, count, args.tracker)

"""`avsbench <verb>`: each workflow rule calls one verb, so every stage also runs without Snakemake.

Verbs import what they need when they run: `avsbench list` must not pay for torch.
"""

import argparse
import logging
import sys
import traceback
from pathlib import Path

from avsbench.cli import (
    compare,
    data,
    doctor,
    exchange,
    explore,
    external,
    fetch,
    figures,
    logs,
    people,
    runs,
    space,
    status,
    table,
    verify,
    video,
    vpo,
)
from avsbench.cli.common import Verbs
from avsbench.errors import AvsbenchError
from avsbench.running import sign_of_life

log = logging.getLogger("avsbench")
TOPICS = (
    doctor,
    status,
    table,
    figures,
    compare,
    explore,
    external,
    people,
    video,
    verify,
    space,
    exchange,
    logs,
    fetch,
    data,
    vpo,
    runs,
)
"""In the order in which `avsbench --help` lists their verbs: what people call, then the stages of the workflow."""


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run one verb. Exit codes: 0 done, 1 unexpected failure, 2 a mendable problem."""
    arguments = _parser().parse_args(argv)
    _set_up_logging(arguments.log)
    with sign_of_life(arguments.log):
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    try:
        return arguments.run(arguments) or 0
    except AvsbenchError as error:
        log.error("%s", error)
        return 2
    except BrokenPipeError:  # `avsbench list | head`
        sys.stderr.close()
        return 0
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="avsbench", description="Audio-visual segmentation, every stage one verb.")
    verbs = Verbs(parser)
    for topic in TOPICS:
        topic.register(verbs)
    return parser


def _set_up_logging(file: str | None) -> None:
    """Messages go to standard error, and with `--log` to a file that a failed job leaves behind."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if file:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(file, mode="w"))
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=handlers, force=True)

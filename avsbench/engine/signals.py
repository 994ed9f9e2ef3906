"""Leaving in good order when the process is told to stop."""

import signal
import threading


class StopSignals:
    """Notes SIGTERM and SIGINT instead of dying at once, so that a state can be saved.

    Machines repeat SIGTERM (a scheduler before its limit, then again at it), which must not break off the saving; a
    second SIGINT comes from an impatient person and ends the process the usual way. SIGKILL always does.

    Args:
        patient: ignore further SIGINTs too. In a group of processes each gets one twice: its own, and its parent's.
    """

    NUMBERS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, patient: bool = False):
        self.patient = patient
        self.caught = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            self._before = {number: signal.signal(number, self._note) for number in self.NUMBERS}
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame) -> None:
        if self.caught and number == signal.SIGINT and not self.patient:
            raise KeyboardInterrupt
        self.caught = self.caught or number


def ignore_stop_signals() -> None:
    """For the last moments of a process whose work is done: an exit code that says otherwise would undo it."""
    for number in StopSignals.NUMBERS:
        signal.signal(number, signal.SIG_IGN)

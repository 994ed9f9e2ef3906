"""Leaving in good order when the process is told to stop."""

import signal
import threading


class StopSignals:
    """Notes SIGTERM and SIGINT instead of dying at once; a second one ends the process the usual way.

    Args:
        patient: ignore further ones. In a group of processes each gets a signal twice: its own, and its parent's.
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
        if self.caught:
            if self.patient:
                return
            raise KeyboardInterrupt
        self.caught = number

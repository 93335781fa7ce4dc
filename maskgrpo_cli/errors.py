"""The errors that the command line turns into a message and an exit code."""


class UserError(Exception):
    """A mistake that the user can mend: bad value, missing file, no network. Exit code 2.

    The message names the key, the value and what to write instead; it is shown without a traceback.
    """


class RunFailed(Exception):
    """A run that started and could not go on, such as a loss that became NaN. Exit code 1."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, raised where a run can be left whole. Exit code 128 + the signal's number."""

    def __init__(self, signal_number: int, saved: str | None = None, run: str | None = None):
        super().__init__(signal_number)
        self.signal_number, self.saved, self.run = signal_number, saved, run

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.signal_number

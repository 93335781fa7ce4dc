"""The errors that the command line turns into a message and an exit code."""


class UserError(Exception):
    """A mistake that the user can mend: bad value, missing file, no network. Exit code 2.

    The message names the key, the value and what to write instead; it is shown without a traceback.
    """


class RunFailed(Exception):
    """A run that started and could not go on, such as a loss that became NaN. Exit code 1."""


class Stopped(RunFailed):
    """A run that cannot go on but is whole, so that it is saved first. Exit code 1.

    Such as one whose reward server answers nonsense, or stays away where the recipe says to stop then.
    """

    def __init__(self, why: str, saved: str | None = None, resume: str | None = None):
        super().__init__(why)
        self.why, self.saved, self.resume = why, saved, resume

    def __str__(self) -> str:
        """Why, where the run is saved, and how to continue it."""
        saved = f"\n  the run is saved in {self.saved}" if self.saved else ""
        return f"{self.why}{saved}" + (f"\n  continue it: {self.resume}" if self.resume else "")


class Away(Exception):
    """A service that others run, such as a reward server, cannot be reached now; it may be later.

    A run waits for it, goes on without it or stops, as the recipe says.
    """


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, raised where a run can be left whole. Exit code 128 + the signal's number."""

    def __init__(self, signal_number: int, saved: str | None = None, run: str | None = None):
        super().__init__(signal_number)
        self.signal_number, self.saved, self.run = signal_number, saved, run

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.signal_number

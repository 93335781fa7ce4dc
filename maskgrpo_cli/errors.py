"""The errors that the command line turns into a message and an exit code."""


class UserError(Exception):
    """A mistake that the user can mend: bad value, missing file, no network. Exit code 2.

    The message names the key, the value and what to write instead; it is shown without a traceback.
    """


class RunFailed(Exception):
    """A run that started and could not go on, such as a loss that became NaN. Exit code 1."""

"""What a user can put right, said as one sentence with what to do about it."""


class UsageError(Exception):
    """Bad input from outside. The command line prints it as one line and exits with status 2."""


class InputError(UsageError):
    """One of many inputs that cannot be used, while the others can. reason: one word, to count by."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class WeightsError(UsageError):
    """A weights file that is missing, cut short, changed, or of another shape than its config says."""

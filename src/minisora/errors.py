"""Errors that a user can fix; the message is one sentence, with what to do."""


class UsageError(Exception):
    """Bad input from outside. The command line prints it as one line and exits with status 2."""


class InputError(UsageError):
    """One of many inputs is unusable, the others are not. reason: one word, for counting"""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class WeightsError(UsageError):
    """A weights file is missing, cut short, changed, or of another shape than its config says."""


class DiskFull(UsageError):
    """A file was not written because the disk is full."""


class FileNote(UserWarning):
    """A file was read, but not all that it says was used. The command line prints it as a note."""

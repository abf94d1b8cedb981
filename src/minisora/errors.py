"""What a user can put right, said as one sentence with what to do about it."""


class UsageError(Exception):
    """Bad input from outside. The command line prints it as one line and exits with status 2."""


class WeightsError(UsageError):
    """A weights file that is missing, cut short, changed, or of another shape than its config says."""

"""The one exception that callers are meant to catch."""


class InputError(ValueError):
    """Input that finattn refuses: says what was expected, what was found, and where.

    The command line turns it into one line and exit code 2; any other exception is a failure of the run.
    """

"""The one exception that callers are meant to catch."""


class InputError(ValueError):
    """Input that finattn refuses: says what was expected, what was found, and where.

    The command line turns it into one line and exit code 2; any other exception is a failure of the run.

    Examples
    --------
    >>> from finattn.splits import WalkForward
    >>> try:
    ...     WalkForward("2020-01-01", test="1Y", valid="1Y", train="5Y", horizon=0)
    ... except InputError as error:
    ...     print(error)
    horizon must be at least 1 rows, found 0
    """

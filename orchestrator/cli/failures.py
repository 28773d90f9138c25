"""How a verb ends other than well: a sentence and an exit status."""

DONE, FAILED, USAGE, INVALID = 0, 1, 2, 3


class Failure(Exception):
    """The verb could not do what was asked; `code` is the exit status."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code

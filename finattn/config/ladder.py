"""Which rungs of the ladder are climbed."""

from dataclasses import dataclass

from finattn.config.require import require_types


@dataclass(frozen=True)
class LadderConfig:
    """The ladder that `finattn ladder` climbs.

    Parameters
    ----------
    rungs : by name, the lowest first; all that the panel allows where empty (see `finattn.ladder.standard`).
    """

    rungs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no list of names; which names there are is known where rungs are made."""
        require_types(self, "ladder.")

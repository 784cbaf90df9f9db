"""Which rungs of the ladder are climbed."""

from dataclasses import dataclass

from finattn.config.require import require_types


@dataclass(frozen=True)
class LadderConfig:
    """The ladder that `finattn ladder` climbs.

    Parameters
    ----------
    rungs : by name, the lowest first; all that the panel allows where empty (see `finattn.ladder.standard`).

    Raises
    ------
    InputError
        For what is no list of names; a name that no rung has is refused where the ladder is climbed.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.config import LadderConfig, RunConfig
    >>> from finattn.ladder import select
    >>> config = RunConfig(ladder=LadderConfig(("zero", "ridge", "look_up")))
    >>> [rung.name for rung in select(config, fa.simulate(firms=60, days=30).panel)]
    ['zero', 'ridge', 'look_up']
    """

    rungs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no list of names; which names there are is known where rungs are made."""
        require_types(self, "ladder.")

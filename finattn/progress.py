"""How far a run is, on a terminal; quiet where nobody looks."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from finattn.experiment import Step
from finattn.pipeline import Watch


class RunProgress(Watch):
    """Two bars on standard error: fits with time left, and the epochs of the present one with its validation IC.

    Where standard error is no terminal, each stage and each fold is one plain line instead.
    """

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr)
        self._shown = self._console.is_terminal
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._shown,
        )
        self._fits = self._bars.add_task("reading", total=None)
        self._epochs = self._bars.add_task("", total=None, visible=False)
        self._fold = -1

    def __enter__(self) -> Self:
        """Show the bars."""
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bars down."""
        self._bars.stop()

    def on_stage(self, stage: str) -> None:
        """Name the stage that begins."""
        self._bars.update(self._epochs, visible=False)
        self._bars.update(self._fits, description=stage)
        if not self._shown and stage != "reading the panel":  # a refusal that follows it stays one line
            print(stage, file=sys.stderr, flush=True)

    def on_part(self, part: str, done: int, parts: int) -> None:
        """Name the part that ended, and show how many have."""
        self._bars.update(self._fits, description=part, completed=done, total=parts)
        if not self._shown:
            print(f"  {part}: {done} of {parts}", file=sys.stderr, flush=True)

    def on_step(self, step: Step) -> None:
        """Show the fit that begins, or that was found done."""
        self._bars.update(
            self._fits,
            description=f"fold {step.fold} · {step.model} · seed {step.seed}",
            completed=step.number,
            total=step.total,
        )
        self._bars.update(self._epochs, visible=False)
        if not self._shown and step.fold != self._fold:
            self._fold = step.fold
            print(f"  fold {step.fold}: fit {step.number + 1} of {step.total}", file=sys.stderr, flush=True)

    def on_epoch(self, epoch: int, epochs: int, valid_rank_ic: float) -> None:
        """Show the epoch and its validation rank IC."""
        self._bars.update(
            self._epochs,
            description=f"epoch, validation rank IC {valid_rank_ic:+.3f}",
            completed=epoch,
            total=epochs,
            visible=True,
        )

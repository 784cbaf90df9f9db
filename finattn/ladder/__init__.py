"""The honest ladder: rungs tuned with one budget, each set against the one below, and what luck alone would give."""

from finattn.ladder.climbing import Climbed, Once, climb
from finattn.ladder.rungs import LadderRung, select, standard
from finattn.ladder.table import PRIMARY, QUESTIONS, Question, answers, ladder_table, rivals, sentences

__all__ = [
    "PRIMARY",
    "QUESTIONS",
    "Climbed",
    "LadderRung",
    "Once",
    "Question",
    "answers",
    "climb",
    "ladder_table",
    "rivals",
    "select",
    "sentences",
    "standard",
]

"""What ``fit`` depends on: which loader ends it, in which direction, and which weights it keeps."""

from __future__ import annotations

from dataclasses import dataclass

from wellfit.doctor.copies import NotExaminable
from wellfit.doctor.exam import Exam
from wellfit.doctor.loop.runs import Course, FitRun, Outcome

TURN = 3  # evaluations that improve before a course turns


def rising(index: int) -> float:
    """Better at every evaluation."""
    return min(1.0, 0.1 + index / 192)


def turning(index: int) -> float:
    """Better three times, then worse at every evaluation."""
    return (0.5, 0.7, 0.9)[index] if index < TURN else max(0.0, 0.45 - index / 400)


def fast_rising(index: int) -> float:
    """Better by much, so that dropout noise does not hide it; done after ten epochs."""
    return min(1.0, 0.1 * index)


def fast_turning(index: int) -> float:
    return (0.5, 0.75, 1.0)[index] if index < TURN else 0.0


def turning_at(best: int) -> Course:
    """Better up to the evaluation ``best``, worse from there on."""
    return lambda index: rising(index) + 0.2 if index <= best else max(0.0, 0.08 - index / 1000)


@dataclass
class Story:
    """Runs of fit: all loaders get better; one loader turns.

    Attributes:
        epochs: given to fit where it asks for it.
        held: the best evaluation of the validation run, by its number.
    """

    rising: Outcome
    turning: dict[str, Outcome]
    epochs: int

    def early(self, part: str) -> bool:
        """Whether fit ended by itself sooner than when all gets better."""
        mine = self.turning.get(part)
        return mine is not None and mine.ended == "returned" and mine.steps < self.rising.steps

    @property
    def stops_while_better(self) -> bool:
        """Whether fit ended by itself, and goes on much longer when validation gets worse.

        A fit in the right direction that was ended by chance does not: the run that turns ends ``TURN`` evaluations after its
        patience at the latest.
        """
        worse = self.turning.get("val")
        return (self.rising.ended == "returned" and worse is not None and worse.steps > self.rising.steps
                and len(worse.evaluations["val"]) > len(self.rising.evaluations["val"]) + TURN)


def story(exam: Exam) -> Story:
    """Run fit as often as it takes."""
    patience = exam.set_up.declared.get("patience")
    epochs = max(40, 3 * int(patience)) if isinstance(patience, int | float) else 40
    epochs = min(epochs, 100)
    given = {p: getattr(exam.set_up, f"{p}_loader") for p in ("train", "val", "test")}
    present = [p for p, loader in given.items() if loader is not None]

    def courses(turn: str | None) -> dict[str, Course]:
        made: dict[str, Course] = {}
        for part in present:
            turns = turn == part or (turn is not None and part != "train" and given[part] is given.get(turn))
            if part == "train":
                made[part] = fast_turning if turns else fast_rising
            else:
                made[part] = turning if turns else rising
        return made
    better = FitRun(exam, courses(None), epochs=epochs).run()
    if better.ended == "failed":
        raise NotExaminable(f"fit fails on controlled loaders ({better.error})")
    found = Story(better, {}, epochs)
    if "val" in present:
        found.turning["val"] = FitRun(exam, courses("val"), epochs=epochs, look=True).run()
    for part in ("train", "test"):
        if part in present and not found.early("val"):
            found.turning[part] = FitRun(exam, courses(part), epochs=epochs, look=part == "test" and "val" not in present).run()
    return found


def told(exam: Exam) -> Story:
    return exam.once(story)


def place_of(outcome: Outcome, part: str) -> list[int]:
    """Numbers of the evaluations whose weights are those that fit keeps."""
    return [i for i, e in enumerate(outcome.evaluations[part]) if outcome.kept in e.weights]


def distinct(outcome: Outcome, part: str, first: int, second: int) -> bool:
    """Whether two evaluations saw different weights."""
    evaluations = outcome.evaluations[part]
    if not (0 <= first < len(evaluations) and -len(evaluations) <= second < len(evaluations)):
        return False
    return not evaluations[first].weights & evaluations[second].weights

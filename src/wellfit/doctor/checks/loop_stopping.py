"""Early stopping: on which data, in which direction, with which patience, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Iterator

from wellfit.doctor.exam import Exam
from wellfit.doctor.loop.runs import FitRun, Outcome
from wellfit.doctor.loop.stopping import TURN, Story, distinct, fast_rising, place_of, told, turning, turning_at
from wellfit.doctor.registry import Observed, check

_SOURCE = "Prechelt, Early Stopping, But When?, 1998"
_FIX = ("best, best_state, waited = float('inf'), None, 0\nfor epoch in range(epochs):\n    train_epoch(...)\n"
        "    value = evaluate(model, val_loader)\n    if value < best:\n        best, waited = value, 0\n"
        "        best_state = copy.deepcopy(model.state_dict())\n    else:\n        waited += 1\n"
        "        if waited >= patience:\n            break\nmodel.load_state_dict(best_state)  # on every exit")


def _chosen_by(story: Story, part: str) -> str | None:
    """How the run depends on a loader's quality, if it does."""
    outcome = story.turning.get(part)
    if outcome is None or story.early("val") or outcome.ended == "failed":
        return None
    if story.early(part) and not story.stops_while_better:
        return (f"fit ends after {outcome.epochs:.4g} epochs when the {_NAMES[part]} get worse after {TURN} of them, and goes on "
                f"to {story.rising.epochs:.4g} when it does not; the validation data change nothing")
    if outcome.ended == "returned" and story.rising.ended == "returned":
        listed = "val" if outcome.evaluations["val"] else part
        places, count = place_of(outcome, listed), len(outcome.evaluations[listed])
        usual = place_of(story.rising, listed)
        if places and count - 1 not in places and max(places) <= TURN + 1 and count > TURN + 3 and len(
                story.rising.evaluations[listed]) - 1 in usual:
            return (f"fit keeps the weights of evaluation {max(places) + 1} of {count} when the {_NAMES[part]} get worse from "
                    "there on, and the last ones when they do not; the validation data change nothing")
    return None


_NAMES = {"train": "training data", "val": "validation data", "test": "test data"}


@check("stopping-on-training-data", severity="error", evidence="probe", needs=("fit", "train_loader"),
       why="The training loss goes on falling while the model overfits: it cannot say when to stop.", source=_SOURCE)
def stopping_on_training_data(exam: Exam) -> Iterator[Observed]:
    story = exam.once(told)
    how = _chosen_by(story, "train")
    given = exam.set_up
    if how is None and story.early("val") and given.val_loader is given.train_loader:
        how = "fit ends by its validation loader, which is the training loader"
    if how is not None:
        yield Observed("fit", how, _FIX)


@check("stopping-on-test-data", severity="error", evidence="probe", needs=("fit", "train_loader", "test_loader"),
       why="Test data that decide when to stop are validation data: the test score is too good.",
       source="Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, section 7.2")
def stopping_on_test_data(exam: Exam) -> Iterator[Observed]:
    story = exam.once(told)
    how = _chosen_by(story, "test")
    given = exam.set_up
    if how is None and story.early("val") and given.val_loader is given.test_loader:
        how = "fit ends by its validation loader, which is the test loader"
    if how is not None:
        yield Observed("fit", how, _FIX)


@check("stopping-wrong-direction", severity="error", evidence="probe", needs=("fit", "train_loader", "val_loader"),
       why="What gets better is taken for worse: training ends, or the weights are chosen, at the wrong time.", source=_SOURCE)
def stopping_wrong_direction(exam: Exam) -> Iterator[Observed]:
    how = _reversed(exam.once(told))
    if how is not None:
        yield Observed("fit", how, _FIX)


def _reversed(story: Story) -> str | None:
    """How fit takes better for worse, if it does."""
    better, worse = story.rising, story.turning.get("val")
    if worse is None or worse.ended == "failed":
        return None
    if story.stops_while_better and not story.early("train"):
        return (f"fit ends after {better.epochs:.4g} epochs while validation gets better at every evaluation, and goes on to "
                f"{worse.epochs:.4g} when it gets worse")
    places, count = place_of(better, "val"), len(better.evaluations["val"])
    if better.ended == "returned" and count > TURN + 2 and places and max(places) <= 1 and distinct(better, "val", max(places), -1):
        others = place_of(worse, "val")
        if others and max(others) >= TURN:
            return f"validation gets better at each of {count} evaluations, and fit keeps the weights of number {max(places) + 1}"
    return None


@check("patience-in-evaluations", severity="warning", evidence="probe",
       needs=("fit", "train_loader", "val_loader", "declared.patience"),
       why="Patience is meant in epochs and counted in evaluations: the run ends that much sooner or later.", source=_SOURCE)
def patience_in_evaluations(exam: Exam) -> Iterator[Observed]:
    story = exam.once(told)
    outcome, patience = story.turning.get("val"), exam.set_up.declared.get("patience")
    if outcome is None or not story.early("val") or not isinstance(patience, int | float) or patience < 1:
        return
    evaluations = outcome.evaluations["val"]
    if len(evaluations) <= TURN:
        return
    best = evaluations[TURN - 1]
    waited = len(evaluations) - TURN
    epochs = (evaluations[-1].steps - best.steps) / outcome.per_epoch
    every = waited / epochs if epochs else 0.0
    if every and not 0.8 < every < 1.25 and abs(waited - patience) <= 1 and abs(epochs - patience) > max(1.0, 0.25 * patience):
        yield Observed("fit", f"declared patience={patience:g} epochs; fit evaluates {every:.3g} times an epoch and ends {waited} "
                       f"evaluations, {epochs:.3g} epochs, after the best one",
                       f"patience = {patience:g} * evaluations_per_epoch  # or count epochs")


def _not_kept(outcome: Outcome, best: int) -> bool | None:
    """Whether fit keeps the last weights instead of the best; None if neither."""
    evaluations = outcome.evaluations["val"]
    if outcome.ended != "returned" or len(evaluations) <= best + 1 or not distinct(outcome, "val", best, -1):
        return None
    if outcome.kept in evaluations[best].weights:
        return False
    return True if outcome.kept in evaluations[-1].weights or outcome.kept == outcome.last else None


def _lost(exam: Exam) -> tuple[str, Outcome, str] | None:
    """On which exit the best weights are lost, with the run and what was seen."""
    story = exam.once(told)
    outcome = story.turning.get("val")
    if outcome is None or story.stops_while_better or _reversed(story) or _chosen_by(story, "train") or _chosen_by(story, "test"):
        return None
    lost = _not_kept(outcome, TURN - 1)
    stops = story.early("val")
    declared = any(k in exam.set_up.declared for k in ("patience", "monitor", "mode"))
    tries = any("best" in n.lower() for n in outcome.held.names)
    evaluations = outcome.evaluations["val"]
    count = len(evaluations)
    filed = bool(outcome.saved) and count > TURN + 1 and outcome.saved[-1] < evaluations[TURN].steps
    if lost:
        if not (stops or declared or tries or filed):
            return None
        return "file" if filed and not outcome.held.copies else "patience" if stops else "end", outcome, (
            f"validation is best at evaluation {TURN} of {count}; the weights that fit leaves are those of the last one")
    if lost is None or not stops:
        return None
    if story.rising.ended == "returned" and len(story.rising.evaluations["val"]) > TURN + 2:
        total = len(story.rising.evaluations["val"])
        late = FitRun(exam, {"train": fast_rising, "val": turning_at(total - 2)}, epochs=story.epochs, look=True).run()
        if len(late.evaluations["val"]) == total and _not_kept(late, total - 2):
            return "last epoch", late, (
                f"validation is best at evaluation {total - 1} of {total}; when the epochs run out fit leaves the weights of the "
                "last one, though it restores the best when patience runs out")
    waited = count - TURN
    if waited >= 3:
        stopped = FitRun(exam, {"train": fast_rising, "val": turning}, epochs=story.epochs, interrupt_after=TURN + 1,
                         look=True).run()
        if stopped.interrupted and stopped.ended == "returned":
            evaluations = stopped.evaluations["val"]
            if stopped.kept not in evaluations[TURN - 1].weights and len(evaluations) > TURN:
                return "interrupt", stopped, (
                    f"validation is best at evaluation {TURN}; after a Ctrl-C in the epoch after evaluation {len(evaluations)} fit "
                    "returns other weights than the best")
    return None


@check("best-weights-not-restored", severity="error", evidence="probe", needs=("fit", "train_loader", "val_loader"),
       why="The model that is kept is the one that had overfitted for as long as the patience lasted, not the best one.",
       source=_SOURCE + "; Keras EarlyStopping, restore_best_weights")
def best_weights_not_restored(exam: Exam) -> Iterator[Observed]:
    lost = exam.once(_lost)
    if lost is None or _by_reference(lost[1]):
        return
    exit, outcome, seen = lost
    if exit == "file":
        yield Observed("fit", seen + "; the best ones were written to a file only", "model.load_state_dict(torch.load(path, "
                       "weights_only=True))", severity="note")
        return
    meant = bool(outcome.held.copies) or "patience" in exam.set_up.declared
    sure = exit == "last epoch" or (exit == "patience" and meant)
    where = "fit" if exit in ("patience", "end") else f"fit, exit by {exit}"
    yield Observed(where, seen, _FIX, severity="error" if sure else "warning")


@check("best-weights-by-reference", severity="error", evidence="probe", needs=("fit", "train_loader", "val_loader"),
       why="state_dict() holds the live tensors: what is kept as the best weights goes on being trained.",
       source="PyTorch documentation, saving and loading models: best_model_state = deepcopy(model.state_dict())")
def best_weights_by_reference(exam: Exam) -> Iterator[Observed]:
    lost = exam.once(_lost)
    if lost is None or not _by_reference(lost[1]):
        return
    _, outcome, seen = lost
    name = (outcome.held.aliases or outcome.held.best)[0]
    yield Observed(f"fit: {name}", f"{name} shares its memory with the weights in training; {seen}",
                   "best_state = copy.deepcopy(model.state_dict())")


def _by_reference(outcome: Outcome) -> bool:
    alias = [*outcome.held.aliases, *outcome.held.best]
    return bool(alias) and (not outcome.held.copies or any("best" in n.lower() for n in alias))



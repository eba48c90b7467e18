"""Training histories of every format that is read: which column becomes what, and clear words for what cannot be read."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diagnosis.event_files import event, overfitting, record, simple, tensor, write_events
from wellfit.core.errors import WellfitError
from wellfit.diagnosis.history import history_verdict, is_history, read_history
from wellfit.diagnosis.history.events import crc32c, masked_crc, read_events
from wellfit.diagnosis.history.read import from_arrays
from wellfit.diagnosis.history.series import column

KERAS = """epoch,accuracy,learning_rate,loss,val_accuracy,val_loss
0,0.71,0.001,0.61,0.70,0.60
1,0.82,0.001,0.42,0.77,0.50
2,0.88,0.0005,0.31,0.78,0.52
"""

LIGHTNING = """epoch,lr-Adam,step,train_acc,train_loss_epoch,train_loss_step,val_acc,val_loss
,0.001,9,,,,,
0,,9,,,0.90,,
0,,19,,,0.70,,
0,,24,,,,0.61,0.66
0,,24,0.60,0.80,,,
1,,29,,,0.60,,
1,,39,,,0.50,,
1,,49,,,,0.70,0.58
1,,49,0.72,0.55,,,
"""

TRAINER: dict[str, Any] = {"best_metric": None, "epoch": 2.0, "log_history": [
    {"epoch": 0.5, "grad_norm": 2.1, "learning_rate": 4e-5, "loss": 0.8, "step": 50},
    {"epoch": 1.0, "grad_norm": 1.9, "learning_rate": 3e-5, "loss": 0.6, "step": 100},
    {"epoch": 1.0, "eval_accuracy": 0.7, "eval_loss": 0.65, "eval_runtime": 3.1, "step": 100},
    {"epoch": 1.5, "loss": 0.4, "step": 150, "learning_rate": 2e-5},
    {"epoch": 2.0, "loss": 0.3, "step": 200, "learning_rate": 1e-5},
    {"epoch": 2.0, "eval_accuracy": 0.74, "eval_loss": 0.6, "eval_runtime": 3.0, "step": 200},
    {"epoch": 2.0, "step": 200, "total_flos": 1e15, "train_loss": 0.52, "train_runtime": 100.0}]}


def save(folder: Path, name: str, content: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content, encoding="utf-8")
    return folder / name


# ---------------------------------------------------------------------------------------------------------------- csv


def test_keras_csv_logger(tmp_path: Path) -> None:
    path = save(tmp_path, "training.log", KERAS)
    assert is_history(path)
    history = read_history(path)
    assert history.epochs == (0, 1, 2) and history.unit == "epoch"
    assert history.train_loss == (0.61, 0.42, 0.31) and history.validation_loss == (0.60, 0.50, 0.52)
    assert history.metric == "accuracy" and history.higher_is_better is True
    assert history.validation_metric == (0.70, 0.77, 0.78) and history.rate == (0.001, 0.001, 0.0005)


def test_lightning_metrics_csv_with_half_empty_rows(tmp_path: Path) -> None:
    path = save(tmp_path / "lightning_logs" / "version_0", "metrics.csv", LIGHTNING.replace(",0.001,9,", "0,0.001,9,", 1))
    history = read_history(path)
    assert history.epochs == (0, 1)
    assert history.train_loss == (0.80, 0.55) and history.validation_loss == (0.66, 0.58)
    assert history.train_metric == (0.60, 0.72) and history.validation_metric == (0.61, 0.70)
    assert history.columns["train_loss"] == "train_loss_epoch"


def test_lightning_rows_without_an_epoch_are_ordered_by_step(tmp_path: Path) -> None:
    history = read_history(save(tmp_path, "metrics.csv", LIGHTNING))
    assert history.unit == "step" and history.epochs == (24, 49)
    assert history.train_loss == (0.80, 0.55) and history.validation_loss == (0.66, 0.58)


@pytest.mark.parametrize("text", [
    "epoch;loss;val_loss\n1;0,5;0,6\n2;0,4;0,5\n", "Epoch\tTrain Loss\tValid Loss\n1\t0.5\t0.6\n2\t0.4\t0.5\n",
    "\ufeffepoch,training_loss,validation-loss\n1,0.5,0.6\n2,0.4,0.5\n", "trainLoss,evalLoss,iter\n0.5,0.6,1\n0.4,0.5,2\n",
    "epoch,train/loss,dev/loss\n1,0.5,0.6\nepoch,train/loss,dev/loss\n2,0.4,0.5\n\n",
    "epoch,train_nll,val_nll\n1,.5,.6\n2,.4,.5\n", "epoch,train_loss,test_loss\n1,0.5,0.6\n2,0.4,0.5\n"])
def test_names_delimiters_and_decimal_commas(tmp_path: Path, text: str) -> None:
    path = save(tmp_path, "history.csv", text)
    assert is_history(path)
    history = read_history(path)
    assert history.train_loss == (0.5, 0.4) and history.validation_loss == (0.6, 0.5)


def test_utf_16(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_bytes(KERAS.encode("utf-16"))
    assert is_history(tmp_path / "h.csv") and read_history(tmp_path / "h.csv").train_loss == (0.61, 0.42, 0.31)


def test_test_columns_stand_in_only_without_validation(tmp_path: Path) -> None:
    both = read_history(save(tmp_path, "a.csv", "epoch,train_loss,val_loss,test_loss\n1,3,2,1\n2,3,2,1\n"))
    assert both.validation_loss == (2, 2) and not both.notes
    alone = read_history(save(tmp_path, "b.csv", "epoch,train_loss,test_loss\n1,3,1\n2,3,1\n"))
    assert alone.validation_loss == (1, 1) and alone.notes == ("test_loss stands in for validation.",)


def test_plain_loss_wins_over_its_parts(tmp_path: Path) -> None:
    text = "epoch,box_loss,loss,val_box_loss,val_loss,val_mAP\n1,1,2,3,4,.5\n2,1,2,3,4,.5\n"
    history = read_history(save(tmp_path, "a.csv", text))
    assert history.columns["train_loss"] == "loss" and history.columns["validation_loss"] == "val_loss"


def test_what_a_name_says() -> None:
    for name, part, kind in (
            ("val_loss", "validation", "loss"), ("loss", "", "loss"), ("Validation/BCE_Loss", "validation", "loss"),
            ("valLoss", "validation", "loss"), ("eval_f1_macro", "validation", "metric"), ("lr", "", "rate"),
            ("learning_rate", "", "rate"), ("global_step", "", "clock"), ("train_runtime", "train", ""),
            ("evaluation_rmse", "validation", "metric"), ("cross-entropy", "", "loss"), ("age", "", "")):
        found = column(name)
        assert (found.part, found.kind) == (part, kind), name


@pytest.mark.parametrize("text", ["age,income,class\n1,2,a\n", "loss,city\n1,b\n", "a,b\n1,2\n", "epoch,temperature\n1,2\n",
                                  "accuracy,price,rooms,area\n1,2,3,4\n", "", "\n"])
def test_a_table_of_data_is_no_history(tmp_path: Path, text: str) -> None:
    assert not is_history(save(tmp_path, "data.csv", text))


# --------------------------------------------------------------------------------------------------------------- JSON


def test_hugging_face_trainer_state(tmp_path: Path) -> None:
    path = save(tmp_path / "checkpoint-200", "trainer_state.json", json.dumps(TRAINER))
    assert is_history(path) and is_history(tmp_path)
    history = read_history(tmp_path)
    assert history.epochs == (1.0, 2.0)
    assert history.train_loss == pytest.approx((0.7, 0.35)) and history.validation_loss == (0.65, 0.6)
    assert history.validation_metric == (0.7, 0.74) and history.metric == "accuracy"


@pytest.mark.parametrize("content", [
    {"loss": [0.5, 0.4], "val_loss": [0.6, 0.5]}, {"history": {"train_loss": [0.5, 0.4], "validation_loss": [0.6, 0.5]}},
    [{"epoch": 1, "loss": 0.5, "val_loss": 0.6}, {"epoch": 2, "loss": 0.4, "val_loss": 0.5}],
    {"curves": {"unregularized": {"epoch": [1, 2], "train_loss": [0.5, 0.4], "validation_loss": [0.6, 0.5]}}}])
def test_json_of_lists_and_rows(tmp_path: Path, content: Any) -> None:
    path = save(tmp_path, "h.json", json.dumps(content))
    assert is_history(path)
    history = read_history(path)
    assert history.train_loss == (0.5, 0.4) and history.validation_loss == (0.6, 0.5) and history.epochs == (1, 2)


def test_json_lines_may_end_in_the_middle(tmp_path: Path) -> None:
    rows = ['{"epoch": 1, "loss": 0.5, "val_loss": 0.6}', '{"epoch": 2, "loss": 0.4, "val_loss": 0.5}', '{"epo']
    path = save(tmp_path, "log.jsonl", "\n".join(rows))
    assert is_history(path) and read_history(path).train_loss == (0.5, 0.4)


def test_trials_of_a_wellfit_run(tmp_path: Path) -> None:
    rows = [{"number": 0, "origin": "unregularized", "validation": 0.8, "history": {
        "train_loss": [0.5, 0.4], "train_error": [0.2, 0.1], "validation_loss": [0.6, 0.5], "validation_error": [0.3, 0.2]}},
        {"number": 1, "origin": "alone", "history": {"train_loss": [9.0], "validation_loss": [9.0]}}]
    path = save(tmp_path, "trials.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert is_history(path)
    history = read_history(path)
    assert history.train_loss == (0.5, 0.4) and history.metric == "error" and history.higher_is_better is False
    assert history.source.endswith("unregularized")
    save(tmp_path, "run.json", "{}")
    assert not is_history(tmp_path), "a whole run holds more than a history"
    assert read_history(tmp_path).train_loss == (0.5, 0.4)


# -------------------------------------------------------------------------------------------------------- TensorBoard


def test_checksums_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    assert crc32c(bytes(32)) == 0x8A9136AA and crc32c(b"\xff" * 32) == 0x62A8AB43  # RFC 3720, B.4
    assert struct.pack("<I", masked_crc(b"abc")) == record(b"abc")[-4:]


def test_pytorch_summary_writer(tmp_path: Path) -> None:
    train, held = overfitting(20)
    events = [event(i + 1, simple("Loss/train", t)) for i, t in enumerate(train)]
    events += [event(i + 1, simple("Loss/val", v)) for i, v in enumerate(held)]
    path = write_events(tmp_path / "runs" / "events.out.tfevents.170.host.1.0", events)
    assert is_history(path) and is_history(tmp_path / "runs")
    history = read_history(tmp_path / "runs")
    assert history.train_loss == pytest.approx(train, rel=1e-6) and history.validation_loss == pytest.approx(held, rel=1e-6)
    assert history.unit == "step" and history.epochs == tuple(range(1, 21))


@pytest.mark.parametrize("form", [{}, {"double": True}, {"listed": True}, {"double": True, "listed": True}])
def test_tensorflow_2_scalars(tmp_path: Path, form: dict[str, bool]) -> None:
    path = write_events(tmp_path / "events.out.tfevents.1", [event(i, tensor("epoch_loss", 0.5 - i / 8, **form)) for i in range(3)])
    assert read_events(path) == {"epoch_loss": [(0, 0.5), (1, 0.375), (2, 0.25)]}


def test_keras_writes_a_folder_for_each_part(tmp_path: Path) -> None:
    for part, start in (("train", 0.5), ("validation", 0.75)):
        write_events(tmp_path / "logs" / part / "events.out.tfevents.1.v2",
                     [event(i, tensor("epoch_loss", start - i / 8)) for i in range(3)])
    history = read_history(tmp_path / "logs")
    assert history.train_loss == (0.5, 0.375, 0.25) and history.validation_loss == (0.75, 0.625, 0.5)
    assert history.unit == "epoch" and history.epochs == (1, 2, 3)


def test_training_steps_between_two_validations_are_averaged(tmp_path: Path) -> None:
    events = [event(i, simple("train_loss", float(i))) for i in range(1, 9)]
    events += [event(i, simple("val_loss", 10.0 * i)) for i in (4, 8)]
    history = read_history(write_events(tmp_path / "events.out.tfevents.1", events))
    assert history.epochs == (4, 8) and history.train_loss == (2.5, 6.5) and history.validation_loss == (40, 80)


def test_what_is_no_scalar_is_left_out(tmp_path: Path) -> None:
    from diagnosis.event_files import field

    histogram = field(1, b"weights") + field(5, b"\x01" * 40)
    text = field(1, b"note") + field(8, field(1, 7) + field(8, b"hello"))
    large = event(2, field(1, b"image") + field(4, b"\x00" * 9000))
    events = [event(1, histogram, text, simple("loss", 0.5), simple("val_loss", 0.25)), large]
    assert read_events(write_events(tmp_path / "events.out.tfevents.1", events)) == {"loss": [(1, 0.5)], "val_loss": [(1, 0.25)]}


def test_damage_is_found_and_a_cut_end_is_not_damage(tmp_path: Path) -> None:
    path = write_events(tmp_path / "events.out.tfevents.1", [event(i, simple("loss", 0.5)) for i in range(5)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    assert len(read_events(path)["loss"]) == 4
    for at in (10, len(whole) // 2, len(whole) - 6):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1:])
        with pytest.raises(WellfitError, match="damaged"):
            read_events(path)
    path.write_bytes(record(b"\xff\xff\xff"))
    with pytest.raises(WellfitError, match="no event"):
        read_events(path)


def test_tensorboards_own_files_when_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        for i in range(6):
            writer.add_scalar("loss", 1 / (i + 1), i)
            writer.add_scalar("val_loss", 2 / (i + 1), i)
    assert read_history(tmp_path).validation_loss == pytest.approx([2 / (i + 1) for i in range(6)])


# -------------------------------------------------------------------------------------------------------- from Python


def test_objects() -> None:
    keras = SimpleNamespace(history={"loss": [0.5, 0.4], "val_loss": [0.6, 0.5]}, epoch=[0, 1])
    for source in (keras, keras.history, [{"loss": 0.5, "val_loss": 0.6}, {"loss": 0.4, "val_loss": 0.5}],
                   {"loss": np.array([0.5, 0.4]), "val_loss": (0.6, 0.5)}):
        history = read_history(source)
        assert history.train_loss == (0.5, 0.4) and history.validation_loss == (0.6, 0.5) and history.epochs == (1, 2)
    assert read_history(history) is history


def test_data_frame() -> None:
    pandas = pytest.importorskip("pandas")
    history = read_history(pandas.DataFrame({"epoch": [1, 2], "loss": [0.5, math.nan], "val_loss": [0.6, 0.5]}))
    assert history.validation_loss == (0.6, 0.5)


def test_arrays_of_any_kind() -> None:
    torch = pytest.importorskip("torch")
    for values in ([0.5, None], np.array([0.5, np.nan]), torch.tensor([0.5, float("nan")])):
        history = from_arrays(values, [0.6, 0.5])
        assert history.train_loss is not None and history.train_loss[0] == 0.5 and math.isnan(history.train_loss[1])


@pytest.mark.parametrize(("call", "expected"), [
    (lambda: from_arrays([1.0, 2.0], [1.0]), "different lengths"), (lambda: from_arrays(), "no values"),
    (lambda: from_arrays(["a"], ["b"]), "no list of numbers"), (lambda: from_arrays([1.0], [1.0], epochs=[1, 2]), "as many epochs"),
    (lambda: read_history(3), "no training history"), (lambda: read_history({}), "no training history"),
    (lambda: history_verdict(validation_metric=[1, 2, 3, 4, 5, 6], metric="foo"), "better when it is higher")])
def test_mistakes_in_python(call: Any, expected: str) -> None:
    with pytest.raises(WellfitError, match=expected):
        call()


# --------------------------------------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize(("name", "content", "expected"), [
    ("a.csv", b"", "empty"), ("a.csv", b"epoch,loss,val_loss\n", "no rows"), ("a.csv", b"a,b\n1,2\n", "no loss among the columns"),
    ("a.csv", b"\x00\x01\x02", "not text"), ("a.json", b"{", "not valid JSON"), ("a.json", b"3", "no training history"),
    ("a.json", b'{"a": 1}', "no training history"), ("a.json", b"[1, 2]", "no training history|no loss"),
    ("x.tfevents.1", b"not an event file at all", "damaged"), ("x.tfevents.1", b"", "no scalars")])
def test_files_that_hold_no_history(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WellfitError, match=expected):
        read_history(tmp_path / name)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(WellfitError, match="no such file"):
        read_history(tmp_path / "nowhere.csv")
    with pytest.raises(WellfitError, match="no training history in this folder"):
        read_history(tmp_path)
    assert not is_history(tmp_path) and not is_history(tmp_path / "nowhere.csv")


def test_folders(tmp_path: Path) -> None:
    save(tmp_path / "a", "results.csv", KERAS)
    save(tmp_path / "a", "data.csv", "x,y\n1,2\n")
    assert is_history(tmp_path / "a") and read_history(tmp_path / "a").train_loss == (0.61, 0.42, 0.31)
    save(tmp_path / "b" / "lightning_logs" / "version_0", "metrics.csv", KERAS)
    assert is_history(tmp_path / "b") and read_history(tmp_path / "b").train_loss == (0.61, 0.42, 0.31)

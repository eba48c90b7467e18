"""run.py: what it decides and says, without installing anything."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "run.py"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """run.py as a module, over a small project in a folder of its own; its commands are noted, not run."""
    spec = importlib.util.spec_from_file_location("run_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "constraints.txt").write_text("torch==2.13.0\n")
    monkeypatch.delenv("WELLFIT_VENV", raising=False)
    module.calls = []
    module.fail = set()  # words: a command that has one of them fails

    def call(command: list[object], env: object = None, cwd: object = None, keep: object = ()) -> int:
        words = [str(part) for part in command]
        module.calls.append(words)
        if any(word in module.fail for word in words):
            return 3
        if "venv" in words:
            python = module.tool(Path(words[-1]), "python")
            python.parent.mkdir(parents=True, exist_ok=True)
            python.write_text("")
            (Path(words[-1]) / "pyvenv.cfg").write_text("")
        return 0

    def fingerprint() -> str:
        return str(sorted((tmp_path / name).read_text() for name in ("pyproject.toml", "constraints.txt")))

    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "call", call)
    monkeypatch.setattr(module, "fingerprint", fingerprint)
    monkeypatch.setattr(module, "works", lambda venv: module.tool(venv, "python").exists())
    return module


def kinds(run: ModuleType) -> list[str]:
    """What the noted commands were."""
    names = {"venv": "venv", "pip": "pip", "ruff": "ruff", "mypy": "mypy", "pytest": "pytest"}
    return [next((names[word] for word in command if word in names), Path(command[0]).stem) for command in run.calls]


# --------------------------------------------------------------------------------------------- as a person sees it


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_has_examples(arguments: tuple[str, ...]) -> None:
    done = script(*arguments)
    assert done.returncode == 0
    for example in ("run.py demo", "run.py test", "run.py lint", "run.py setup", "run.py -- tune"):
        assert example in done.stdout


def test_unknown_command_says_what_exists() -> None:
    done = script("tets")
    assert done.returncode == 2
    assert "'tets'" in done.stderr
    assert "demo, test, lint, setup" in done.stderr
    assert "Traceback" not in done.stderr


def test_old_python_is_told_so(run: ModuleType) -> None:
    with pytest.raises(run.Stop, match=r"needs Python 3\.11 or newer; this is Python 3\.9\.2 \(/usr/bin/python3\)"):
        run.check_python((3, 9, 2, "final", 0), "/usr/bin/python3")
    run.check_python((3, 11, 0, "final", 0), "python")
    run.check_python((4, 0, 0, "final", 0), "python")


def test_old_python_can_read_the_script() -> None:
    ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 7))


def test_script_needs_the_standard_library_only() -> None:
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


# ------------------------------------------------------------------------------------------------ the environment


def test_first_start_makes_and_installs_and_the_second_does_neither(run: ModuleType) -> None:
    assert run.main(["demo", "--budget", "10s"]) == 0
    assert kinds(run) == ["venv", "pip", "wellfit"]
    assert run.calls[1][-3:] == ["constraints.txt", "-e", "."]
    assert run.calls[2][1:] == ["demo", "--budget", "10s"]
    run.calls.clear()
    assert run.main(["--", "recipes"]) == 0
    assert kinds(run) == ["wellfit"]
    assert run.calls[0][1:] == ["recipes"]


def test_tests_add_their_extra_once_and_the_demo_keeps_it(run: ModuleType) -> None:
    run.main(["demo"])
    run.calls.clear()
    run.main(["lint"])
    assert kinds(run) == ["pip", "ruff", "mypy"]
    assert run.calls[0][-1] == ".[test]"
    run.calls.clear()
    run.main(["demo"])
    assert kinds(run) == ["wellfit"]


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_change_installs_again_with_what_was_there(run: ModuleType, name: str, tmp_path: Path) -> None:
    run.main(["setup"])
    (tmp_path / name).write_text("changed\n")
    run.calls.clear()
    run.main(["demo"])
    assert kinds(run) == ["pip", "wellfit"]
    assert run.calls[0][-1] == ".[test]"


@pytest.mark.parametrize("killed_in", ["venv", "pip"])
def test_an_interrupted_installation_is_made_anew(run: ModuleType, killed_in: str, tmp_path: Path) -> None:
    run.fail = {killed_in}
    with pytest.raises(run.Stop) as stop:
        run.main(["demo"])
    assert stop.value.status == 1
    (tmp_path / ".venv" / "half").mkdir()
    (tmp_path / ".venv" / "half" / "written.py").write_text("")
    run.fail = set()
    run.calls.clear()
    assert run.main(["demo"]) == 0
    assert kinds(run) == ["venv", "pip", "wellfit"]
    assert not (tmp_path / ".venv" / "half").exists()


def test_an_environment_that_lost_its_python_is_made_anew(run: ModuleType, tmp_path: Path) -> None:
    run.main(["demo"])
    run.tool(tmp_path / ".venv", "python").unlink()
    run.calls.clear()
    run.main(["demo"])
    assert kinds(run) == ["venv", "pip", "wellfit"]


def test_an_environment_of_another_python_is_made_anew(run: ModuleType, tmp_path: Path) -> None:
    run.main(["demo"])
    stamp = tmp_path / ".venv" / run.STAMP
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "fingerprint": "other", "python": [3, 10]}))
    run.calls.clear()
    run.main(["demo"])
    assert kinds(run) == ["venv", "pip", "wellfit"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}"])
def test_a_damaged_note_counts_as_unfinished(run: ModuleType, text: str, tmp_path: Path) -> None:
    run.main(["demo"])
    (tmp_path / ".venv" / run.STAMP).write_text(text)
    run.calls.clear()
    run.main(["demo"])
    assert kinds(run) == ["venv", "pip", "wellfit"]


def test_an_environment_made_by_hand_is_used(run: ModuleType, tmp_path: Path) -> None:
    run.call(["python", "-m", "venv", tmp_path / ".venv"])
    run.calls.clear()
    run.main(["demo"])
    assert kinds(run) == ["pip", "wellfit"]


def test_a_folder_that_is_no_environment_is_left_alone(run: ModuleType, tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "thesis.txt").write_text("precious")
    with pytest.raises(run.Stop, match="is not a virtual environment"):
        run.main(["demo"])
    assert (tmp_path / ".venv" / "thesis.txt").read_text() == "precious"


def test_another_place_for_the_environment(run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WELLFIT_VENV", str(tmp_path / "elsewhere" / "env"))
    run.main(["demo"])
    assert run.calls[-1][0].startswith(str(tmp_path / "elsewhere" / "env"))
    assert not (tmp_path / ".venv").exists()


def test_fingerprint_follows_what_an_installation_depends_on(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("run_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "pyproject.toml").write_bytes(b"[project]\n")
        (tmp_path / folder / "constraints.txt").write_bytes(b"torch==2.13.0\n")
    first = module.fingerprint(tmp_path / "a", (3, 11, 7))
    assert first == module.fingerprint(tmp_path / "a", (3, 11, 7))
    assert first != module.fingerprint(tmp_path / "a", (3, 12, 0))
    assert first != module.fingerprint(tmp_path / "b", (3, 11, 7))
    (tmp_path / "a" / "constraints.txt").write_bytes(b"torch==2.13.0\r\n")
    assert first == module.fingerprint(tmp_path / "a", (3, 11, 7))  # a checkout with other line ends is the same
    (tmp_path / "a" / "constraints.txt").write_bytes(b"torch==2.13.1\n")
    assert first != module.fingerprint(tmp_path / "a", (3, 11, 7))


# ------------------------------------------------------------------------------------------------ the native engine

BUILD = """
class BuildError(RuntimeError):
    pass

def build():
    from pathlib import Path
    folder = Path(__file__).parent
    with open(folder / "calls", "a") as file:
        file.write("built ")
    if (folder / "trouble").exists():
        raise BuildError((folder / "trouble").read_text())
"""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a native engine whose compilation is noted, and fails with what stands in the file trouble."""
    for name in ("WELLFIT_NO_NATIVE", "WELLFIT_REQUIRE_NATIVE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "src" / "wellfit" / "population" / "native"
    folder.mkdir(parents=True)
    (folder / "build.py").write_text(BUILD)
    return folder


def test_every_start_brings_the_engine_up_to_date(run: ModuleType, engine: Path) -> None:
    run.main(["demo"])
    run.main(["--", "recipes"])
    assert (engine / "calls").read_text().split() == ["built", "built"]
    assert kinds(run) == ["venv", "pip", "wellfit", "wellfit"]


def test_an_engine_that_does_not_compile_stops_nothing_and_is_told_once(
        run: ModuleType, engine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for trouble in ("no compiler", "no compiler", "an error", "", "an error"):
        (engine / "trouble").write_text(trouble)
        if not trouble:
            (engine / "trouble").unlink()
        assert run.main(["demo"]) == 0
        err = capsys.readouterr().err
        told.append(trouble in err and "reference engine" in err)
    assert told == [True, False, True, False, True]
    assert kinds(run).count("pip") == 1


def test_settings_for_the_engine(run: ModuleType, engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (engine / "trouble").write_text("no compiler")
    monkeypatch.setenv("WELLFIT_REQUIRE_NATIVE", "1")
    with pytest.raises(run.Stop, match="no compiler") as stop:
        run.main(["demo"])
    assert stop.value.status == 1
    monkeypatch.setenv("WELLFIT_NO_NATIVE", "1")
    assert run.main(["demo"]) == 0
    assert (engine / "calls").read_text().split() == ["built"]


def test_paths_on_windows_and_elsewhere(run: ModuleType) -> None:
    assert run.tool(Path("env"), "python", windows=True) == Path("env/Scripts/python.exe")
    assert run.tool(Path("env"), "python", windows=False) == Path("env/bin/python")


def test_settings_of_the_caller_do_not_break_pip(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "elsewhere")
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    env = run.environment(Path("env"))
    assert "PYTHONHOME" not in env
    assert env["PIP_USER"] == "0"
    assert "PYTHONDONTWRITEBYTECODE" not in env
    assert env["PYTHONPYCACHEPREFIX"] == str(Path("env") / "pycache")
    assert env["PATH"].split(os.pathsep)[0] == str(run.tool(Path("env"), "python").parent)


# ------------------------------------------------------------------------------------------------------ the steps


def test_steps_run_in_order(run: ModuleType) -> None:
    assert run.main(["test"]) == 0
    assert kinds(run) == ["venv", "pip", "ruff", "mypy", "pytest"]


@pytest.mark.parametrize(("failing", "ran", "left"), [
    ("ruff", ["ruff"], "mypy, pytest"),
    ("mypy", ["ruff", "mypy"], "pytest"),
    ("pytest", ["ruff", "mypy", "pytest"], ""),
])
def test_the_first_failure_stops_and_is_named(run: ModuleType, failing: str, ran: list[str], left: str) -> None:
    run.main(["setup"])
    run.calls.clear()
    run.fail = {failing}
    with pytest.raises(run.Stop) as stop:
        run.main(["test"])
    assert kinds(run) == ran
    assert stop.value.status == 3
    assert f"FAILED: {failing} (exit status 3)" in stop.value.message
    assert (f"not run: {left}" in stop.value.message) == bool(left)


def test_tests_spread_over_processes_unless_told_otherwise(run: ModuleType) -> None:
    assert run.test_step(Path("env"), [], 2)[1][-4:] == ["-n", "2", "--dist", "loadfile"]
    assert run.test_step(Path("env"), [], 64)[1][-3] == "4"
    assert run.test_step(Path("env"), [], 1)[1][-1] == "pytest"
    assert run.test_step(Path("env"), ["-k", "dropout"], 2)[1][-2:] == ["-k", "dropout"]
    assert "-n" not in run.test_step(Path("env"), ["-k", "dropout"], 2)[1]


@pytest.mark.parametrize("command", ["lint", "setup"])
def test_arguments_where_none_are_taken_are_an_error(run: ModuleType, command: str) -> None:
    with pytest.raises(run.Stop, match="takes no arguments; received: --fast"):
        run.main([command, "--fast"])


# --------------------------------------------------------------------------------------- running a command for real


PROGRAM = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("run_script", sys.argv[1])
run = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run)
sys.exit(run.call([sys.executable, "-c", sys.argv[2]]))
"""


def test_output_and_status_of_a_command_pass_through() -> None:
    child = "import sys; print('seen'); print('told', file=sys.stderr); sys.exit(7)"
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(SCRIPT), child], capture_output=True, text=True,
                          check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr.strip()) == (7, "seen", "told")


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_waits_for_the_command_to_end_its_way() -> None:
    import signal

    child = ("import time\ntry:\n    print('started', flush=True); time.sleep(60)\n"
             "except KeyboardInterrupt:\n    time.sleep(0.3); print('saved', flush=True)")
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(SCRIPT), child], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to everyone in the group
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "saved\n", "")

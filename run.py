#!/usr/bin/env python3
"""Set up wellfit and run it, with nothing but Python 3.11 or newer.

  python run.py demo                real data, diagnosed, tuned and reported in a few minutes
  python run.py demo --help         the options of the demo
  python run.py -- tune data.csv --target price --budget 5m --out RUN
                                    any wellfit command: what follows -- is passed on
  python run.py test                ruff, mypy and pytest, in this order; stops at the first that fails
  python run.py test -k dropout -x  the same, with these arguments for pytest
  python run.py lint                ruff and mypy alone
  python run.py setup               only make the environment for the above

The first run makes a virtual environment in .venv beside this file and installs wellfit there, with the versions of
constraints.txt. Later runs start at once, and install again only when pyproject.toml, constraints.txt, the version
of Python or the place of this folder has changed. An interrupted installation is made anew. The native engine is
compiled when its sources have changed; without a C++ compiler wellfit runs on its reference engine, slower. Setting up
writes to this folder only, and to pip's own cache.

On Linux pip's default torch brings CUDA (some gigabytes). For the CPU build (about 200 MB) let pip know where the
PyTorch project publishes it, as described on its "Get Started" page: PIP_EXTRA_INDEX_URL, or PIP_FIND_LINKS for a
folder with the wheel.

Environment: WELLFIT_VENV names another place for the virtual environment. CXX names the C++ compiler;
WELLFIT_NO_NATIVE=1 compiles nothing, WELLFIT_REQUIRE_NATIVE=1 stops where the native engine does not compile.
"""

# This file runs before anything is known about the Python it runs on: standard library only, and no syntax newer
# than Python 3.7, so that an old one can say that it is too old.

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
OLDEST = (3, 11)
STAMP = "wellfit-install.json"


class Stop(Exception):
    """The end of this program: an exit status, and a message unless the failed command has said it all."""

    def __init__(self, status: int, message: str = "") -> None:
        super().__init__(message)
        self.status, self.message = status, message


def say(message: str) -> None:
    """One line about what is being done, on stderr: stdout belongs to the command."""
    print("run.py: " + message, file=sys.stderr, flush=True)


def check_python(version: tuple, executable: str) -> None:
    """Stop unless this Python is new enough."""
    if tuple(version[:2]) < OLDEST:
        have, need = ".".join(map(str, version[:3])), ".".join(map(str, OLDEST))
        raise Stop(2, f"wellfit needs Python {need} or newer; this is Python {have} ({executable}).\n"
                      f"  Install a newer one and name it, for example: python{need} run.py demo")


# ------------------------------------------------------------------------------------------------ running commands


def call(command: list, env: dict | None = None, cwd: Path | None = ROOT, keep: tuple = ()) -> int:
    """Run a command on this terminal until it ends, whatever happens here; its exit status.

    Ctrl-C reaches the command as well as this program. The command decides how to end (it may save its best weights
    first), so we go on waiting; a second Ctrl-C asks it to end now, a third makes it. ``keep``: file descriptors that
    stay open in the command.
    """
    interrupts = 0
    process = subprocess.Popen([str(part) for part in command], cwd=None if cwd is None else str(cwd), env=env,
                               pass_fds=keep)
    try:
        while True:
            try:
                status = process.wait()
                break
            except KeyboardInterrupt:
                interrupts += 1
                if interrupts == 2:
                    process.terminate()
                elif interrupts > 2:
                    process.kill()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if interrupts and status:
        raise Stop(130, "interrupted")
    return status if status >= 0 else 128 - status


def environment(venv: Path, **more: str) -> dict:
    """The environment variables for a command of this virtual environment."""
    env = {**os.environ, "VIRTUAL_ENV": str(venv), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_USER": "0", **more}
    env["PATH"] = str(tool(venv, "python").parent) + os.pathsep + env.get("PATH", "")
    env.pop("PYTHONHOME", None)
    if env.pop("PYTHONDONTWRITEBYTECODE", None):
        # Without bytecode every start compiles torch. Who wants none in their folders gets it in ours.
        env["PYTHONPYCACHEPREFIX"] = str(venv / "pycache")
    return env


def tool(venv: Path, name: str, windows: bool = os.name == "nt") -> Path:
    """The path of a command inside a virtual environment."""
    return venv / "Scripts" / f"{name}.exe" if windows else venv / "bin" / name


# ---------------------------------------------------------------------------------------- the virtual environment


def fingerprint(root: Path = ROOT, version: tuple = tuple(sys.version_info[:3])) -> str:
    """What an installation depends on. The folder counts: scripts and the editable install hold its path."""
    digest = hashlib.sha256(f"{root} {'.'.join(map(str, version))}".encode())
    for name in ("pyproject.toml", "constraints.txt"):
        content = (root / name).read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"\n{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def read_stamp(venv: Path) -> dict | None:
    """What we noted in an environment: None where we never were, {} where we did not come to the end."""
    try:
        text = (venv / STAMP).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        stamp = json.loads(text)
    except ValueError:
        return {}
    return stamp if isinstance(stamp, dict) and "fingerprint" in stamp else {}


def write_stamp(venv: Path, stamp: dict) -> None:
    """Note the state of an environment, in one step: a reader sees the old note or the new one."""
    new = venv / (STAMP + ".new")
    new.write_text(json.dumps(stamp) + "\n", encoding="utf-8")
    os.replace(new, venv / STAMP)


def works(venv: Path) -> bool:
    """Whether the environment has a Python that starts, is new enough and has pip."""
    probe = f"import sys, pip; sys.exit(sys.version_info < {OLDEST!r})"
    try:
        done = subprocess.run([str(tool(venv, "python")), "-c", probe], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, env=environment(venv), check=False)
    except OSError:
        return False
    return done.returncode == 0


def make(venv: Path, keep: tuple) -> None:
    """Make the virtual environment, in place of what an earlier start left there."""
    venv.mkdir(parents=True, exist_ok=True)
    write_stamp(venv, {})  # first in and last out: an interrupted start is known by it
    for child in venv.iterdir():
        if child.name != STAMP:
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child)
            else:
                child.unlink()
    base = getattr(sys, "_base_executable", None) or sys.executable  # not the Python that was just removed
    if call([base, "-m", "venv", venv], keep=keep):
        raise Stop(1, "python -m venv failed.\n  On Debian and Ubuntu: install the package python3-venv.")


def install(venv: Path, extras: set, keep: tuple) -> None:
    """Install wellfit (editable) with these extras, pinned by constraints.txt."""
    write_stamp(venv, {})
    target = ".[" + ",".join(sorted(extras)) + "]" if extras else "."
    command = [tool(venv, "python"), "-m", "pip", "install", "--quiet", "--no-compile", "--no-input",
               "-c", "constraints.txt", "-e", target]
    # The engine comes after: here pip would hide what the compiler says.
    if call(command, environment(venv, WELLFIT_NO_NATIVE="1"), keep=keep):
        raise Stop(1, "the installation failed: pip's message is above.\n"
                      "  If it is about the network, run this again: what was downloaded is kept.")
    write_stamp(venv, {"fingerprint": fingerprint(), "python": list(sys.version_info[:2]), "extras": sorted(extras)})


def is_set(name: str) -> bool:
    """Whether an environment variable says yes."""
    return os.environ.get(name, "") not in ("", "0")


def compile_engine(venv: Path) -> None:
    """Bring the native engine up to date: a moment, unless its sources have changed.

    Nothing depends on it but speed, so a failure does not stop us, and is told once: again only when it is another.
    """
    path = ROOT / "src" / "wellfit" / "population" / "native" / "build.py"
    if is_set("WELLFIT_NO_NATIVE") or not path.is_file():
        return
    spec = importlib.util.spec_from_file_location("wellfit_native_build", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    trouble = ""
    try:
        module.build()
    except module.BuildError as error:
        trouble = f"wellfit runs on its reference engine, slower than it could. {error}"
        if is_set("WELLFIT_REQUIRE_NATIVE"):
            raise Stop(1, str(error)) from None
    stamp = read_stamp(venv)
    if trouble != stamp.get("trouble", ""):
        if trouble:
            say(trouble)
        write_stamp(venv, {**stamp, "trouble": trouble})


def ready(*extras: str) -> Path:
    """A virtual environment with wellfit and at least these extras; at once when nothing has changed."""
    venv = Path(os.path.abspath(os.environ.get("WELLFIT_VENV") or str(ROOT / ".venv")))
    with locked(venv) as keep:
        stamp, wanted = read_stamp(venv), set(extras)
        if stamp is None and venv.exists() and not (venv / "pyvenv.cfg").exists() and any(venv.iterdir()):
            raise Stop(2, f"{venv} exists and is not a virtual environment.\n  Move it away, then run this again.")
        if stamp and stamp["fingerprint"] == fingerprint() and wanted <= set(stamp["extras"]):
            if tool(venv, "python").exists():
                compile_engine(venv)
                return venv
            stamp = {}
        whole = stamp != {} and works(venv)
        if stamp and stamp.get("python") != list(sys.version_info[:2]):
            whole = False  # made with another Python: the one that runs this is the one meant
        if whole and stamp:
            say(f"bringing {venv} up to date: up to two minutes ...")
            wanted |= set(stamp["extras"])
        elif whole:
            say(f"installing wellfit into {venv}: one or two minutes, plus the download of torch ...")
        else:
            what = f"{venv} is unfinished or unusable: making it anew" if venv.exists() else f"making {venv}"
            say(f"{what} and installing wellfit there: one or two minutes, plus the download of torch ...")
            make(venv, keep)
        install(venv, wanted, keep)
        compile_engine(venv)
        say("installed.")
    return venv


@contextlib.contextmanager
def locked(venv: Path):
    """Let one run.py at a time look at and change an environment; a second one waits.

    Yields the file descriptors to keep open in commands: a pip that outlives its run.py then holds the lock on.
    """
    venv.parent.mkdir(parents=True, exist_ok=True)
    with open(str(venv) + ".lock", "a+b") as file:
        if os.name == "nt":
            import msvcrt

            while True:
                with contextlib.suppress(OSError):  # it gives up after ten seconds
                    file.seek(0)
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                    break
            try:
                yield ()
            finally:
                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
        else:
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("another run.py is setting up the same environment: waiting for it ...")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield (file.fileno(),)  # closing the file unlocks it


# ----------------------------------------------------------------------------------------------------- commands


def wellfit(arguments: list) -> int:
    """Run the wellfit command line."""
    venv = ready()
    return call([tool(venv, "wellfit"), *arguments], environment(venv), cwd=None)  # its paths are the caller's


def lint_steps(venv: Path) -> list:
    """The checks that read the code: (name, command)."""
    python = tool(venv, "python")
    return [("ruff", [python, "-m", "ruff", "check", "."]), ("mypy", [python, "-m", "mypy"])]


def test_step(venv: Path, arguments: list, processors: int) -> tuple:
    """The tests: (name, command). Spread over processes, unless the caller has arguments of their own."""
    spread = ["-n", str(min(processors, 4)), "--dist", "loadfile"] if not arguments and processors > 1 else []
    return "pytest", [tool(venv, "python"), "-m", "pytest", *spread, *arguments]


def run_steps(venv: Path, steps: list) -> int:
    """Run checks one after another; stop at the first that fails and name it.

    Each process computes on one thread: small networks run fastest so, and several processes do not fight.
    """
    env = environment(venv, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    for number, (name, command) in enumerate(steps, start=1):
        say(f"[{number}/{len(steps)}] {name}")
        status = call(command, env)
        if status:
            left = ", ".join(later for later, _ in steps[number:])
            raise Stop(status, f"FAILED: {name} (exit status {status})" + (f"; not run: {left}" if left else ""))
    return 0


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main(arguments: list) -> int:
    """Do what the command line says; the exit status."""
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if command in ("-h", "--help", "help"):
        print(__doc__.strip())
        return 0
    if command not in ("demo", "test", "lint", "setup", "--"):
        raise Stop(2, f"there is no command {command!r}.\n  expected: demo, test, lint, setup, or -- and a wellfit "
                      "command\n  try: python run.py --help")
    if rest and command in ("lint", "setup"):
        raise Stop(2, f"{command} takes no arguments; received: {' '.join(rest)}")
    check_python(tuple(sys.version_info), sys.executable)
    if command == "demo":
        return wellfit(["demo", *rest])
    if command == "--":
        return wellfit(rest)
    venv = ready("test")
    if command == "setup":
        say(f"ready: {tool(venv, 'python')}")
        return 0
    steps = lint_steps(venv)
    if command == "test":
        steps.append(test_step(venv, rest, processors()))
    return run_steps(venv, steps)


def on_terminate(number: int, frame: object) -> None:
    """Leave through the finally clauses when asked to end, so that the command ends too."""
    raise Stop(128 + number, "terminated")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, on_terminate)
    try:
        sys.exit(main(sys.argv[1:]))
    except Stop as stop:
        if stop.message:
            say(stop.message)
        sys.exit(stop.status)
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(130)
    except OSError as error:  # a full disk, a folder that cannot be written
        say(f"{error}")
        sys.exit(1)

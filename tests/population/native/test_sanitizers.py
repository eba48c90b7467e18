"""The engine under the compiler's checkers: replay.cpp trains and evaluates networks of many shapes with every part."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from wellfit.population.native import build, library

REPLAY = Path(__file__).with_name("replay.cpp")
FLAGS = ("-std=c++17", "-g1", "-fno-omit-frame-pointer", "-pthread")

#: Each with a program that it must catch, and whether it is so slow that a part of the replay has to do.
CHECKERS: dict[str, tuple[tuple[str, ...], str, bool]] = {
    "address,undefined": (
        ("-Og", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
        "int main(int n, char **) { int *p = new int[2]; p[n + 1] = n; int out = p[n + 1]; delete[] p; return out - n; }", False),
    "thread": (
        ("-O1", "-fsanitize=thread"),
        "#include <thread>\nint n; int main() { std::thread t([] { ++n; }); ++n; t.join(); return n - 2; }", True),
}
VARIANTS = build.variants_here()


def widest() -> str:
    """The build that this processor runs; the plainest where none is there to ask."""
    engine = library.engine()
    return VARIANTS[-1] if engine is None else engine.name


@dataclass
class Workshop:
    """Compiles in the background, each program once: all are started at once, so that several cores share the work."""

    folder: Path
    compiler: list[str]
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(len(os.sched_getaffinity(0))
                                                                                  if hasattr(os, "sched_getaffinity") else 2))
    jobs: dict[tuple[str, str], Future[Path]] = field(default_factory=dict)

    def start(self, checker: str, variant: str) -> None:
        program = self.folder / f"{checker.replace(',', '-')}-{variant}"
        flags = (*build.instruction_flags(self.compiler, variant), *CHECKERS[checker][0])
        self.jobs[checker, variant] = self.threads.submit(self.compile, REPLAY, program, flags)

    def compile(self, source: Path, program: Path, flags: tuple[str, ...]) -> Path:
        done = subprocess.run([*self.compiler, *FLAGS, *flags, "-I", str(build.SOURCES), str(source), "-o", str(program)],
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        return program

    def why_useless(self, checker: str) -> str:
        """Why a checker is of no use here: its library is missing, or it does not notice what it is there to notice."""
        source = self.folder / f"{checker.replace(',', '-')}.cpp"
        source.write_text(CHECKERS[checker][1])
        try:
            program = self.compile(source, source.with_suffix(".probe"), CHECKERS[checker][0])
        except AssertionError as error:
            return f"this compiler has no {checker} sanitizer: {error}"
        said = run(program)
        caught = said.returncode != 0 and any(word in said.stderr for word in ("Sanitizer: ", "runtime error: "))
        return "" if caught else f"the {checker} sanitizer does not work here: {said.stderr}"


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run what was compiled, in the way this system allows."""
    command, environment = [str(program), *arguments], {**os.environ, "LC_ALL": "C"}
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LD_PRELOAD"):
        environment.pop(name, None)

    def once() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)

    done = once()
    if "unexpected memory mapping" in done.stderr and (setarch := shutil.which("setarch")):
        command[:0] = [setarch, "-R"]  # older libraries do not stand the way newer kernels spread addresses
        done = once()
    if "LeakSanitizer has encountered a fatal error" in done.stderr:  # a container without ptrace
        environment["ASAN_OPTIONS"] = "detect_leaks=0"
        done = once()
    return done


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    if os.name == "nt":
        pytest.skip("sanitizers are for systems with GCC or Clang as they come")
    try:
        compiler = build.find_compiler()
    except build.BuildError as error:
        pytest.skip(str(error))
    made = Workshop(tmp_path_factory.mktemp("sanitizers"), compiler)
    for checker in CHECKERS:
        if not made.why_useless(checker):
            for variant in dict.fromkeys((widest(), VARIANTS[-1])):
                made.start(checker, variant)
    yield made
    made.threads.shutdown(cancel_futures=True)


@pytest.mark.parametrize("which", ["the processor's own", "the plainest"])
@pytest.mark.parametrize("checker", CHECKERS)
def test_the_engine_is_clean(checker: str, which: str, workshop: Workshop) -> None:
    """No access beyond an array, no undefined operation, no leak, no race; and the same results on any number of threads."""
    variant = VARIANTS[-1] if which == "the plainest" else widest()
    if which == "the plainest" and variant == widest():
        pytest.skip("the processor's own is the plainest")
    if (checker, variant) not in workshop.jobs:
        pytest.skip(workshop.why_useless(checker))
    done = run(workshop.jobs[checker, variant].result(), *(["brief"] if CHECKERS[checker][2] else []))
    said = done.stdout[-3000:] + done.stderr[:6000]
    assert done.returncode == 0, said
    assert "all the same" in done.stdout, said

"""Compile the native engine: ``csrc/engine.cpp`` into one shared library per instruction set, in ``lib/`` beside this file.

Needs a C++17 compiler with vector extensions: GCC 12 or newer, Clang 12 or newer, or the Clang of Xcode. On Windows that is
the Clang of LLVM (``clang++``); Microsoft's own compiler has no vector extensions. Without a compiler wellfit works all
the same, on the reference engine.

Standard library only, and nothing of wellfit: hatch_build.py and run.py load this file by its path, where there may be no
torch.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["LIBRARIES", "SOURCES", "BuildError", "build", "find_compiler", "library_name", "source_hash", "variants_here"]

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "csrc"
LIBRARIES = HERE / "lib"
STAMP = "stamp.json"

COMMAND = "python -m wellfit.population.native.build"
REMEDY = f"install a C++ compiler, then run: {COMMAND}"
WINDOWS, MACOS = os.name == "nt", sys.platform == "darwin"

#: What every library is compiled with. Windows knows neither -fPIC (Clang refuses it) nor -pthread, and Clang links there
#: what __builtin_cpu_supports needs only when asked to.
FLAGS = (
    "-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-shared", "-fvisibility=hidden",
    "-Wall", "-Wextra", *(("-rtlib=compiler-rt",) if WINDOWS else ("-fPIC", "-pthread")),
)

#: What each instruction set adds: the first group that the compiler knows. GCC before 11 has no x86-64-v3 and -v4, and the
#: generic library of a processor that is not x86 takes the compiler's own baseline.
INSTRUCTION_SETS: dict[str, tuple[tuple[str, ...], ...]] = {
    "avx512": (
        ("-march=x86-64-v4", "-mprefer-vector-width=512"),
        ("-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma", "-mbmi2", "-mprefer-vector-width=512"),
    ),
    "avx2": (("-march=x86-64-v3",), ("-mavx2", "-mfma", "-mbmi2")),
    "neon": ((),),
    "generic": (("-march=x86-64",), ()),
}

EXAMPLES = f"""\
examples:
  {COMMAND}
      compile what is missing or out of date
  {COMMAND} --force
      compile everything again
  {COMMAND} --variant avx2 --variant generic
      only these
  CXX=clang++ {COMMAND}
      with another compiler
  {COMMAND} --sanitize address
      for debugging: slow, with checks, into lib/sanitize-address; the Python that loads it needs the checker's own
      library first, as in LD_PRELOAD="$(g++ -print-file-name=libasan.so)" (thread: libtsan.so, undefined: libubsan.so)
"""


class BuildError(RuntimeError):
    """The native engine could not be compiled. The message says what happened and what to do."""


def trouble(what: str, *, received: str, expected: str = "", remedy: str = REMEDY) -> BuildError:
    """An error with its message in the form of wellfit's own."""
    lines = [what, f"  received: {received}", f"  expected: {expected}" if expected else "", f"  try: {remedy}"]
    return BuildError("\n".join(line for line in lines if line))


# -------------------------------------------------------------------------------------------------- what and where


def machine() -> str:
    """The processor compiled for: this one, or the one that ARCHFLAGS names where macOS compiles for another."""
    named = re.findall(r"-arch\s+(\S+)", os.environ.get("ARCHFLAGS", "")) if MACOS else []
    return (named[0] if len(named) == 1 else platform.machine()).lower()


def variants_here() -> list[str]:
    """The instruction sets there is a library for on this kind of processor, the widest first."""
    if machine() in ("x86_64", "amd64"):
        return ["avx512", "avx2", "generic"]
    return ["neon"] if machine() in ("arm64", "aarch64") else ["generic"]


def library_name(variant: str) -> str:
    """The file name of a library on this system.

    >>> library_name("avx2").startswith("engine.avx2.")
    True
    """
    return f"engine.{variant}" + (".dll" if WINDOWS else ".dylib" if MACOS else ".so")


def source_hash(sources: Path | None = None) -> str:
    """16 hexadecimal digits over the C++ files. Each library holds it as WELLFIT_SOURCE_HASH: is it of these sources?

    Line ends do not count, so that a checkout on Windows has the hash of every other.
    """
    digest = hashlib.sha256()
    for path in sorted((sources or SOURCES).glob("*"), key=lambda path: path.name):
        if path.suffix in (".cpp", ".h"):
            content = path.read_bytes().replace(b"\r\n", b"\n")
            digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


# ---------------------------------------------------------------------------------------------------- the compiler


def find_compiler(name: str | None = None) -> list[str]:
    """The command of the compiler: ``name``, else $CXX, else the first of g++, clang++ and c++ (Windows: clang++).

    Raises ``BuildError`` if there is none. A compiler that was named is used or missed, never replaced by another.
    """
    expected = "clang++ of LLVM: Microsoft's compiler has no vector extensions" if WINDOWS else "GCC 12 or Clang 12, or newer"
    named = name or os.environ.get("CXX", "").strip()
    if not named:
        candidates = ("clang++",) if WINDOWS else ("g++", "clang++", "c++")
        found = next(filter(None, map(shutil.which, candidates)), None)
        if found is None:
            raise trouble("There is no C++ compiler.", received=f"none of {', '.join(candidates)} on PATH, and no CXX",
                          expected=expected)
        return [found]
    # A path may have spaces, and "ccache g++" is two words.
    words = [named] if shutil.which(named) else shlex.split(named, posix=not WINDOWS)
    program = shutil.which(words[0])
    if program is None:
        raise trouble("There is no such C++ compiler.", received=named, expected=expected,
                      remedy=f"name one that exists in CXX, or unset CXX, then run: {COMMAND}")
    if Path(program).stem.lower() in ("cl", "clang-cl"):
        raise trouble("This compiler cannot compile the engine.", received=named, expected=expected,
                      remedy=f"set CXX=clang++, then run: {COMMAND}")
    return [program, *words[1:]]


def call(command: Sequence[str | Path], *, folder: Path, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run the compiler, its messages in English, and in ASCII where it can."""
    try:
        return subprocess.run([str(part) for part in command], cwd=folder, input=text, capture_output=True, text=True,
                              errors="replace", env={**os.environ, "LC_ALL": "C"}, check=False)
    except OSError as error:
        raise trouble("The C++ compiler does not start.", received=str(error)) from error


def version_of(compiler: list[str]) -> str:
    """What the compiler says it is."""
    done = call([*compiler, "--version"], folder=HERE)
    if done.returncode:
        hint = "run: xcode-select --install" if MACOS else "install it anew"
        raise trouble("The C++ compiler does not work.", remedy=f"{hint}, then run: {COMMAND}",
                      received=f"{shlex.join(compiler)} --version: {tail(done.stderr) or 'failed'}")
    return done.stdout


def instruction_flags(compiler: list[str], variant: str) -> tuple[str, ...]:
    """The flags of an instruction set that this compiler knows."""
    groups = INSTRUCTION_SETS[variant]
    for flags in groups:
        # Nothing but a look at the flags: no input, no output.
        if not flags or call([*compiler, *flags, "-x", "c++", "-fsyntax-only", "-"], folder=HERE).returncode == 0:
            return flags
    raise trouble(f"The C++ compiler cannot compile for {variant}.", received=shlex.join(compiler),
                  expected=f"one that knows {groups[0][0]}",
                  remedy=f"install a newer compiler and name it in CXX, then run: {COMMAND}")


def system_flags(variant: str) -> tuple[str, ...]:
    """What macOS needs: the processor by name, and no path of this machine in the library."""
    if not MACOS:
        return ()
    return "-arch", machine(), f"-Wl,-install_name,@rpath/{library_name(variant)}"


def tail(text: str, lines: int = 30) -> str:
    """The end of what a compiler wrote, indented; from the first error on where that lies before the end."""
    said = text.strip().splitlines()
    start = max(len(said) - lines, 0)
    start = min([start, *(number for number, line in enumerate(said) if "error" in line)])
    shown = said[start:start + lines]
    return "\n    ".join(shown if start + lines >= len(said) else [*shown, "..."])


# ------------------------------------------------------------------------------------------------------- compiling


def build(target: Path | None = None, *, variants: Sequence[str] | None = None, compiler: str | None = None,
          extra_flags: Sequence[str] = (), quiet: bool = False, sources: Path | None = None,
          force: bool = False) -> list[Path]:
    """Compile the engine where it is missing or out of date; the libraries, the widest instruction set first.

    Args:
        target: The folder of the libraries; ``lib`` beside this file.
        variants: Of ``variants_here()``; all of them.
        compiler: A command; $CXX, or what the system has.
        extra_flags: For the compiler, after all others.
        quiet: Say nothing, not even the compiler's warnings.
        sources: The folder of engine.cpp; ``csrc`` beside this file.
        force: Compile also what is up to date, or failed with this compiler.

    Each library is complete or absent at any moment, and a process that has loaded the old one keeps it.

    Raises ``BuildError``, with the end of what the compiler said.
    """
    target, sources = (target or LIBRARIES).resolve(), (sources or SOURCES).resolve()
    wanted = variants_here() if variants is None else list(dict.fromkeys(variants))
    if unknown := [variant for variant in wanted if variant not in variants_here()]:
        raise trouble("There is no such variant for this processor.", received=", ".join(unknown),
                      expected=", ".join(variants_here()), remedy=f"{COMMAND} --help")
    if not (sources / "engine.cpp").is_file():
        raise trouble("The sources of the native engine are missing.", received=f"no engine.cpp in {sources}",
                      remedy="install wellfit anew: its packages hold the sources")
    command = find_compiler(compiler)
    identity = [shlex.join(command), version_of(command), source_hash(sources), *FLAGS, *extra_flags,
                os.environ.get("MACOSX_DEPLOYMENT_TARGET", "")]
    inputs = {variant: digest_of(repr([identity, INSTRUCTION_SETS[variant], system_flags(variant)]).encode())
              for variant in wanted}
    noted = read_stamp(target)
    due = [variant for variant in wanted if force or not up_to_date(target, variant, inputs[variant], noted)]
    for variant in due:
        if not force and noted.get(variant, {}).get("inputs") == inputs[variant] and "failed" in noted[variant]:
            raise BuildError(noted[variant]["failed"])  # the same compiler would say the same of the same sources
    if due:
        started = time.monotonic()
        if not quiet:
            say(f"compiling the native engine ({', '.join(due)}) with {Path(command[0]).name} ...")
        try:
            target.mkdir(parents=True, exist_ok=True)
            # On the same file system as the libraries, so that moving one there is one step.
            with tempfile.TemporaryDirectory(prefix=".build-", dir=target, ignore_cleanup_errors=True) as scratch:
                compile_into(target, Path(scratch), {variant: inputs[variant] for variant in due}, command, sources,
                             extra_flags, quiet)
        except OSError as error:
            raise trouble("The native engine cannot be written.", received=str(error),
                          remedy=f"end the programs that use wellfit, make {target} writable, then run: {COMMAND}") from error
        if not quiet:
            say(f"compiled in {time.monotonic() - started:.0f} s.")
    return [target / library_name(variant) for variant in wanted]


def compile_into(target: Path, scratch: Path, inputs: dict[str, str], command: list[str], sources: Path,
                 extra_flags: Sequence[str], quiet: bool) -> None:
    """Compile these variants side by side and put them into ``target``: all of them, or none."""

    def one(variant: str) -> tuple[list[str], subprocess.CompletedProcess[str]]:
        # The source by its name alone, from its own folder: no path of this machine gets into the library.
        flags = [*FLAGS, *instruction_flags(command, variant), *system_flags(variant),
                 f'-DWELLFIT_SOURCE_HASH="{source_hash(sources)}"', *extra_flags]
        return flags, call([*command, *flags, "engine.cpp", "-o", scratch / library_name(variant)], folder=sources)

    def note(news: dict[str, dict[str, str]]) -> None:
        (scratch / STAMP).write_text(json.dumps({**read_stamp(target), **news}, indent=1) + "\n", encoding="utf-8")
        os.replace(scratch / STAMP, target / STAMP)

    with ThreadPoolExecutor(max_workers=min(len(inputs), os.cpu_count() or 1)) as pool:
        results = dict(zip(inputs, pool.map(one, inputs)))
    for variant, (flags, done) in results.items():
        if done.returncode:
            output = tail(done.stderr or done.stdout) or f"exit status {done.returncode}"
            error = trouble(f"The native engine does not compile for {variant}.",
                            received=f"{shlex.join([*command, *flags])}\n    {output}",
                            expected="GCC 12 or Clang 12, or newer",
                            remedy=f"name a newer compiler in CXX, then run: {COMMAND} (--force with the same one)")
            # An error at a place in the source is there next time too; a full disk or memory may not be.
            if re.search(r":\d+:\d+: (fatal )?error:", done.stderr):
                note({variant: {"inputs": inputs[variant], "failed": str(error)}})
            raise error
        if done.stderr.strip() and not quiet:
            say(f"{variant}: {done.stderr.strip()}")
    made = {variant: digest_of((scratch / library_name(variant)).read_bytes()) for variant in inputs}
    for variant in inputs:
        os.replace(scratch / library_name(variant), target / library_name(variant))
    note({variant: {"inputs": inputs[variant], "library": made[variant]} for variant in inputs})


def digest_of(content: bytes) -> str:
    """The hash that the stamp notes."""
    return hashlib.sha256(content).hexdigest()


def read_stamp(folder: Path) -> dict[str, dict[str, str]]:
    """What was compiled from what, by variant; nothing where that is not known."""
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    whole = isinstance(stamp, dict) and all(isinstance(value, dict) for value in stamp.values())
    return stamp if whole else {}


def up_to_date(folder: Path, variant: str, inputs: str, noted: dict[str, dict[str, str]]) -> bool:
    """Whether the library is there, made of these inputs, and the file that the stamp was written for.

    The last guards against a build that was killed between the library and the stamp.
    """
    try:
        content = (folder / library_name(variant)).read_bytes()
    except OSError:
        return False
    return noted.get(variant) == {"inputs": inputs, "library": digest_of(content)}


# ---------------------------------------------------------------------------------------------------- command line


def say(message: str) -> None:
    """One line about what is being done, on stderr: stdout belongs to whoever calls this."""
    print(f"wellfit: {message}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Compile wellfit's native engine for this machine.",
                                     epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--force", action="store_true", help="compile also what is up to date, or failed with this compiler")
    parser.add_argument("--variant", action="append", choices=variants_here(), metavar="V",
                        help=f"an instruction set, any number of times: {', '.join(variants_here())} (default: all)")
    parser.add_argument("--sanitize", choices=("address", "undefined", "thread"),
                        help="compile with this checker, for debugging, into a folder of its own")
    given = parser.parse_args(arguments)
    target, extra = LIBRARIES, []
    if given.sanitize:
        target = LIBRARIES / f"sanitize-{given.sanitize}"  # never in place of the fast ones
        extra = ["-O1", "-g", "-fno-omit-frame-pointer", f"-fsanitize={given.sanitize}"]
    try:
        paths = build(target, variants=given.variant, extra_flags=extra, force=given.force)
    except BuildError as error:
        say(str(error))
        return 1
    for path in paths:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Compiling the native engine: what is compiled when, and what is said where it fails. A tiny engine stands in."""

from __future__ import annotations

import ast
import ctypes
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "src" / "wellfit" / "population" / "native" / "build.py"

# By its path, as the build hook and run.py load it.
_spec = importlib.util.spec_from_file_location("wellfit_native_build", SCRIPT)
assert _spec is not None
assert _spec.loader is not None
native = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(native)

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("clang++",) if os.name == "nt" else ("g++", "clang++", "c++"))), reason="no C++ compiler")

ENGINE = """
#include "answer.h"
#ifdef _WIN32
#define EXPORT extern "C" __declspec(dllexport)
#else
#define EXPORT extern "C" __attribute__((visibility("default")))
#endif
EXPORT const char *source_hash() { return WELLFIT_SOURCE_HASH; }
EXPORT int answer() { return ANSWER; }
"""


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """The sources of an engine that compiles in a moment."""
    folder = tmp_path / "csrc"
    folder.mkdir()
    (folder / "engine.cpp").write_text(ENGINE)
    (folder / "answer.h").write_text("#define ANSWER 42\n")
    return folder


@pytest.fixture
def lib(tmp_path: Path) -> Path:
    return tmp_path / "lib"


def plainest() -> str:
    """The one that runs on every processor of this kind."""
    return str(native.variants_here()[-1])


def one(sources: Path, lib: Path, **more: object) -> Path:
    """Compile that one; the library."""
    (path,) = native.build(lib, sources=sources, variants=[plainest()], quiet=True, **more)
    assert isinstance(path, Path)
    return path


def age(path: Path) -> int:
    """Changes whenever a file is put there."""
    return path.stat().st_ino


# ------------------------------------------------------------------------------------------------- without compiling


def test_it_needs_the_standard_library_only() -> None:
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


@pytest.mark.parametrize(("machine", "expected"), [
    ("x86_64", ["avx512", "avx2", "generic"]), ("AMD64", ["avx512", "avx2", "generic"]), ("arm64", ["neon"]),
    ("aarch64", ["neon"]), ("riscv64", ["generic"]),
])
def test_each_kind_of_processor_has_its_variants(machine: str, expected: list[str],
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARCHFLAGS", raising=False)
    monkeypatch.setattr(native.platform, "machine", lambda: machine)
    assert native.variants_here() == expected
    assert set(expected) <= set(native.INSTRUCTION_SETS)


def test_no_compiler_is_said_with_the_remedy(sources: Path, lib: Path, tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(native.BuildError) as error:
        one(sources, lib)
    assert "There is no C++ compiler." in str(error.value)
    assert "install a C++ compiler, then run: python -m wellfit.population.native.build" in str(error.value)
    assert not lib.exists()


def test_a_named_compiler_is_missed_not_replaced(sources: Path, lib: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler --fast")
    with pytest.raises(native.BuildError, match="no-such-compiler --fast"):
        one(sources, lib)


def test_sources_that_are_missing_are_said(lib: Path, tmp_path: Path) -> None:
    with pytest.raises(native.BuildError, match=r"no engine\.cpp in"):
        one(tmp_path / "nowhere", lib)


def test_a_variant_of_another_processor_is_an_error(sources: Path, lib: Path) -> None:
    with pytest.raises(native.BuildError, match="received: sse9"):
        native.build(lib, sources=sources, variants=["sse9"])


def test_hash_follows_the_sources_and_nothing_else(sources: Path) -> None:
    first = native.source_hash(sources)
    assert len(first) == 16
    int(first, 16)
    (sources / "engine.cpp").write_bytes(ENGINE.replace("\n", "\r\n").encode())
    (sources / "answer.h~").write_text("an editor's copy")
    assert native.source_hash(sources) == first
    (sources / "answer.h").write_text("#define ANSWER 43\n")
    assert native.source_hash(sources) != first
    (sources / "answer.h").rename(sources / "reply.h")
    assert native.source_hash(sources) != first


def test_help_has_examples() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    for example in ("--force", "--variant avx2", "CXX=clang++", "--sanitize address"):
        assert example in done.stdout


def test_the_end_of_a_long_message_starts_at_its_first_error() -> None:
    said = "\n".join([*(f"note {n}" for n in range(5)), "a.cpp:1:2: error: first", *(f"note {n}" for n in range(90))])
    shown = native.tail(said).splitlines()
    assert (len(shown), shown[0], shown[-1].strip()) == (31, "a.cpp:1:2: error: first", "...")
    assert native.tail("one\ntwo\n") == "one\n    two"


# --------------------------------------------------------------------------------------------------------- compiling


@needs_compiler
def test_every_variant_is_compiled_and_knows_its_sources(sources: Path, lib: Path) -> None:
    paths = native.build(lib, sources=sources, quiet=True)
    assert [path.name for path in paths] == [native.library_name(variant) for variant in native.variants_here()]
    assert sorted(path.name for path in lib.iterdir()) == sorted([*(path.name for path in paths), "stamp.json"])
    library = ctypes.CDLL(str(paths[-1]))
    library.source_hash.restype = ctypes.c_char_p
    assert library.source_hash().decode() == native.source_hash(sources)
    assert library.answer() == 42
    assert str(sources.parent).encode() not in paths[-1].read_bytes()  # no path of the machine that compiled


@needs_compiler
def test_what_is_up_to_date_is_left_alone(sources: Path, lib: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first = age(one(sources, lib))
    native.build(lib, sources=sources, variants=[plainest()])
    assert age(lib / native.library_name(plainest())) == first
    assert capfd.readouterr() == ("", "")
    assert age(one(sources, lib, force=True)) != first


@needs_compiler
@pytest.mark.parametrize("change", ["source", "flags", "library", "missing", "stamp"])
def test_what_has_changed_is_compiled_again(sources: Path, lib: Path, change: str) -> None:
    library = one(sources, lib)
    good = library.read_bytes()
    flags: list[str] = []
    if change == "source":
        (sources / "answer.h").write_text("#define ANSWER 43\n")
    elif change == "flags":
        flags = ["-DANOTHER"]
    elif change == "library":
        library.write_bytes(b"of a build that was killed before it wrote the stamp")
    elif change == "missing":
        library.unlink()
    else:
        (lib / "stamp.json").write_text("[1")
    kept = library.open("rb") if library.exists() else None  # its inode is not used again
    before = age(library) if kept else 0
    one(sources, lib, extra_flags=flags)
    assert age(library) != before
    assert change == "source" or library.read_bytes() == good
    if kept:
        kept.close()


@needs_compiler
def test_variants_keep_their_notes_when_others_are_compiled(sources: Path, lib: Path) -> None:
    native.build(lib, sources=sources, quiet=True)
    stamps = json.loads((lib / "stamp.json").read_text())
    one(sources, lib, force=True)
    assert json.loads((lib / "stamp.json").read_text()) == stamps


@needs_compiler
@pytest.mark.skipif(os.name == "nt", reason="Windows does not replace a library in use")
def test_a_loaded_library_stays_as_it_was(sources: Path, lib: Path) -> None:
    library = ctypes.CDLL(str(one(sources, lib)))
    (sources / "answer.h").write_text("#define ANSWER 43\n")
    one(sources, lib)
    assert library.answer() == 42


@needs_compiler
def test_broken_sources_are_said_in_the_compilers_words_and_not_tried_twice(
        sources: Path, lib: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    library = one(sources, lib)
    good = library.read_bytes()
    (sources / "answer.h").write_text("#define ANSWER forty_two\n")
    with pytest.raises(native.BuildError) as error:
        one(sources, lib)
    said = str(error.value)
    for part in (f"does not compile for {plainest()}", "error:", "forty_two", "-std=c++17", "name a newer compiler in CXX"):
        assert part in said
    assert library.read_bytes() == good

    commands = []
    call = native.call
    monkeypatch.setattr(native, "call", lambda command, **more: commands.append(command) or call(command, **more))
    with pytest.raises(native.BuildError) as again:
        native.build(lib, sources=sources, variants=[plainest()])
    assert str(again.value) == said
    assert not any("engine.cpp" in command for command in commands)
    assert capfd.readouterr().err == ""
    with pytest.raises(native.BuildError):
        one(sources, lib, force=True)
    assert any("engine.cpp" in command for command in commands)

    (sources / "answer.h").write_text("#define ANSWER 42\n")
    assert one(sources, lib).read_bytes() == good


@needs_compiler
def test_a_failure_that_may_pass_is_tried_again(sources: Path, lib: Path) -> None:
    with pytest.raises(native.BuildError, match="does not compile"):
        one(sources, lib, extra_flags=["-no-such-flag"])
    assert not (lib / "stamp.json").exists()


def test_an_old_compiler_gets_the_instruction_set_flag_by_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def call(command: list[str], **more: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, int(any("x86-64-v" in str(word) for word in command)), "", "")

    monkeypatch.setattr(native, "call", call)
    assert native.instruction_flags(["g++"], "avx2") == ("-mavx2", "-mfma", "-mbmi2")
    assert "-mavx512f" in native.instruction_flags(["g++"], "avx512")
    assert native.instruction_flags(["g++"], "generic") == ("-march=x86-64",)
    assert len(asked) == 5


@needs_compiler
def test_a_folder_that_cannot_be_written_is_said(sources: Path, lib: Path) -> None:
    lib.write_text("a file in its place")
    with pytest.raises(native.BuildError, match="cannot be written"):
        one(sources, lib)


@needs_compiler
def test_builds_side_by_side_end_with_a_library_that_matches_its_note(sources: Path, lib: Path) -> None:
    threads = [threading.Thread(target=one, args=(sources, lib), kwargs={"force": True}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    before = age(lib / native.library_name(plainest()))
    assert age(one(sources, lib)) == before
    assert sorted(path.name for path in lib.iterdir()) == [native.library_name(plainest()), "stamp.json"]

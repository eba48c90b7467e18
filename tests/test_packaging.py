"""What is published: versions that fit together, a wheel that holds what it should, and no trace of a machine."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

requirements = pytest.importorskip("packaging.requirements")
utils = pytest.importorskip("packaging.utils")


def asked_for() -> dict[str, list[str]]:
    """Every requirement that pyproject.toml states, by normalised name."""
    stated = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
    by_name: dict[str, list[str]] = {}
    for text in stated:
        by_name.setdefault(utils.canonicalize_name(requirements.Requirement(text).name), []).append(text)
    return by_name


def pins() -> dict[str, str]:
    """The versions of constraints.txt, by normalised name."""
    lines = (line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
    parsed = [requirements.Requirement(line) for line in lines if line]
    for pin in parsed:
        assert re.fullmatch(r"==[\w.]+", str(pin.specifier)), f"{pin} is not one version"
    return {utils.canonicalize_name(pin.name): str(pin.specifier)[2:] for pin in parsed}


NOT_PINNED = {"triton": "torch's builds for graphics cards ask for one version of it, which a pin could contradict"}


def test_every_requirement_has_a_pin_that_satisfies_it() -> None:
    pinned = pins()
    assert not set(NOT_PINNED) & set(pinned)
    for name, stated in asked_for().items():
        if name in NOT_PINNED:
            continue
        assert name in pinned, f"{name} is asked for in pyproject.toml and not pinned in constraints.txt"
        for text in stated:
            assert requirements.Requirement(text).specifier.contains(pinned[name]), f"{text} but pinned {pinned[name]}"


def test_torch_is_pinned() -> None:
    assert pins()["torch"] == "2.13.0"


def test_pins_name_no_build_and_no_place() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "+" not in text
    assert "@" not in text
    assert not re.search(r"^\s*-", text, re.MULTILINE), "an index or a folder is a person's own setting"


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt", "run.py", ".ci/run", "CONTRIBUTING.md",
                                  "CHANGELOG.md", ".gitignore", ".gitattributes", "hatch_build.py",
                                  ".github/workflows/release.yml", "src/wellfit/population/native/build.py"])
def test_top_level_files_name_no_machine_and_no_registry(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8").replace("pypa/gh-action-pypi-publish", "")  # an action, no place
    places = re.findall(r"(?:^|[\s\"'=(])(/(?:home|root|work|opt|tmp|Users)/\S*)", text)
    registries = re.findall(r"\b(?:pypi|pythonhosted)[\w.-]*|\bdownload\.pytorch[\w.-]*", text, re.IGNORECASE)
    assert not places + registries


def test_version_and_licence() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", PROJECT["version"])
    assert PROJECT["license"] == "Apache-2.0"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").lstrip().startswith("Apache License")
    assert PROJECT["version"] in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_version_is_stated_once() -> None:
    text = (ROOT / "src" / "wellfit" / "__init__.py").read_text(encoding="utf-8")
    assert not re.search(r"__version__\s*=\s*[\"']\d", text), "take it from importlib.metadata"
    try:
        installed = importlib.metadata.version("wellfit")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("wellfit is not installed: the tests run from the source folder")
    assert installed == PROJECT["version"]


# ------------------------------------------------------------------------------------------ the wheel and the archive

NATIVE = "wellfit/population/native"
ENGINE = """
extern "C" __attribute__((visibility("default"))) const char *source_hash() { return WELLFIT_SOURCE_HASH; }
"""


def make_project(folder: Path) -> Path:
    """What a package is built from, in a folder of its own: the hook compiles there."""
    for name in ("pyproject.toml", "hatch_build.py", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    (folder / PROJECT["readme"]).write_text("wellfit\n")  # its words do not matter here
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A project with an engine that compiles in a moment."""
    project = make_project(tmp_path)
    native = project / "src" / NATIVE
    (native / "csrc").mkdir(parents=True)
    (project / "src" / "wellfit" / "__init__.py").touch()
    (native / "csrc" / "engine.cpp").write_text(ENGINE)
    shutil.copy(ROOT / "src" / NATIVE / "build.py", native)
    return project


def pack(project: Path, kind: str = "wheel", **environment: str) -> subprocess.CompletedProcess[str]:
    """Build a wheel (or: editable, sdist) of a project into its folder dist."""
    pytest.importorskip("hatchling")
    out = project / "dist"
    program = f"from hatchling.build import build_{kind} as build; print(build({str(out)!r}))"
    env = {key: value for key, value in os.environ.items() if not key.startswith(("SOURCE_DATE_EPOCH", "WELLFIT_"))}
    return subprocess.run([sys.executable, "-c", program], cwd=project, env={**env, **environment}, capture_output=True,
                          text=True, check=False)


def the_wheel(project: Path) -> zipfile.ZipFile:
    """The one wheel that was built."""
    (path,) = (project / "dist").glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy of the sources, without the compiled engine."""
    project = make_project(tmp_path_factory.mktemp("project"))
    shutil.copytree(ROOT / "src", project / "src", ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    done = pack(project, WELLFIT_NO_NATIVE="1")
    assert done.returncode == 0, done.stderr
    return the_wheel(project)


def test_wheel_holds_every_file_of_the_package_and_no_other(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    info = f"wellfit-{PROJECT['version']}.dist-info/"
    expected = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src" / "wellfit").rglob("*")
                if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"}
    packed = {name for name in names if not name.startswith(info)}
    # Vendored scripts, native sources and py.typed included; caches, tests and libraries of earlier builds not.
    assert packed == {name for name in expected if not name.startswith(f"{NATIVE}/lib/")}


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="no C++ compiler")
def test_wheel_holds_the_libraries_of_this_build_and_is_for_this_platform_and_any_python(small: Path) -> None:
    stale = small / "src" / NATIVE / "lib" / "engine.other.so"
    stale.parent.mkdir()
    stale.touch()
    done = pack(small, WELLFIT_REQUIRE_NATIVE="1")
    assert done.returncode == 0, done.stderr
    with the_wheel(small) as wheel:
        assert re.fullmatch(rf"wellfit-{PROJECT['version']}-py3-none-(linux|macosx|win)\w+\.whl", Path(str(wheel.filename)).name)
        info = wheel.read(f"wellfit-{PROJECT['version']}.dist-info/WHEEL").decode()
        assert "Root-Is-Purelib: false" in info
        libraries = {Path(name).stem for name in wheel.namelist() if name.startswith(f"{NATIVE}/lib/")}
    assert libraries in ({"engine.avx512", "engine.avx2", "engine.generic"}, {"engine.neon"}, {"engine.generic"})


def test_without_a_compiler_the_wheel_is_pure_and_says_so(small: Path) -> None:
    done = pack(small, CXX="no-such-compiler")
    assert done.returncode == 0, done.stderr
    assert "There is no such C++ compiler." in done.stderr
    assert "python -m wellfit.population.native.build" in done.stderr
    assert "reference engine" in done.stderr
    with the_wheel(small) as wheel:
        assert str(wheel.filename).endswith("-py3-none-any.whl")
        assert f"{NATIVE}/csrc/engine.cpp" in wheel.namelist()
        assert not any("/lib/" in name for name in wheel.namelist())


def test_a_wheel_that_must_have_the_engine_fails_without_a_compiler(small: Path) -> None:
    done = pack(small, CXX="no-such-compiler", WELLFIT_REQUIRE_NATIVE="1")
    assert done.returncode
    assert "There is no such C++ compiler." in done.stderr
    assert not list((small / "dist").glob("*.whl"))


def test_the_engine_can_be_left_out(small: Path) -> None:
    done = pack(small, CXX="no-such-compiler", WELLFIT_NO_NATIVE="1")
    assert done.returncode == 0, done.stderr
    assert "compiler" not in done.stderr
    assert str(the_wheel(small).filename).endswith("-py3-none-any.whl")


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="no C++ compiler")
def test_an_editable_installation_compiles_where_the_sources_are(small: Path) -> None:
    done = pack(small, "editable", WELLFIT_REQUIRE_NATIVE="1")
    assert done.returncode == 0, done.stderr
    assert list((small / "src" / NATIVE / "lib").glob("engine.*"))
    with the_wheel(small) as wheel:
        assert not any("/lib/" in name for name in wheel.namelist())


def test_the_source_archive_holds_what_compiling_takes_and_nothing_compiled(small: Path) -> None:
    library = small / "src" / NATIVE / "lib" / "engine.other.so"
    library.parent.mkdir()
    library.touch()
    done = pack(small, "sdist")
    assert done.returncode == 0, done.stderr
    (path,) = (small / "dist").glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"hatch_build.py", "pyproject.toml", f"src/{NATIVE}/build.py", f"src/{NATIVE}/csrc/engine.cpp"} <= names
    assert not any("/lib/" in name for name in names)


def test_a_release_needs_the_engine_and_only_publishing_may_publish() -> None:
    yaml = pytest.importorskip("yaml")
    release = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8"))
    (step,) = (step for step in release["jobs"]["wheels"]["steps"] if "cibuildwheel" in step.get("uses", ""))
    assert step["env"]["CIBW_ENVIRONMENT"] == "WELLFIT_REQUIRE_NATIVE=1"
    assert release["permissions"] == {"contents": "read"}
    assert [name for name, job in release["jobs"].items() if "permissions" in job] == ["publish"]


def test_wheel_states_command_licence_and_requirements(wheel: zipfile.ZipFile) -> None:
    info = f"wellfit-{PROJECT['version']}.dist-info/"
    metadata = wheel.read(info + "METADATA").decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert "wellfit = wellfit.cli:main" in wheel.read(info + "entry_points.txt").decode()
    assert info + "licenses/LICENSE" in wheel.namelist()
    for text in PROJECT["dependencies"]:
        assert f"requires-dist: {text}".lower() in metadata.lower()


def test_vendored_scripts_come_with_their_licences() -> None:
    vendor = ROOT / "src" / "wellfit" / "report" / "vendor"
    scripts = sorted(vendor.glob("**/*.js")) if vendor.exists() else []
    if not scripts:
        pytest.skip("nothing is vendored")
    assert any("licen" in path.name.lower() for path in vendor.rglob("*")), "no licence beside the vendored scripts"

"""What is published: versions that fit together, a wheel that holds what it should, and no trace of a machine."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
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


def test_every_requirement_has_a_pin_that_satisfies_it() -> None:
    pinned = pins()
    for name, stated in asked_for().items():
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
                                  "CHANGELOG.md", ".gitignore", ".gitattributes"])
def test_top_level_files_name_no_machine_and_no_registry(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy of the sources."""
    pytest.importorskip("hatchling")
    copy, out = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("wheel")
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(ROOT / "src", copy / "src", ignore=ignore)
    for name in ("pyproject.toml", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, copy / name)
    (copy / PROJECT["readme"]).write_text("wellfit\n")  # its words do not matter here
    program = f"from hatchling.build import build_wheel; print(build_wheel({str(out)!r}))"
    env = {key: value for key, value in os.environ.items() if key != "SOURCE_DATE_EPOCH"}
    done = subprocess.run([sys.executable, "-c", program], cwd=copy, env=env, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(out.glob("*.whl")))


def test_wheel_holds_every_file_of_the_package_and_no_other(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    info = f"wellfit-{PROJECT['version']}.dist-info/"
    expected = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src" / "wellfit").rglob("*")
                if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"}
    packed = {name for name in names if not name.startswith(info)}
    # Vendored scripts, native sources and py.typed included; caches and tests not.
    assert packed == expected


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

"""The build hook: compile the native engine and put its libraries into the wheel.

A wheel with libraries is for one platform and every Python (``py3-none-<platform>``): they are loaded with ctypes and know
nothing of Python. Without a compiler the wheel is pure, and wellfit runs on the reference engine. An editable
installation compiles into the source folder.

Environment: WELLFIT_NO_NATIVE=1 leaves the engine out; WELLFIT_REQUIRE_NATIVE=1 fails where it does not compile.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NATIVE = "wellfit/population/native"


def load_build(root: Path) -> ModuleType:
    """The module that compiles, by its path: wellfit cannot be imported here, where there is no torch."""
    path = root / "src" / NATIVE / "build.py"
    spec = importlib.util.spec_from_file_location("wellfit_native_build", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def is_set(name: str) -> bool:
    """Whether an environment variable says yes."""
    return os.environ.get(name, "") not in ("", "0")


class CustomBuildHook(BuildHookInterface):
    """Compiles before a wheel is packed."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the libraries and the platform to the wheel; ``version`` is "standard" or "editable"."""
        if is_set("WELLFIT_NO_NATIVE"):
            return
        module = load_build(Path(self.root))
        try:
            libraries = module.build()
        except module.BuildError as error:
            if is_set("WELLFIT_REQUIRE_NATIVE"):
                self.app.abort(f"{error}\nWELLFIT_REQUIRE_NATIVE is set: no wheel without the native engine.")
            self.app.display_warning(f"{error}\nwellfit is installed without its native engine and runs on the reference "
                                     "engine: the same results, slower.")
            return
        if version == "editable":
            return  # they are used where they lie
        # By name: lib/ is ignored by git, and may hold the libraries of other builds.
        build_data["force_include"].update({str(path): f"{NATIVE}/lib/{path.name}" for path in libraries})
        build_data["pure_python"] = False
        # Hatchling's own tag names the Python as well. Of it only the platform matters here.
        build_data["tag"] = "py3-none-" + self.build_config.builder.get_best_matching_tag().rpartition("-")[2]

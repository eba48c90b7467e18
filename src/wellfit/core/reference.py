"""``package.module:name`` and ``path/to/script.py:name``: an object in somebody's own Python file."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from wellfit.core.errors import WellfitError, nearest


@dataclass(frozen=True)
class Referenced:
    """What a reference points to.

    Attributes:
        value: the object.
        module: that holds it.
        name: of the object there.
    """

    value: Any
    module: ModuleType
    name: str


def load_reference(reference: str, expected: str) -> Referenced:
    """Import what ``package.module:name`` or ``path/to/script.py:name`` points to, from the current folder or the path.

    A script is imported under a name of its own, with its folder on the path as when it is run; what stands under
    ``if __name__ == "__main__":`` is not run.

    Args:
        reference: the text.
        expected: words for a good one, for errors.

    Raises:
        WellfitError: no such file, module or name, or it fails while it is imported.
    """
    module_name, colon, attribute = reference.rpartition(":")
    if not colon or not attribute.isidentifier():
        raise WellfitError("This names no object in a Python file.", received=reference, expected=expected)
    module = _script(module_name) if module_name.endswith(".py") else _module(module_name, reference, expected)
    if not hasattr(module, attribute):
        hint = nearest(attribute, [n for n in dir(module) if not n.startswith("_")])
        raise WellfitError(f"{module_name} has no {attribute!r}.", received=reference, expected=expected,
                           action=f"did you mean {module_name}:{hint}?" if hint else None)
    return Referenced(getattr(module, attribute), module, attribute)


def _module(name: str, reference: str, expected: str) -> ModuleType:
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name.split(".")[0]):
            raise _broken(name, str(error), f"python -c 'import {name}' shows where it fails") from error
        raise WellfitError("There is no such module.", received=reference, expected=expected,
                           action=f"run from the folder that holds {name.split('.')[0]}.py, or install it") from error
    except ValueError as error:  # an empty name
        raise WellfitError("There is no such module.", received=reference, expected=expected) from error
    except Exception as error:
        raise _broken(name, f"{type(error).__name__}: {error}", f"python -c 'import {name}' shows where it fails") from error


def _script(text: str) -> ModuleType:
    path = Path(text).resolve()
    if not path.is_file():
        raise WellfitError("There is no such script.", received=text, expected="a Python file")
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise WellfitError("This script cannot be imported.", received=text, expected="a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and type hints of the script look themselves up there
    if (folder := str(path.parent)) not in sys.path:
        sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _broken(text, f"{type(error).__name__}: {error}", f"python {text} shows where it fails") from error
    return module


def _broken(name: str, received: str, action: str) -> WellfitError:
    return WellfitError(f"{name} cannot be imported.", received=received, expected="a module that imports", action=action)

"""The code of on-demand views, packaged with a model: copied if it is the user's own, required if it is installed."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path
from tempfile import TemporaryDirectory

from fs_core import OnDemandView
from fs_core.code.reading import LIBRARIES
from fs_core.errors import TransformError
from fs_core.transforms.bind import bound
from fs_mlflow.packaging.features import PackagedFeatures


@dataclass(frozen=True)
class ModelCode:
    """What a model's on-demand views need.

    Attributes:
        modules: top-level modules and packages of the user's own, and the parts of namespaces that are used.
        requirements: installed distributions, with their versions.
    """

    modules: Sequence[str]
    requirements: Sequence[str]

    @contextmanager
    def paths(self) -> Iterator[list[str]]:
        """Yield files and folders from which the modules can be imported, as MLflow's `code_paths`."""
        with TemporaryDirectory() as scratch:
            yield sorted({str(_copied(module, Path(scratch))) for module in self.modules})


def of(features: PackagedFeatures) -> ModelCode:
    """Return what the on-demand views of a model need.

    Raises:
        TransformError: the code isn't here, isn't what was registered, or is defined where no other process finds it.
    """
    modules: dict[str, None] = {}
    requirements: dict[str, None] = {}
    for view in features.definitions().values():
        if not isinstance(view, OnDemandView) or view.code is None:
            continue
        bound(view)
        for name in view.code.functions:
            module, _, function = name.partition(":")
            if module == "__main__" or "<locals>" in function:
                raise TransformError(
                    f"on-demand view {view.ref!r}: {name!r} was defined in a program or another function, where no "
                    "other process finds it, so it can't be packaged. Move it into a module."
                )
            file = str(getattr(importlib.import_module(module), "__file__", ""))
            if any(part in LIBRARIES for part in Path(file).parts):
                requirements |= dict.fromkeys(_required(module))
            else:
                modules[module] = None
    return ModelCode(list(modules), list(requirements))


def _required(module: str) -> list[str]:
    return [f"{name}=={version(name)}" for name in packages_distributions().get(module.partition(".")[0], ())]


def _copied(module: str, scratch: Path) -> Path:
    """Copy the outermost package of a module, below the namespaces that it lies in; return the top of the copy."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        found = importlib.import_module(".".join(parts[:depth]))
        file = getattr(found, "__file__", None)
        if file is not None:
            source = Path(file).parent if Path(file).name == "__init__.py" else Path(file)
            target = scratch.joinpath(*parts[: depth - 1], source.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
            else:
                shutil.copy(source, target)
            return scratch / target.relative_to(scratch).parts[0]
    raise TransformError(f"module {module!r} is no file, so it can't be packaged. Put it into one.")

"""What a model needs installed: named from what it is made of, where MLflow would load it once more to find out."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

_LIBRARIES = {
    "catboost": ("catboost",),
    "keras": ("keras",),
    "lightgbm": ("lightgbm",),
    "pytorch": ("torch", "cloudpickle"),
    "sklearn": ("sklearn", "scipy", "skops"),
    "statsmodels": ("statsmodels",),
    "tensorflow": ("tensorflow",),
    "xgboost": ("xgboost",),
}
"""What MLflow imports to load a model, by flavour, as modules."""
_SAID = ("pip_requirements", "extra_pip_requirements", "conda_env")


def named(model: Any, flavor: str, settings: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return `pip_requirements` for a flavour's `save_model`; nothing where they were given, or only MLflow knows them.

    Args:
        model: what is saved.
        flavor: the flavour's name.
        settings: the caller's, for `save_model`.
    """
    if flavor not in _LIBRARIES or any(settings.get(name) is not None for name in _SAID):
        return {}
    modules = {"numpy", *_LIBRARIES[flavor], *_backend(flavor), *_made_of(model, flavor)}
    if settings.get("serialization_format", "skops") != "skops":
        modules = modules - {"skops"} | {"cloudpickle"}
    return {"pip_requirements": _pinned(modules)}


def of_saved(path: Path) -> list[str]:
    """Return the pip requirements of a saved model, its constraints aside."""
    file = path / "requirements.txt"
    lines = file.read_text().splitlines() if file.exists() else []
    return [line for line in lines if line.strip() and not line.startswith(("#", "-c"))]


def _pinned(modules: Iterable[str]) -> list[str]:
    """Return the installed packages that top-level modules come from, in the versions that are installed."""
    distributions = packages_distributions()
    found = {name for module in modules for name in distributions.get(module, [])[:1]}
    return sorted(f"{name}=={version(name).partition('+')[0]}" for name in found)


def _backend(flavor: str) -> list[str]:
    if flavor != "keras":
        return []
    import keras

    return [str(keras.backend.backend())]


def _made_of(model: Any, flavor: str) -> set[str]:
    """Return the top-level modules of the classes and functions that a model consists of."""
    if flavor == "pytorch":
        parts = model.modules() if hasattr(model, "modules") else [model]
        return {type(part).__module__.partition(".")[0] for part in parts}
    if flavor in ("keras", "tensorflow"):
        return {type(part).__module__.partition(".")[0] for part in (model, *getattr(model, "layers", ()))}
    seen = _Seen(_Nowhere())
    seen.dump(model)
    return seen.modules


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, content: bytes) -> int:
        """Forget it."""
        return len(content)


class _Seen(pickle.Pickler):
    """Notes where all comes from that a pickle would have to import."""

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self.modules: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        """Note an object's class, or the class or function that it is."""
        home = getattr(obj, "__module__", None) if callable(obj) else None
        self.modules.add(str(home or type(obj).__module__).partition(".")[0])
        return NotImplemented

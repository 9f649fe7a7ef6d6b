"""Back-ends that other packages bring, found by entry points."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import Any

from fs_core.errors import ConfigurationError, redact_url


def load_backend(group: str, url: str, known: Iterable[str]) -> Callable[..., Any]:
    """Return what opens the back-end that a URL's scheme names.

    Args:
        group: the entry points' group; each is named by a scheme.
        url: what the caller asked for.
        known: the schemes that need no plugin, for the error.

    Raises:
        ConfigurationError: nobody knows the scheme, or its package doesn't load.
    """
    scheme = url.partition(":")[0].lower()
    plugins = {plugin.name: plugin for plugin in entry_points(group=group)}
    what = f"{group.rpartition('.')[2]} store {redact_url(url)!r}"
    if scheme not in plugins:
        listed = ", ".join(sorted([*known, *plugins]))
        raise ConfigurationError(f"{what}: unknown scheme {scheme!r}. Known: {listed}.")
    try:
        opener: Callable[..., Any] = plugins[scheme].load()
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{what}: its back-end {plugins[scheme].value!r} doesn't load: {error}") from error
    return opener

"""The catalogue: a static site of everything that is registered, which opens from a file and fetches nothing.

`contents` gathers what is shown. `pages` has the pages of definitions, where a view's page describes its features, and
`overview` the others; `distributions` and `pictures` are drawn into them. `build` writes the files.
"""

from fs_core.catalogue.build import Built, build
from fs_core.catalogue.contents import Origin

__all__ = ["Built", "Origin", "build"]

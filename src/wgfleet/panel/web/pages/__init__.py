"""The pages, a module a subject. Each has a `router`, and `SECTIONS` where it has a place in the navigation.

Modules are found by themselves, so that nobody who adds one changes a list.
"""

import importlib
import pkgutil
from types import ModuleType

MODULES: tuple[ModuleType, ...] = tuple(
    importlib.import_module(f"{__name__}.{each.name}") for each in pkgutil.iter_modules(__path__)
)

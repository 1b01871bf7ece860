"""Runs in the published client's Python: prints what documents the package that is installed there, as JSON."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import json
import pkgutil


def docstrings() -> dict[str, str]:
    """The docstrings of its modules and of all that they define, by full name. Not of the generated code."""
    import boxd

    found = {}
    names = [f"boxd.{info.name}" for info in pkgutil.iter_modules(boxd.__path__) if info.name != "_generated"]
    for name in ("boxd", *names):
        module = importlib.import_module(name)
        found[name] = inspect.getdoc(module)
        for owner in [value for value in vars(module).values() if getattr(value, "__module__", "") == name]:
            found[f"{name}.{owner.__name__}"] = owner.__doc__ and inspect.getdoc(owner)
            members = vars(owner) if inspect.isclass(owner) else {}
            for member, value in members.items():
                if inspect.isfunction(value):
                    found[f"{name}.{owner.__name__}.{member}"] = value.__doc__ and inspect.getdoc(value)
    return {name: text for name, text in found.items() if text}


if __name__ == "__main__":
    metadata = importlib.metadata.metadata("boxd")
    guide = metadata.get_payload() or metadata["Description"]  # type: ignore[attr-defined]
    print(json.dumps({"version": metadata["Version"], "guide": guide, "docstrings": docstrings()}))

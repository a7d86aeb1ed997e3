"""Public state as plain JSON data, the same function for the official package's objects and for ours.

It tells apart what a result string would tell apart (5 and 5.0, True and 1, a list and a tuple, an int key and a
str key) and keeps the order of dictionaries. Needs nothing but the standard library: the official side runs it
without this project's packages.
"""

import json


def canonical(value, seen=()):
    """Plain data for a value: JSON types as they are, everything else as a tagged object."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if id(value) in seen:
        return {"@": "cycle"}
    seen = (*seen, id(value))
    if isinstance(value, list):
        return [canonical(item, seen) for item in value]
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: canonical(item, seen) for key, item in value.items()}
        return {"@": "dict", "items": [[canonical(key), canonical(item, seen)] for key, item in value.items()]}
    if isinstance(value, (set, frozenset)):
        return {"@": "set", "items": sorted((canonical(item) for item in value), key=repr)}
    if isinstance(value, tuple):
        return {"@": "tuple", "items": [canonical(item, seen) for item in value]}
    if hasattr(value, "contents"):
        return {
            "@": "directory",
            "name": value.name,
            "entries": {k: _entry(k, v, seen) for k, v in value.contents.items()},
        }
    if hasattr(value, "content"):
        return {"@": "file", "content": canonical(value.content, seen)}
    return {"@": type(value).__name__, "repr": repr(value)}


def _entry(key, entry, seen):
    """A file or directory; a file's own name is state only where it is not the name it is listed under."""
    found = canonical(entry, seen)
    if getattr(entry, "name", key) != key:
        found["own_name"] = entry.name
    return found


def canonical_state(attributes):
    """The text two sides compare: the public attributes, whose own order is no state and is sorted away."""
    return json.dumps({name: canonical(attributes[name]) for name in sorted(attributes) if not name.startswith("_")})

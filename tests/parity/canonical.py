"""Public state as plain JSON data, the same function for the official package's objects and for ours.

It tells apart what a result string would tell apart (5 and 5.0, True and 1, a list and a tuple, an int key and a
str key) and keeps the order of dictionaries. A directory is written out where it is met first and named by its number
where it is met again: two places that share one are told apart from two equal copies, and a tree of copies of
copies, which has exponentially many paths, stays small. Needs nothing but the standard library: the official side
runs it without this project's packages.
"""

import json


def canonical(value):
    """Plain data for a value: JSON types as they are, everything else as a tagged object."""
    return _plain(value, (), {})


def _plain(value, around, directories):
    """The same inside of other values, given by id, and after the directories that were numbered so far, by id."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if id(value) in directories:
        return {"@": "directory", "number": directories[id(value)]}
    if id(value) in around:
        return {"@": "cycle"}
    around = (*around, id(value))

    def plain(part):
        return _plain(part, around, directories)

    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return _items(value, plain, lambda _, item: plain(item))
    if isinstance(value, (set, frozenset)):
        return {"@": "set", "items": sorted(map(plain, value), key=repr)}
    if isinstance(value, tuple):
        return {"@": "tuple", "items": [plain(item) for item in value]}
    if hasattr(value, "contents"):
        directories[id(value)] = len(directories)
        entries = _items(value.contents, plain, lambda key, entry: _named(key, entry, plain))
        return {"@": "directory", "name": plain(value.name), "entries": entries}
    if hasattr(value, "content"):
        return {"@": "file", "content": plain(value.content)}
    return {"@": type(value).__name__, "repr": repr(value)}


def _items(value, plain, item_of):
    if all(isinstance(key, str) for key in value):
        return {key: item_of(key, item) for key, item in value.items()}
    return {"@": "dict", "items": [[plain(key), item_of(key, item)] for key, item in value.items()]}


def _named(key, entry, plain):
    """A file or directory; its own name is state only where it is not the name it is listed under."""
    found = plain(entry)
    if getattr(entry, "name", key) != key:
        found["own_name"] = plain(entry.name)
    return found


def canonical_state(attributes):
    """The text two sides compare: the public attributes, whose own order is no state and is sorted away."""
    return json.dumps({name: canonical(attributes[name]) for name in sorted(attributes) if not name.startswith("_")})

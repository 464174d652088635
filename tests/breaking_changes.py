"""What in a new OpenAPI document would break a client written against an older one. Two documents in, sentences out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Part = dict[str, Any]
_NARROWER_IF_LESS = ("maximum", "maxLength", "maxItems", "exclusiveMaximum")
_NARROWER_IF_MORE = ("minimum", "minLength", "minItems", "exclusiveMinimum")


def breaking_changes(old: Part, new: Part) -> list[str]:
    """One sentence per break; empty when every old client still works."""
    return [*_operations(old, new), *_schemas(old, new)]


def _operations(old: Part, new: Part) -> Iterator[str]:
    for path, methods in old["paths"].items():
        for method, before in methods.items():
            name, after = f"{method.upper()} {path}", new["paths"].get(path, {}).get(method)
            if after is None:
                yield f"{name} is gone"
                continue
            if before["operationId"] != after["operationId"]:
                yield f"{name} has another operationId"
            for status in before["responses"]:
                if status.startswith("2") and status not in after["responses"]:
                    yield f"{name} answers {status} no longer"
            yield from _parameters(name, before, after)
            if "requestBody" in after and after["requestBody"].get("required") and "requestBody" not in before:
                yield f"{name} needs a body now"


def _parameters(name: str, before: Part, after: Part) -> Iterator[str]:
    known = {(one["in"], one["name"]): one for one in before.get("parameters", ())}
    now = {(one["in"], one["name"]): one for one in after.get("parameters", ())}
    for key in known.keys() - now.keys():
        yield f"{name} takes {key[1]} no longer"
    for key, one in now.items():
        if one.get("required") and not known.get(key, {}).get("required"):
            yield f"{name} needs {key[1]} now"
        if key in known:
            yield from _schema(f"{name} {key[1]}", known[key]["schema"], one["schema"], is_sent=True)


def _schemas(old: Part, new: Part) -> Iterator[str]:
    sent = _sent(old)
    for name, before in old["components"]["schemas"].items():
        after = new["components"]["schemas"].get(name)
        if after is None:
            yield f"schema {name} is gone"
        else:
            yield from _schema(name, before, after, is_sent=name in sent)


def _sent(document: Part) -> set[str]:
    """Schemas of request bodies, and what they are made of; the others are answers."""
    found: set[str] = set()

    def visit(part: Any) -> None:
        if isinstance(part, dict):
            name = str(part.get("$ref", "")).removeprefix("#/components/schemas/")
            if name in document["components"]["schemas"] and name not in found:
                found.add(name)
                visit(document["components"]["schemas"][name])
            for value in part.values():
                visit(value)
        elif isinstance(part, list):
            for value in part:
                visit(value)

    for methods in document["paths"].values():
        for operation in methods.values():
            visit(operation.get("requestBody"))
    return found


def _schema(name: str, before: Part, after: Part, *, is_sent: bool) -> Iterator[str]:
    for key in ("type", "format", "$ref", "const", "pattern"):
        if before.get(key) != after.get(key):
            yield f"{name}: {key} was {before.get(key)!r}, is {after.get(key)!r}"
    yield from _narrower(name, before, after) if is_sent else _vaguer(name, before, after)
    for value in set(map(str, before.get("enum", ()))) - set(map(str, after.get("enum", ()))):
        yield f"{name} knows {value!r} no longer"
    for choice in before.get("anyOf", ()):
        if choice not in after.get("anyOf", ()):
            yield f"{name} is {choice} no longer"
    inside = {f"{name}.{field}": (part, after.get("properties", {}).get(field)) for field, part in _fields(before)}
    if "items" in before:
        inside[f"{name}[]"] = (before["items"], after.get("items"))
    for part_name, (part, now) in inside.items():
        if now is None:
            yield f"{part_name} is gone"
        else:
            yield from _schema(part_name, part, now, is_sent=is_sent)


def _fields(schema: Part) -> Iterator[tuple[str, Part]]:
    yield from schema.get("properties", {}).items()


def _narrower(name: str, before: Part, after: Part) -> Iterator[str]:
    """What used to be taken and is not any more."""
    for key in (key for key in after if key in _NARROWER_IF_LESS + _NARROWER_IF_MORE):
        was, now = before.get(key), after[key]
        if was is None or (now < was if key in _NARROWER_IF_LESS else now > was):
            yield f"{name}: {key} is narrower"
    for field in set(after.get("required", ())) - set(before.get("required", ())):
        yield f"{name} needs {field} now"


def _vaguer(name: str, before: Part, after: Part) -> Iterator[str]:
    """What used to be answered always and may be missing now."""
    for field in set(before.get("required", ())) - set(after.get("required", ())):
        yield f"{name} may lack {field} now"

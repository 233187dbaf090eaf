"""The claims, read from the package data kb/claims/*.toml (one file a claim)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any

__all__ = ["STANCES", "Claim", "ClaimFileError", "load_claims"]

STANCES = ("supports", "contradicts", "mixed", "background")


class ClaimFileError(ValueError):
    """A claim file is missing a field or holds a value that cannot be used; the message names file and
    field.
    """


@dataclass(frozen=True)
class Claim:
    """A claim about ketamine. `position` orders pages; `first_asked` marks the four that come first."""

    id: str
    group: str
    position: int
    statement: str
    question: str
    definition: str
    first_asked: bool
    lexicon: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    examples: tuple[dict[str, Any], ...] = field(default=(), compare=False, repr=False)


_TEXT = ("id", "group", "statement", "question", "definition")


def read_claim(name: str, source: str) -> Claim:
    """The claim in the TOML text `source`; `name` is used in messages. Raises ClaimFileError."""
    try:
        data = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise ClaimFileError(f"{name}: not valid TOML: {error}") from error
    for key in _TEXT:
        if not isinstance(data.get(key), str) or not data[key].strip():
            raise ClaimFileError(f"{name}: field {key!r} is missing or not a text")
    if not isinstance(data.get("position"), int):
        raise ClaimFileError(f"{name}: field 'position' must be a whole number")
    return Claim(
        **{key: data[key].strip() for key in _TEXT},
        position=data["position"],
        first_asked=bool(data.get("first_asked", False)),
        lexicon=data.get("lexicon", {}),
        examples=tuple(data.get("examples", ())),
    )


@lru_cache(maxsize=1)
def load_claims() -> list[Claim]:
    """All claims ordered by position. Raises ClaimFileError when a file is broken or an id or position
    repeats.
    """
    claims = []
    for entry in resources.files("kb").joinpath("claims").iterdir():
        if entry.name.endswith(".toml"):
            claims.append(read_claim(entry.name, entry.read_text(encoding="utf-8")))
    claims.sort(key=lambda claim: claim.position)
    for attribute in ("id", "position"):
        values = [getattr(claim, attribute) for claim in claims]
        if len(set(values)) != len(values):
            raise ClaimFileError(f"two claim files have the same {attribute}")
    return claims

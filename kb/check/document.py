"""A draft as the checker sees it: its text, and where the headings, paragraphs and bullets of it are."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Block", "DraftProblem", "Document"]


class DraftProblem(Exception):
    """The draft cannot be checked; the message says in one line why, and what to do."""


@dataclass(frozen=True, slots=True)
class Block:
    """text[start:end] of the document. `kind`: "heading", "paragraph", "bullet", "quote" or "left-out"."""

    start: int
    end: int
    kind: str


@dataclass(slots=True)
class Document:
    """`text` is what offsets count in: the draft itself for plain text and Markdown, its main text for HTML
    and
    Word files. `links`: (start, end, address) of linked words. `notes` says in plain words what was left out.
    """

    text: str
    blocks: list[Block]
    kind: str = "text"
    name: str = ""
    links: list[tuple[int, int, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

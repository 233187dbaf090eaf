"""Find the phrases of many concepts in a sentence, in time proportional to its length.

A phrase is words separated by spaces. A word may be a choice (`a|b`), may end in `*` (any ending), may be
optional (`the?`), and `+3` stands for up to three words of any kind. Words are matched one by one from a
table of first words, so that no draft, however it is written, can make the search run away.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ["Hit", "Lexicon", "Words", "read_words"]

# One word, number or per cent sign. The parts cannot overlap, so there is nothing to go back over.
_TOKEN = re.compile(r"[0-9]+(?:[.,][0-9]+)*|[^\W\d_]+(?:['’][^\W\d_]+)*|%|[.,;:!?()\[\]“”\"–—]")
_BREAKS = frozenset(".,;:!?()[]–—")
_LONGEST = 60
_CONTRACTED = {
    "can't": ("can", "not"), "won't": ("will", "not"), "shan't": ("shall", "not"), "cannot": ("can", "not"),
    "ain't": ("is", "not"), "let's": ("let", "us"), "it's": ("it", "is"), "that's": ("that", "is"),
    "there's": ("there", "is"), "what's": ("what", "is"), "who's": ("who", "is"), "i'm": ("i", "am"),
}  # fmt: skip
_ENDINGS = (("n't", "not"), ("'re", "are"), ("'ve", "have"), ("'ll", "will"), ("'d", "would"))


@dataclass(frozen=True, slots=True)
class Words:
    """A sentence as words. `spans[i]` is the place of word i in the text; `stops[i]` the marks just before
    it.
    """

    items: list[str]
    spans: list[tuple[int, int]]
    stops: list[str]


def read_words(text: str) -> Words:
    """Lower-case words of `text`: hyphens part words, contractions are written out, "'s" is dropped."""
    items: list[str] = []
    spans: list[tuple[int, int]] = []
    stops: list[str] = []
    stop = ""
    for match in _TOKEN.finditer(text):
        raw = match.group()
        if raw in _BREAKS or raw in '“”"':
            if raw in _BREAKS:
                stop += raw
            continue
        word = raw[:_LONGEST].lower().replace("’", "'")
        parts: tuple[str, ...] = (word,)
        if "'" in word:
            if word in _CONTRACTED:
                parts = _CONTRACTED[word]
            elif word.endswith("'s"):
                parts = (word[:-2],)
            else:
                for ending, full in _ENDINGS:
                    if word.endswith(ending) and len(word) > len(ending):
                        parts = (word[: -len(ending)], full)
                        break
                else:
                    parts = (word.replace("'", ""),)
        elif word in _CONTRACTED:
            parts = _CONTRACTED[word]
        for part in parts:
            items.append(part)
            spans.append(match.span())
            stops.append(stop)
            stop = ""
    return Words(items, spans, stops)


@dataclass(frozen=True, slots=True)
class Hit:
    """A phrase found: words `start` up to, not including, `end`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Element:
    plain: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    optional: bool = False
    gap: int = 0

    def matches(self, word: str) -> bool:
        return word in self.plain or (bool(self.prefixes) and word.startswith(self.prefixes))


@functools.lru_cache(maxsize=8192)
def _element(source: str) -> _Element:
    if source.startswith("+") and source[1:].isdigit():
        return _Element(gap=int(source[1:]))
    optional = source.endswith("?")
    words = (source[:-1] if optional else source).split("|")
    return _Element(
        frozenset(w for w in words if not w.endswith("*")),
        tuple(w[:-1] for w in words if w.endswith("*")),
        optional,
    )


@dataclass(slots=True)
class Lexicon:
    """Phrases by concept name, compiled once. Raises ValueError for a phrase that cannot begin anywhere."""

    concepts: Mapping[str, Iterable[str]]
    _first: dict[str, list[tuple[str, tuple[_Element, ...]]]] = field(default_factory=dict)
    _prefixed: dict[str, list[tuple[str, tuple[_Element, ...]]]] = field(default_factory=dict)
    _lengths: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, phrases in self.concepts.items():
            for phrase in phrases:
                elements = tuple(_element(part) for part in phrase.lower().split())
                if not elements or elements[0].optional or elements[0].gap or "" in elements[0].prefixes:
                    raise ValueError(f"the phrase {phrase!r} of {name!r} has to begin with a word")
                for word in elements[0].plain:
                    self._first.setdefault(word, []).append((name, elements))
                for prefix in elements[0].prefixes:
                    self._prefixed.setdefault(prefix, []).append((name, elements))
        self._lengths = sorted({len(prefix) for prefix in self._prefixed})

    def find(self, words: list[str]) -> dict[str, list[Hit]]:
        """Where each concept occurs in `words`; the longest phrase from each place, in text order."""
        found: dict[str, list[Hit]] = {}
        for at, word in enumerate(words):
            candidates = list(self._first.get(word, ()))
            for length in self._lengths:
                if length > len(word):
                    break
                candidates += self._prefixed.get(word[:length], ())
            for name, elements in candidates:
                end = _match(elements, 1, words, at + 1)
                if end:
                    hits = found.setdefault(name, [])
                    if hits and hits[-1].start == at:
                        if hits[-1].end < end:
                            hits[-1] = Hit(at, end)
                    else:
                        hits.append(Hit(at, end))
        return found


def _match(elements: tuple[_Element, ...], index: int, words: list[str], at: int) -> int:
    """The place after the match of elements[index:] at words[at:], or 0. Depth is bounded by the phrase."""
    while index < len(elements):
        element = elements[index]
        if element.gap:
            for skip in range(element.gap, -1, -1):
                end = _match(elements, index + 1, words, at + skip)
                if end:
                    return end
            return 0
        if at < len(words) and element.matches(words[at]):
            if element.optional:
                end = _match(elements, index + 1, words, at + 1)
                if end:
                    return end
                index += 1
                continue
            index += 1
            at += 1
        elif element.optional:
            index += 1
        else:
            return 0
    return at

"""Find phrases of many concepts in a text in one pass.

A phrase is words separated by spaces. A word may end or begin with "*" (any continuation), or be a choice
"(a|b*)"; ".." stands for up to four words. Text is lower-cased and cut into runs of letters and digits
first, so "NMDA-receptor" is two words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import product

__all__ = ["Lexicon", "words"]

words = re.compile(r"\w+").findall
_CHOICE = re.compile(r"\(([^()]*)\)|(\S+)")
_CACHE_LIMIT = 100_000
_LONGEST_WORD = 60
_GAP = -1
_GAP_WORDS = 4


def _expand(phrase: str) -> list[tuple[frozenset[str], ...]]:
    """The phrase as sequences of word choices; a choice that holds several words gives a sequence of its
    own.
    """
    slots: list[list[tuple[frozenset[str], ...]]] = []
    for choice, plain in _CHOICE.findall(phrase):
        parts = [part.split() for part in (choice or plain).split("|")]
        single = frozenset(part[0] for part in parts if len(part) == 1)
        slot = [(single,)] if single else []
        slot += [tuple(frozenset([word]) for word in part) for part in parts if len(part) > 1]
        slots.append(slot)
    return [tuple(item for part in combination for item in part) for combination in product(*slots)]


class Lexicon:
    """Phrases by concept, compiled once. `find` takes words and gives (position, length, concept) triples."""

    def __init__(self, concepts: Mapping[str, Iterable[str]]) -> None:
        """`concepts` maps a name to its phrases. Raises ValueError for an empty phrase or one that starts
        with a gap.
        """
        elements: dict[frozenset[str], int] = {}
        self._by_first: dict[int, list[tuple[tuple[int, ...], str]]] = {}
        for name, phrases in concepts.items():
            for phrase in phrases:
                for sequence in _expand(phrase):
                    if not sequence or sequence[0] == {".."} or sequence[-1] == {".."}:
                        raise ValueError(
                            f"concept {name!r}: phrase {phrase!r} is empty or begins or ends with a gap"
                        )
                    ids = tuple(
                        _GAP if item == {".."} else elements.setdefault(item, len(elements))
                        for item in sequence
                    )
                    entry = (ids[1:], name)
                    known = self._by_first.setdefault(ids[0], [])
                    if entry not in known:
                        known.append(entry)
        self._plain: dict[str, set[int]] = {}
        self._prefixes: dict[str, set[int]] = {}
        self._suffixes: dict[str, set[int]] = {}
        for item, number in elements.items():
            for word in item:
                if word.startswith("*"):
                    self._suffixes.setdefault(word[1:], set()).add(number)
                elif word.endswith("*"):
                    self._prefixes.setdefault(word[:-1], set()).add(number)
                else:
                    self._plain.setdefault(word, set()).add(number)
        self._prefix_lengths = sorted({len(p) for p in self._prefixes})
        self._suffix_lengths = sorted({len(p) for p in self._suffixes})
        self._cache: dict[str, tuple] = {}

    def _look_up(self, word: str) -> tuple:
        """(elements that `word` matches, concepts of one word, longer phrases that it may begin)."""
        short = word[:_LONGEST_WORD]
        ids = set(self._plain.get(word, ()))
        for length in self._prefix_lengths:
            ids.update(self._prefixes.get(short[:length], ()))
            if length >= len(short):
                break
        for length in self._suffix_lengths:
            if length > len(word):
                break
            ids.update(self._suffixes.get(word[-length:], ()))
        single: list[str] = []
        longer: list[tuple[tuple[int, ...], str]] = []
        for number in sorted(ids):
            for rest, name in self._by_first.get(number, ()):
                if rest:
                    longer.append((rest, name))
                elif name not in single:
                    single.append(name)
        entry = (frozenset(ids), tuple(single), tuple(longer))
        if len(word) <= _LONGEST_WORD:
            if len(self._cache) >= _CACHE_LIMIT:
                self._cache.clear()
            self._cache[word] = entry
        return entry

    def find(self, tokens: list[str]) -> list[tuple[int, int, str]]:
        """Every phrase in `tokens`: (index of its first word, number of words, concept), in text order."""
        cache = self._cache
        entries = [cache.get(token) or self._look_up(token) for token in tokens]
        found = []
        size = len(entries)
        for index, (_, single, longer) in enumerate(entries):
            for name in single:
                found.append((index, 1, name))
            if not longer:
                continue
            for rest, name in longer:
                at = index
                gap = False
                for number in rest:
                    if number == _GAP:
                        gap = True
                    elif not gap:
                        at += 1
                        if at >= size or number not in entries[at][0]:
                            break
                    else:
                        for step in range(at + 1, min(at + _GAP_WORDS + 2, size)):
                            if number in entries[step][0]:
                                at = step
                                break
                        else:
                            break
                        gap = False
                else:
                    found.append((index, at - index + 1, name))
        return found

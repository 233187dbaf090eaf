"""Find phrases of many concepts in a text in one pass.

A phrase is words separated by spaces. A word may end or begin with "*" (any continuation), or be a choice
"(a|b*)"; ".." stands for up to four words. Text is lower-cased and cut into runs of letters and digits
first, so "NMDA-receptor" is two words.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from itertools import product

import numpy as np

__all__ = ["Lexicon", "distinct", "expand", "words"]

_word_runs = re.compile(r"\w+").findall
_SPACED = str.maketrans({mark: " " for mark in map(chr, range(128)) if not (mark.isalnum() or mark == "_")})


def words(text: str) -> list[str]:
    """Runs of letters, digits and underlines, in order."""
    # Most sentences are plain ASCII, and for these the table is twice as fast.
    return text.translate(_SPACED).split() if text.isascii() else _word_runs(text)


_CHOICE = re.compile(r"\(([^()]*)\)|(\S+)")
_LONGEST_WORD = 60
_GAP = -1
_GAP_WORDS = 4
_CACHE_LIMIT = 100_000  # words
_LONGEST_HIT = 64  # words


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


def expand(first: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lists of `count[i]` neighbours from `first[i]` on, laid end to end: (i of each entry, its place)."""
    owner = np.repeat(np.arange(len(count)), count)
    ends = np.cumsum(count)
    return owner, np.arange(len(owner)) - (ends - count - first)[owner]


def distinct(keys: np.ndarray) -> np.ndarray:
    """Whole numbers from 0 on in order, each once (faster here than numpy.unique)."""
    keys = np.sort(keys)
    return keys[np.diff(keys, prepend=-1) > 0]


class _Lists:
    """Short lists of whole numbers kept in one array: the list `n` is values[first[n]:first[n] + count[n]]."""

    def __init__(self, lists: Iterable[Iterable[int]]) -> None:
        rows = [list(row) for row in lists]
        self.count = np.array([len(row) for row in rows], dtype=np.intp)
        self.first = np.cumsum(self.count) - self.count
        self.values = np.array([value for row in rows for value in row], dtype=np.intp)

    def of(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(place in `numbers`, value) for every value of the lists that are asked for."""
        owner, at = expand(self.first[numbers], self.count[numbers])
        return owner, self.values[at]


class Lexicon:
    """Phrases by concept, compiled once into a tree of word choices that is walked from every word of a text
    at the same time. `concepts` are the names in their order; the hits speak of them by number.
    """

    def __init__(self, concepts: Mapping[Hashable, Iterable[str]]) -> None:
        """`concepts` maps a name to its phrases. Raises ValueError for an empty phrase or one that begins or
        ends with a gap.
        """
        self.concepts: list = list(concepts)
        elements: dict[frozenset[str], int] = {}
        children: list[dict[int, int]] = [{}]  # by node: element (or _GAP) -> node
        found: list[set[int]] = [set()]  # by node: the concepts of phrases that end there
        for concept, (name, phrases) in enumerate(concepts.items()):
            for phrase in phrases:
                for sequence in _expand(phrase):
                    if not sequence or sequence[0] == {".."} or sequence[-1] == {".."}:
                        raise ValueError(
                            f"concept {name!r}: phrase {phrase!r} is empty or begins or ends with a gap"
                        )
                    node = 0
                    for item in sequence:
                        step = _GAP if item == {".."} else elements.setdefault(item, len(elements))
                        if step not in children[node]:
                            children[node][step] = len(children)
                            children.append({})
                            found.append(set())
                        node = children[node][step]
                    found[node].add(concept)
        self._found = _Lists(map(sorted, found))
        self._gap = np.array([steps.get(_GAP, 0) for steps in children], dtype=np.intp)
        inner = [node for node, steps in enumerate(children) if any(step != _GAP for step in steps)]
        self._inner = np.full(len(children), -1, dtype=np.intp)
        self._inner[inner] = range(len(inner))
        # elements that some phrase goes on with, right behind a word or behind a gap
        self._later = {e for node, steps in enumerate(children) if node for e in steps if e != _GAP}
        gaps = {steps[_GAP] for steps in children if _GAP in steps}
        self._far = {e for node in gaps for e in children[node]}
        self._next = np.zeros((max(1, len(inner)), max(1, len(elements))), dtype=np.int32)
        for row, node in enumerate(inner):
            for step, child in children[node].items():
                if step != _GAP:
                    self._next[row, step] = child
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
        self._kinds: dict[frozenset[int], int] = {frozenset(): 0}
        self._known: dict[str, int] = {}  # kinds of words met so far
        # by kind: elements; nodes that a phrase begins with; whether it may stand later in one, or behind a gap
        self._elements = self._roots = _Lists([()])
        self._goes_on = self._goes_far = np.zeros(1, dtype=bool)

    def kind(self, word: str) -> int:
        """A number that stands for the phrase words that `word` matches; 0: none. Words that match the same
        ones have the same number.
        """
        known = self._known.get(word)
        if known is not None:
            return known
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
        kind = self._kinds.setdefault(frozenset(ids), len(self._kinds))
        if len(word) <= _LONGEST_WORD and len(self._known) < _CACHE_LIMIT:
            self._known[word] = kind
        return kind

    def find_all(self, kinds: np.ndarray, lines: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Every phrase in many lines of words: (index of its first word, number of words, concept number), in
        text order, each once.

        `kinds` are the numbers of the words, `lines` the number of the line that each stands in: a phrase
        never goes on into the next line.
        """
        if len(self._elements.count) < len(self._kinds):
            self._elements = _Lists(map(sorted, self._kinds))
            begins = self._next[self._inner[0]] if self._inner[0] >= 0 else np.zeros(1, dtype=np.intp)
            self._goes_on = np.array([not kind.isdisjoint(self._later) for kind in self._kinds])
            self._goes_far = np.array([not kind.isdisjoint(self._far) for kind in self._kinds])
            self._roots = _Lists([begins[e] for e in sorted(kind) if begins[e]] for kind in self._kinds)
        size = len(kinds)
        kinds = np.concatenate([kinds, np.zeros(_GAP_WORDS + 2, dtype=np.intp)])
        lines = np.concatenate([lines, np.full(_GAP_WORDS + 2, -1, dtype=np.intp)])
        start, node = self._roots.of(kinds[:size])
        at = start
        hits = []
        while len(start):
            which, concept = self._found.of(node)
            hits.append((start[which], (at - start)[which] + 1, concept))
            owner, at, node = self._step(kinds, lines, start, at, node)
            start = start[owner]
        starts, sizes, concepts = (np.concatenate(column) for column in zip(*hits, strict=True)) if hits else (
            np.zeros((3, 0), dtype=np.intp)
        )
        # One number a hit, so that sorting it puts the hits in order and shows what was found twice.
        key = (starts * _LONGEST_HIT + np.minimum(sizes, _LONGEST_HIT - 1)) * len(self.concepts) + concepts
        key, concepts = np.divmod(distinct(key), max(1, len(self.concepts)))
        starts, sizes = np.divmod(key, _LONGEST_HIT)
        return starts, sizes, concepts

    def _step(
        self, kinds: np.ndarray, lines: np.ndarray, start: np.ndarray, at: np.ndarray, node: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One word further from each of the places (start, at, node): (which of them, new at, new node)."""
        which = np.flatnonzero(self._inner[node] >= 0)
        found = [self._match(kinds, lines, start, which, at[which] + 1, node[which], self._goes_on)]
        which = np.flatnonzero(self._gap[node])
        if len(which):
            behind = self._gap[node[which]]
            far = [
                self._match(kinds, lines, start, which, at[which] + 1 + skipped, behind, self._goes_far)
                for skipped in range(_GAP_WORDS + 1)
            ]
            owner, where, child = (np.concatenate(column) for column in zip(*far, strict=True))
            # Of several words that go on behind a gap the nearest counts.
            _, nearest = np.unique(owner * len(self._gap) + child, return_index=True)
            found.append((owner[nearest], where[nearest], child[nearest]))
        owner, where, child = (np.concatenate(column) for column in zip(*found, strict=True))
        return owner, where, child

    def _match(
        self,
        kinds: np.ndarray,
        lines: np.ndarray,
        start: np.ndarray,
        which: np.ndarray,
        where: np.ndarray,
        node: np.ndarray,
        useful: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The places `which` that go on from `node` with the word `where`: (which, where, node behind it)."""
        same = np.flatnonzero(useful[kinds[where]] & (lines[where] == lines[start[which]]))
        which, where, node = which[same], where[same], node[same]
        owner, element = self._elements.of(kinds[where])
        child = self._next[self._inner[node[owner]], element]
        kept = np.flatnonzero(child)
        owner = owner[kept]
        return which[owner], where[owner], child[kept].astype(np.intp)

    def find(self, tokens: list[str]) -> list[tuple[int, int, Hashable]]:
        """Every phrase in the words of one text: (index of its first word, number of words, concept)."""
        kinds = np.array([self.kind(token) for token in tokens], dtype=np.intp)
        found = self.find_all(kinds, np.zeros(len(tokens), dtype=np.intp))
        return [
            (start, size, self.concepts[concept])
            for start, size, concept in zip(*(column.tolist() for column in found), strict=True)
        ]

"""Whether a text is English, judged by its commonest words; enough to leave other languages untagged and
marked.
"""

from __future__ import annotations

from kb.tagging.lexicon import words

__all__ = ["language"]

_SAMPLE = 1000  # characters of the abstract that are read

_ENGLISH = frozenset(
    """the of and in to with for was were is are by that this from on as at be or we have has been not
    after which
    than these between both may an our can their but during it who under into there when also more""".split()
)
# Words that are common in another language and hardly occur in English abstracts.
_OTHER = frozenset(
    """der die das und ist mit für von den dem ein eine einer nicht wurde wurden sich auf bei nach zur zum
    als auch
    le la les des du et est une dans pour par avec sur aux au qui que sont été plus chez
    el los las del y en por con una para como fue fueron se más su entre
    il lo gli di che della dei delle con nel sono stato alla dal
    o os da do das dos em um uma não foi foram ao à pelo pela
    het een van voor niet werd werden zijn bij naar aan door
    och att som för med på av till var har inte efter
    og til af ikke blev vært hos etter
    i w z na się jest do przez oraz u po ve bir ile bu için olarak
    ja ei oli että mukaan és az egy nem hogy""".split()
) - frozenset(("i", "o", "u", "do", "y", "z", "w", "plus", "as", "he"))


def language(title: str, abstract: str) -> str:
    """ "en", "other" or "unknown" (too little text to tell).

    Mostly non-Latin letters, or more common words of other languages than of English, mean "other".
    """
    text = (abstract.strip() or title)[:_SAMPLE].lower()
    tokens = words(text)
    if not tokens:
        return "unknown"
    if not text.isascii():
        letters = sum(map(len, tokens))
        foreign = sum(len(token) for token in tokens if token[0] > "\u036f")
        if foreign > 0.3 * letters:
            return "other"
    english = sum(map(_ENGLISH.__contains__, tokens))
    other = sum(map(_OTHER.__contains__, tokens))
    if other >= 3 and other > english:
        return "other"
    if english == 0 and len(tokens) < 8:
        return "unknown"
    return "en" if english >= 0.04 * len(tokens) else "other" if other > english else "unknown"

"""Check a draft: what it claims, sentence by sentence, and what the evidence in the database says.

    from kb.check import check_file, check_text
    report = check_text(connection, "Ketamine cures PTSD.")
    report.as_dict()

The verdicts come from the abstracts in the database (kb.evidence.weigh) and the facts on record; nothing is
sent anywhere, and nothing that a draft names is opened or fetched.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from kb.check.document import Document, DraftProblem
from kb.check.facts import load_facts, touches
from kb.check.input import KINDS, read_bytes, read_file, read_text
from kb.check.references import find_references
from kb.check.reports import Report
from kb.check.statements import read_statements
from kb.check.verdicts import VERDICTS, Evidence, Memory, judge

__all__ = [
    "KINDS",
    "VERDICTS",
    "Document",
    "DraftProblem",
    "Memory",
    "Report",
    "check_document",
    "check_file",
    "check_text",
    "read_bytes",
    "read_file",
    "read_text",
]


_UNNAMED = "The draft never names ketamine: nothing in it was read as a claim about ketamine."
_MEANT = (
    "The draft never names ketamine: “the infusion” and the like were taken to mean it. Name the drug, or check "
    "that it is meant."
)


def check_text(
    connection: sqlite3.Connection, text: str | bytes, kind: str = "text", name: str = ""
) -> Report:
    """Check a draft given as a string (kind "text", "markdown" or "html") or as bytes (any kind, "docx" too).

    Raises DraftProblem, whose message is one line for the writer, where the draft cannot be read.
    """
    document = read_bytes(text, kind, name) if isinstance(text, bytes) else read_text(text, kind, name)
    return check_document(connection, document)


def check_file(connection: sqlite3.Connection, path: str | Path, kind: str = "") -> Report:
    """Check the draft in a file; its kind is told from its name and content unless given. Raises
    DraftProblem.
    """
    return check_document(connection, read_file(path, kind))


def check_document(
    connection: sqlite3.Connection, document: Document, memory: Memory | None = None
) -> Report:
    """Check a draft that has been read.

    A server may pass the same `memory` for as long as the data have not changed: what was read for one draft
    is then not read again for the next.
    """
    sentences = read_statements(document)
    if sentences and not any("drug" in s.hits for s in sentences):
        document.notes.append(_MEANT if any(s.claims for s in sentences) else _UNNAMED)
    facts = load_facts(connection)
    evidence = Evidence(connection, memory)
    evidence.load(claim.claim for s in sentences for claim in s.claims)
    lowered = document.text.lower()
    esketamine = lowered.count("esketamine") + lowered.count("spravato") > lowered.count("ketamine") / 2
    judged, unmatched = [], []
    for sentence in sentences:
        touched = touches(sentence, facts, esketamine=esketamine)
        if sentence.claims or any(f.agrees is not None or f.figure for f in touched):
            judged.append(judge(sentence, touched, evidence))
        elif sentence.record and not sentence.question:
            judged.append(judge(sentence, [], evidence))  # checkable, though no fact here settles it
        elif sentence.names_topic and sentence.kind != "heading":
            unmatched.append(sentence.text)
    references = find_references(document, judged, connection)
    row = connection.execute("SELECT value FROM meta WHERE key = 'data_version'").fetchone()
    titles = dict(connection.execute("SELECT id, statement FROM claims").fetchall())
    return Report(document, judged, references, len(sentences), unmatched, row[0] if row else "", titles)

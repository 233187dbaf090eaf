"""`kb build`: the database with claims, facts, landmark studies and their tags. Safe to repeat."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from harvest import landmarks
from kb.store import Saved, Store, now
from kb.tagging import TAGGER_VERSION, load_claims, tag_many


def facts() -> list[dict[str, Any]]:
    """The rows of facts.jsonl: what single abstracts cannot settle, each with date and source."""
    text = resources.files("kb").joinpath("facts.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def build(path: str | Path, progress: Callable[[int], None] | None = None) -> tuple[Saved, int]:
    """Create or upgrade the database at `path`. Returns what was saved and how many articles were tagged.

    Raises schema.DatabaseProblem if the file cannot be used.
    """
    with Store(path) as store:
        store.sync_claims(load_claims())
        store.sync_facts(facts())
        saved = save_landmarks(store)
        tagged = store.retag(tag_many, TAGGER_VERSION, progress=progress)
        if saved.new or saved.changed or tagged:
            store.set_meta("built", now())
        if store.meta("tagger_version") is None:
            store.set_meta("tagger_version", TAGGER_VERSION)
    return saved, tagged


def save_landmarks(store: Store) -> Saved:
    """Bring the landmark studies in, recorded as a harvest of their own when anything is new."""
    records = list(landmarks.articles())
    with store.transaction():
        store.sync_query(landmarks.SOURCE, term="", source=landmarks.SOURCE,
                         purpose="Landmark studies chosen and summarised by this project's reviewers")
        harvest = store.begin_harvest(landmarks.SOURCE, query_id=landmarks.SOURCE, found=len(records))
        saved = store.save(records, harvest)
        if saved.new or saved.changed:
            store.finish_harvest(harvest)
        else:
            store.connection.execute("DELETE FROM harvests WHERE id = ?", (harvest,))
    return saved

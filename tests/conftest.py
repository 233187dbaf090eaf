"""What several test files share: a database built once from the starter corpus, and small records."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harvest.record import Article, Author, MeshHeading, Section
from kb.build import build

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The reference material beside the project; tests that need it skip without it."""
    if not SHARED.is_dir():
        pytest.skip("../shared is not here: this test reads the reference material beside the project")
    return SHARED


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as `kb build` makes it. Read it only; take `database` to write."""
    path = tmp_path_factory.mktemp("built") / "kb.db"
    build(path)
    return path


@pytest.fixture
def database(built: Path, tmp_path: Path) -> Path:
    """A copy of the built database that a test may change."""
    path = tmp_path / "kb.db"
    shutil.copyfile(built, path)
    return path


def make_article(pmid: str = "900001", **values: object) -> Article:
    """A PubMed citation with an abstract that carries a finding; `values` replace fields."""
    fields: dict[str, object] = {
        "id": pmid,
        "pmid": pmid,
        "doi": f"10.5555/test.{pmid}",
        "title": f"One infusion of ketamine in adults with depression, trial {pmid}",
        "source": "pubmed",
        "journal": "Journal of Test Psychiatry",
        "year": 2021,
        "published": "2021-03",
        "sections": [
            Section("Ketamine blocks NMDA receptors.", "BACKGROUND", "BACKGROUND"),
            Section("We randomized 40 adults to ketamine 0.5 mg/kg or saline.", "METHODS", "METHODS"),
            Section("Depression scores fell more with ketamine than with saline at 24 hours.", "RESULTS", "RESULTS"),
            Section("Ketamine rapidly reduced depressive symptoms.", "CONCLUSIONS", "CONCLUSIONS"),
        ],
        "authors": [Author(last="Example", fore="Ann", initials="A")],
        "mesh": [MeshHeading("Ketamine", "D007649", True, [("therapeutic use", "Q000627", True)])],
        "publication_types": ["Journal Article", "Randomized Controlled Trial"],
    }
    fields.update(values)
    return Article(**fields)  # type: ignore[arg-type]


@pytest.fixture
def article():
    return make_article

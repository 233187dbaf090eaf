"""Reading PubMed XML: every field from its true place, streams cut anywhere, damage kept local."""

from __future__ import annotations

import gzip
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eutils_server import Citation, article_set
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from harvest import pubmed_xml
from harvest.files import read_file
from harvest.pubmed_xml import (
    NotPubmedXML,
    PubmedXML,
    Truncated,
    clean_doi,
    clean_orcid,
    iso_date,
    medline_date,
    text_of,
)
from harvest.record import Article, Deleted, Quarantined

FIXTURES = Path(__file__).resolve().parents[2] / "shared" / "eutils-fixtures"

FULL = """<PubmedArticle>
<MedlineCitation Status="MEDLINE" IndexingMethod="Automated" Owner="NLM">
 <PMID Version="2">31000001</PMID>
 <DateCompleted><Year>2022</Year><Month>03</Month><Day>01</Day></DateCompleted>
 <DateRevised><Year>2023</Year><Month>11</Month><Day>07</Day></DateRevised>
 <Article PubModel="Print-Electronic">
  <Journal><ISSN IssnType="Electronic">1234-5678</ISSN>
   <JournalIssue CitedMedium="Internet"><Volume>12</Volume><Issue>3</Issue>
    <PubDate><Year>2022</Year><Month>Feb</Month></PubDate></JournalIssue>
   <Title>Annals of Made-up Psychiatry</Title><ISOAbbreviation>Ann Made Up Psychiatry</ISOAbbreviation></Journal>
  <ArticleTitle>[<i>S</i>-ketamine raises BDNF<sup>Val66Met</sup> in 10<sup>-3</sup> m<sup>2</sup>].</ArticleTitle>
  <Pagination><StartPage>101</StartPage><EndPage>9</EndPage><MedlinePgn>101-9</MedlinePgn></Pagination>
  <ELocationID EIdType="doi" ValidYN="N">10.9999/wrong</ELocationID>
  <ELocationID EIdType="doi" ValidYN="Y">10.5555/Right.1</ELocationID>
  <Abstract>
   <AbstractText Label="BACKGROUND" NlmCategory="BACKGROUND"><b>Ketamine</b> blocks receptors.</AbstractText>
   <AbstractText Label="RESULTS" NlmCategory="RESULTS">First finding, IC<sub>50</sub> of 3 &#181;M;
    Ca<sup>2+</sup>.</AbstractText>
   <AbstractText Label="RESULTS" NlmCategory="RESULTS">Second finding under the same label.</AbstractText>
   <AbstractText>A part without a label.</AbstractText>
   <AbstractText Label="UNLABELLED"/>
   <CopyrightInformation>Copyright 2022 Nobody.</CopyrightInformation>
  </Abstract>
  <AuthorList CompleteYN="Y">
   <Author ValidYN="Y" EqualContrib="Y"><LastName>M&#252;ller</LastName><ForeName>Ann B</ForeName>
    <Initials>AB</Initials>
    <Suffix>Jr</Suffix><Identifier Source="ORCID">https://orcid.org/0000-0002-1825-0097</Identifier>
    <AffiliationInfo><Affiliation>Clinic One.</Affiliation></AffiliationInfo>
    <AffiliationInfo><Affiliation>Clinic Two.</Affiliation></AffiliationInfo></Author>
   <Author ValidYN="N"><LastName>Muler</LastName><ForeName>Ann B</ForeName></Author>
   <Author ValidYN="Y"><CollectiveName>The Example Group</CollectiveName></Author>
  </AuthorList>
  <Language>ger</Language><Language>eng</Language>
  <DataBankList CompleteYN="Y"><DataBank><DataBankName>ClinicalTrials.gov</DataBankName><AccessionNumberList>
    <AccessionNumber>NCT01234567</AccessionNumber></AccessionNumberList></DataBank>
   <DataBank><DataBankName>GENBANK</DataBankName><AccessionNumberList><AccessionNumber>AB12345</AccessionNumber>
    </AccessionNumberList></DataBank></DataBankList>
  <GrantList CompleteYN="Y">
   <Grant><GrantID>R01 X</GrantID><Acronym>MH</Acronym><Agency>An Institute</Agency>
    <Country>United States</Country></Grant>
   <Grant><GrantID>R01 X</GrantID><Acronym>MH</Acronym><Agency>An Institute</Agency>
    <Country>United States</Country></Grant>
   <Grant><Agency>A Foundation</Agency></Grant></GrantList>
  <PublicationTypeList><PublicationType UI="D016428">Journal Article</PublicationType>
   <PublicationType UI="D016441">Retracted Publication</PublicationType></PublicationTypeList>
  <VernacularTitle>S-Ketamin erh&#246;ht BDNF.</VernacularTitle>
  <ArticleDate DateType="Electronic"><Year>2021</Year><Month>12</Month><Day>30</Day></ArticleDate>
 </Article>
 <MedlineJournalInfo><Country>Germany</Country><MedlineTA>Ann MUP</MedlineTA></MedlineJournalInfo>
 <ChemicalList><Chemical><RegistryNumber>690G0D6V8H</RegistryNumber>
  <NameOfSubstance UI="D007649">Ketamine</NameOfSubstance>
  </Chemical><Chemical><RegistryNumber>0</RegistryNumber><NameOfSubstance UI="D019208">BDNF</NameOfSubstance></Chemical>
 </ChemicalList>
 <SupplMeshList><SupplMeshName Type="Disease" UI="C000657245">A Disease</SupplMeshName></SupplMeshList>
 <CommentsCorrectionsList>
  <CommentsCorrections RefType="RetractionIn"><RefSource>Ann Made Up. 2023;1:1</RefSource>
   <PMID Version="1">32000002</PMID>
   <Note>by the editors</Note></CommentsCorrections>
  <CommentsCorrections RefType="ErratumIn"><RefSource>Ann Made Up. 2022;9:9</RefSource></CommentsCorrections>
  <CommentsCorrections RefType="Cites"><RefSource>Another paper</RefSource><PMID>1</PMID></CommentsCorrections>
 </CommentsCorrectionsList>
 <MeshHeadingList>
  <MeshHeading><DescriptorName UI="D007649" MajorTopicYN="N">Ketamine</DescriptorName>
   <QualifierName UI="Q000494" MajorTopicYN="Y">pharmacology</QualifierName></MeshHeading>
  <MeshHeading><DescriptorName UI="D000818" MajorTopicYN="N">Animals</DescriptorName></MeshHeading>
 </MeshHeadingList>
 <OtherAbstract Type="plain-language-summary" Language="spa">
  <AbstractText>Un resumen inventado.</AbstractText></OtherAbstract>
 <KeywordList Owner="NOTNLM"><Keyword MajorTopicYN="N">
    ketamine
   </Keyword><Keyword MajorTopicYN="N"><i>Mus musculus</i></Keyword></KeywordList>
 <CoiStatement>None declared.</CoiStatement>
 <InvestigatorList><Investigator ValidYN="Y"><LastName>Ray</LastName><ForeName>Jo</ForeName><Initials>J</Initials>
  </Investigator></InvestigatorList>
 <BrandNewElement>of next year</BrandNewElement>
</MedlineCitation>
<PubmedData>
 <History><PubMedPubDate PubStatus="received"><Year>2020</Year><Month>1</Month><Day>1</Day></PubMedPubDate>
  <PubMedPubDate PubStatus="entrez"><Year>2022</Year><Month>1</Month><Day>5</Day><Hour>6</Hour></PubMedPubDate>
 </History>
 <PublicationStatus>ppublish</PublicationStatus>
 <ArticleIdList><ArticleId IdType="pubmed">31000001</ArticleId>
  <ArticleId IdType="pmc">PMC7654321</ArticleId></ArticleIdList>
 <ReferenceList><Reference><Citation>Somebody else's paper.</Citation><ArticleIdList>
  <ArticleId IdType="doi">10.1234/foreign</ArticleId><ArticleId IdType="pubmed">11</ArticleId>
  <ArticleId IdType="pmc">PMC1</ArticleId></ArticleIdList></Reference></ReferenceList>
</PubmedData>
</PubmedArticle>"""

BOOK = """<PubmedBookArticle><BookDocument><PMID Version="1">20000009</PMID>
<ArticleIdList><ArticleId IdType="bookaccession">NBK99</ArticleId></ArticleIdList>
<Book><Publisher><PublisherName>Example Press</PublisherName><PublisherLocation>Town</PublisherLocation></Publisher>
<BookTitle book="x">A Handbook of Examples</BookTitle><PubDate><Year>2019</Year><Month>04</Month></PubDate>
<AuthorList Type="editors">
 <Author><LastName>Ed</LastName><ForeName>Itor</ForeName><Initials>I</Initials></Author></AuthorList>
<Isbn>9780000000002</Isbn></Book><ArticleTitle book="x" part="y">A Chapter on <i>Ketamine</i></ArticleTitle>
<Language>eng</Language>
<AuthorList Type="authors"><Author><LastName>Wri</LastName><Initials>T</Initials></Author></AuthorList>
<PublicationType UI="D016454">Review</PublicationType><Abstract><AbstractText>About it.</AbstractText></Abstract>
<ContributionDate><Year>2019</Year><Month>5</Month><Day>6</Day></ContributionDate></BookDocument>
<PubmedBookData><ArticleIdList><ArticleId IdType="pubmed">20000009</ArticleId></ArticleIdList></PubmedBookData>
</PubmedBookArticle>"""


def read(document: str | bytes, size: int = 0) -> list[Any]:
    data = document.encode() if isinstance(document, str) else document
    pieces = [data[at : at + size] for at in range(0, len(data), size)] if size else [data]
    return list(PubmedXML(pieces))


def one(record: str) -> Article:
    (article,) = read(article_set([record]))
    assert isinstance(article, Article), article
    return article


# ---------------------------------------------------------------- fields


def test_every_field_from_its_place() -> None:
    a = one(FULL)
    assert (a.id, a.pmid, a.version, a.status) == ("31000001", "31000001", 2, "MEDLINE")
    assert a.doi == "10.5555/Right.1" and a.pmcid == "PMC7654321"
    assert a.title == "[S-ketamine raises BDNF^Val66Met in 10⁻³ m²]."
    assert a.vernacular_title == "S-Ketamin erhöht BDNF." and a.language == "ger"
    assert [(s.label, s.category, s.text) for s in a.sections] == [
        ("BACKGROUND", "BACKGROUND", "Ketamine blocks receptors."),
        ("RESULTS", "RESULTS", "First finding, IC50 of 3 µM; Ca2+."),
        ("RESULTS", "RESULTS", "Second finding under the same label."),
        ("", "", "A part without a label."),
    ]
    assert a.copyright == "Copyright 2022 Nobody." and a.abstract_origin == "publisher"
    assert [(o.language, o.kind, o.text) for o in a.other_abstracts] == [
        ("spa", "plain-language-summary", "Un resumen inventado.")
    ]
    assert [(x.name, x.role) for x in a.authors] == [
        ("Müller AB Jr", "author"),
        ("The Example Group", "author"),
        ("Ray J", "investigator"),
    ]
    assert a.authors[0].orcid == "0000-0002-1825-0097" and a.authors[0].affiliations == ["Clinic One.", "Clinic Two."]
    assert (a.journal, a.journal_abbreviation, a.issn) == (
        "Annals of Made-up Psychiatry",
        "Ann Made Up Psychiatry",
        "1234-5678",
    )
    assert (a.volume, a.issue, a.pages) == ("12", "3", "101-9")
    assert (a.published, a.year, a.published_online, a.created, a.revised) == (
        "2022-02",
        2022,
        "2021-12-30",
        "2022-01-05",
        "2023-11-07",
    )
    assert [(m.descriptor, m.ui, m.major, m.qualifiers) for m in a.mesh] == [
        ("Ketamine", "D007649", True, [("pharmacology", "Q000494", True)]),
        ("Animals", "D000818", False, []),
    ]
    assert a.supplementary_concepts == [("A Disease", "C000657245", "Disease")]
    assert a.substances == [("Ketamine", "690G0D6V8H"), ("BDNF", "D019208")]
    assert a.keywords == ["ketamine", "Mus musculus"]
    assert a.publication_types == ["Journal Article", "Retracted Publication"] and a.retracted
    assert [(g.number, g.agency) for g in a.grants] == [("R01 X", "An Institute"), ("", "A Foundation")]
    assert a.trials == ["NCT01234567"] and a.conflict_of_interest == "None declared."
    assert [(c.kind, c.other_id, c.note) for c in a.corrections] == [
        ("RetractionIn", "32000002", "by the editors"),
        ("ErratumIn", "", ""),
    ]


def test_elements_nobody_knows_are_counted_not_fatal() -> None:
    reader = PubmedXML([article_set([FULL]).encode()])
    assert len(list(reader)) == 1 and reader.unknown == {"BrandNewElement": 1} and reader.seen == 1
    assert "pubmed_250101" in reader.doctype


def test_books_and_chapters() -> None:
    b = one(BOOK)
    assert (b.id, b.title, b.journal, b.published, b.year) == (
        "20000009",
        "A Chapter on Ketamine",
        "A Handbook of Examples",
        "2019-05-06",
        2019,
    )
    assert [(x.name, x.role) for x in b.authors] == [("Ed I", "editor"), ("Wri T", "author")]
    assert (b.publisher, b.isbn, b.publication_types) == ("Example Press, Town", "9780000000002", ["Review"])
    whole = one(BOOK.replace('<ArticleTitle book="x" part="y">A Chapter on <i>Ketamine</i></ArticleTitle>', ""))
    assert (whole.title, whole.published) == ("A Handbook of Examples", "2019-04")


@pytest.mark.parametrize(
    ("types", "links", "retracted"),
    [
        ([("D016441", "Retracted Publication")], [], True),
        ([("D016441", "another wording of next year")], [], True),
        ([("D016428", "Journal Article")], [("RetractionIn", "x", "")], True),
        ([("D016440", "Retraction of Publication")], [("RetractionOf", "x", "5")], False),
        ([("D016440", "Retraction Notice")], [("RetractionOf", "x", "5")], False),
        ([("D016428", "Journal Article")], [("ExpressionOfConcernIn", "x", ""), ("ErratumIn", "y", "")], False),
    ],
)
def test_the_retracted_paper_is_told_from_the_notice(types: Any, links: Any, retracted: bool) -> None:
    assert one(Citation("5", types=types, corrections=links).render()).retracted is retracted


@pytest.mark.parametrize(
    ("title", "retracted"),
    [
        ("[RETRACTED] Ketamine in veterans.", True),
        ("RETRACTED: Ketamine in veterans.", True),
        ("Retracted: Ketamine in veterans.", True),
        ("RETRACTED ARTICLE: Ketamine in veterans.", True),
        ("Retraction notice: Ketamine in veterans.", True),
        ('Retraction notice to "Ketamine in veterans" [J Made Up 1 (2020) 1].', True),
        ("Retraction Note to: Ketamine in veterans.", True),
        ("Retraction: Ketamine in veterans.", True),
        ("[Retracted: Ketamine in veterans].", True),
        ("Retraction of the eyelid under ketamine.", False),
        ("Why papers are retracted: ketamine as an example.", False),
        ("Retractions: a survey of anaesthesia journals.", False),
        ("Partial retraction: Ketamine in veterans.", False),
    ],
)
def test_a_title_that_says_retracted_is_believed_but_of_a_notice(title: str, retracted: bool) -> None:
    assert one(Citation("5", title=title).render()).retracted is retracted
    notice = Citation("5", title=title, types=[("D016440", "Retraction Notice")])
    assert not one(notice.render()).retracted


def test_corrections_of_every_kind() -> None:
    kinds = (
        "AssociatedDataset AssociatedPublication CommentIn CommentOn CorrectedandRepublishedIn "
        "CorrectedandRepublishedFrom ErratumIn ErratumFor ExpressionOfConcernIn ExpressionOfConcernFor RepublishedIn "
        "RepublishedFrom RetractedandRepublishedIn RetractedandRepublishedFrom RetractionIn RetractionOf UpdateIn "
        "UpdateOf SummaryForPatientsIn OriginalReportIn ReprintIn ReprintOf KindOfNextYear"
    ).split()
    a = one(Citation("5", corrections=[(kind, "somewhere", "7") for kind in kinds]).render())
    assert [c.kind for c in a.corrections] == kinds


def test_a_title_that_is_not_available_is_replaced_by_the_original_one() -> None:
    text = (
        Citation("5", title="[Not Available].")
        .render()
        .replace("</Article>", "<VernacularTitle>Über Ketamin.</VernacularTitle></Article>")
    )
    assert one(text).title == "Über Ketamin."
    empty = Citation("5", title="").render()
    assert one(empty).title == "" and one(empty).abstract_origin == "none"


def test_registrations_that_stand_only_in_the_abstract() -> None:
    a = one(Citation("5", abstract="Registered as NCT07654321 and NCT 00000012.").render())
    assert a.trials == ["NCT07654321", "NCT00000012"]


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        ("plain", "plain"),
        ("<b>starts</b> with <i>markup</i>", "starts with markup"),
        ("5 kg m<sup>-2</sup> and 1.73 m<sup>2</sup> of", "5 kg m⁻² and 1.73 m² of"),
        ("Na<sup>+</sup>, Ca<sup>2+</sup>, Cl<sup>-</sup>", "Na+, Ca2+, Cl-"),
        ("<i>Bdnf</i><sup>-/-</sup> and <sup>18</sup>F and [<sup>3</sup>H]", "Bdnf-/- and ¹⁸F and [³H]"),
        ("the 5<sup>th</sup> day, Spravato<sup>®</sup>", "the 5th day, Spravato®"),
        ("H<sub>2</sub>O, IC<sub>50</sub>, C<sub>max</sub>, 5-HT<sub>2A</sub>", "H2O, IC50, Cmax, 5-HT2A"),
        ("GABA<sub>A</sub> and CD4<sup>high</sup>", "GABA_A and CD4^high"),
        ("10<sup>6</sup> &lt; x", "10⁶ < x"),
        ("two\n   lines\tand\u00a0more", "two lines and more"),
        ("<u>a<sup>2</sup></u>b", "a²b"),
        (
            'p<mml:math xmlns:mml="http://www.w3.org/1998/Math/MathML"><mml:msup><mml:mi>x</mml:mi><mml:mn>2</mml:mn></mml:msup>'
            "<mml:mo>+</mml:mo><mml:mfrac><mml:mn>1</mml:mn><mml:mi>n</mml:mi></mml:mfrac></mml:math>q",
            "px²+1/nq",
        ),
        (
            "<mml:math><mml:msubsup><mml:mi>η</mml:mi><mml:mi>p</mml:mi><mml:mn>2</mml:mn></mml:msubsup></mml:math>",
            "η_p²",
        ),
        (
            "<mml:math><mml:msqrt><mml:mi>a</mml:mi><mml:mo>+</mml:mo><mml:mi>b</mml:mi></mml:msqrt></mml:math>",
            "√(a+b)",
        ),
        (
            "<mml:math><mml:semantics><mml:mi>k</mml:mi><mml:annotation>\\kappa</mml:annotation></mml:semantics></mml:math>",
            "k",
        ),
    ],
)
def test_markup_is_flattened_readably(inside: str, text: str) -> None:
    assert one(Citation("5", abstract=inside).render()).sections[0].text == text


@pytest.mark.parametrize(
    ("parts", "date"),
    [
        (("2014", "", ""), "2014"),
        (("2014", "Jun", ""), "2014-06"),
        (("2014", "06", "3"), "2014-06-03"),
        (("2014", "June", "03"), "2014-06-03"),
        (("2014", "13", "1"), "2014"),
        (("2014", "2", "30"), "2014-02"),
        (("", "6", "3"), ""),
        (("20x4", "", ""), ""),
        (("0000", "", ""), ""),
    ],
)
def test_dates_as_precise_as_known(parts: tuple[str, str, str], date: str) -> None:
    assert iso_date(*parts) == date


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("1998 Dec-1999 Jan", "1998"),
        ("1978 Jul-Aug", "1978"),
        ("1947-1948", "1947"),
        ("2008", "2008"),
        ("2008 Mar 15", "2008-03-15"),
        ("2007 Jan 1-15", "2007-01"),
        ("2000 Spring", "2000"),
        ("Spring 2000", "2000"),
        ("2000 Spring-Summer", "2000"),
        ("1999 Dec 31-2000 Jan 7", "1999"),
        ("unknown", ""),
        ("2009 Nov", "2009-11"),
    ],
)
def test_medline_dates(text: str, date: str) -> None:
    assert medline_date(text) == date


def test_the_baseline_and_efetch_give_one_date_for_one_paper() -> None:
    base = Citation("5").render()
    pattern = re.compile(r"<PubDate>.*?</PubDate>")
    baseline = one(pattern.sub("<PubDate><MedlineDate>1978 Jul-Aug</MedlineDate></PubDate>", base))
    efetch = one(pattern.sub("<PubDate><Year>1978</Year><Season>Jul-Aug</Season></PubDate>", base))
    assert baseline.published == efetch.published == "1978"
    assert baseline.published_verbatim == efetch.published_verbatim == "1978 Jul-Aug"


@pytest.mark.parametrize(
    ("text", "doi"),
    [
        ("10.1001/x.1", "10.1001/x.1"),
        ("https://doi.org/10.1001/x", "10.1001/x"),
        ("doi: 10.1001/X", "10.1001/X"),
        (" 10.1001/x ", "10.1001/x"),
        ("10.1/x", None),
        ("x", None),
        ("10.1001/a b", None),
        (None, None),
    ],
)
def test_dois(text: str | None, doi: str | None) -> None:
    assert clean_doi(text) == doi


@pytest.mark.parametrize(
    ("text", "orcid"),
    [
        ("0000-0002-1825-0097", "0000-0002-1825-0097"),
        ("0000000218250097", "0000-0002-1825-0097"),
        ("http://orcid.org/0000-0002-1694-233X", "0000-0002-1694-233X"),
        ("0000-0002-1694-233x", "0000-0002-1694-233X"),
        ("0000-0002-1825-0098", ""),
        ("0000", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_orcids_with_their_check_digit(text: str | None, orcid: str) -> None:
    assert clean_orcid(text) == orcid


# ---------------------------------------------------------------- streams


def mixed() -> str:
    deleted = '<DeleteCitation><PMID Version="1">77</PMID><PMID>078</PMID><PMID>x</PMID></DeleteCitation>'
    return article_set(
        [
            FULL,
            BOOK,
            Citation("12", title="Third.").render(),
            "<!-- <PubmedArticle> in a comment -->",
            Citation("13", title="Fourth.").render(),
            deleted,
        ]
    )


def test_deletions_and_order() -> None:
    records = read(mixed())
    assert [r.id for r in records] == ["31000001", "20000009", "12", "13", "77", "78", ""]
    assert [type(r) for r in records[4:]] == [Deleted, Deleted, Quarantined]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700))
def test_wherever_the_stream_is_cut_the_records_are_the_same(size: int) -> None:
    assert read(mixed(), size) == read(mixed())


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_citation_costs_only_itself(data: st.DataObject) -> None:
    """Bytes inside one citation are changed at random: its neighbours always come through, and nothing crashes."""
    before, after = Citation("11", title="Before.").render(), Citation("13", title="After.").render()
    victim = bytearray(Citation("12", title="Victim.", abstract="Some text.").render().encode())
    start = data.draw(st.integers(15, len(victim) - 20))
    victim[start : start + data.draw(st.integers(1, 30))] = data.draw(
        st.binary(max_size=20).filter(lambda b: not re.search(rb"<!--|</?Pubmed", b))
    )
    document = article_set([before, "@@", after]).encode().replace(b"@@", bytes(victim))
    if victim.count(b"<!--"):
        return
    ids = [r.id for r in read(document)]
    assert ids[0] == "11" and ids[-1] == "13"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_rubbish_is_refused_with_a_reason(rubbish: bytes) -> None:
    with pytest.raises((NotPubmedXML, Truncated)) as caught:
        list(PubmedXML([rubbish]))
    assert str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 0.95, 0.999])
def test_a_cut_document_is_told_from_a_whole_one(share: float) -> None:
    whole = article_set([Citation("1").render(), Citation("2").render()])
    with pytest.raises((Truncated, NotPubmedXML)):
        read(whole[: int(len(whole) * share)])


def test_a_citation_that_is_never_closed_does_not_swallow_the_next() -> None:
    records = read(
        article_set(
            [Citation("1").render(), Citation("2").render().replace("</PubmedArticle>", ""), Citation("3").render()]
        )
    )
    assert [(r.id, type(r)) for r in records] == [("1", Article), ("2", Quarantined), ("3", Article)]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", "empty"),
        (b"   \n", "empty"),
        (b"hello", "not XML"),
        (b"%PDF-1.7", "not XML"),
        (b"\x00\x01\x02", "not XML"),
        (b"<!DOCTYPE html><html><body>Down</body></html>", "HTML"),
        (b"<html><body/></html>", "HTML"),
        (b"<?xml version='1.0'?><!DOCTYPE html PUBLIC 'x' 'y'><html/>", "HTML"),
        (b"<?xml version='1.0'?><rss></rss>", "<rss>"),
        (b"<PubmedArticleSet", "well-formed"),
        (b'<?xml version="1.0" encoding="klingon"?><PubmedArticleSet/>', "klingon"),
        (b'<!DOCTYPE PubmedArticleSet [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><PubmedArticleSet/>', "entities"),
        (
            b'<!DOCTYPE PubmedArticleSet SYSTEM "x" [<!ENTITY x SYSTEM "file:///etc/passwd">]><PubmedArticleSet/>',
            "entities",
        ),
    ],
)
def test_what_is_no_pubmed_xml(document: bytes, reason: str) -> None:
    with pytest.raises(NotPubmedXML, match=reason):
        read(document)


def test_entities_never_reach_a_record() -> None:
    document = article_set(
        [
            Citation("1", title="a &xxe; b").render(),
            Citation("2").render(),
            '<!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]>',
            Citation("3").render(),
        ]
    )
    records = read(document)
    assert [(r.id, type(r)) for r in records if r.id] == [("1", Quarantined), ("2", Article), ("3", Article)]
    assert all("root:" not in repr(r) for r in records)


def test_an_empty_set_is_an_answer_not_an_error() -> None:
    assert read(article_set([])) == [] and read("<PubmedArticleSet/>") == []


def test_citations_that_lack_what_makes_them_one() -> None:
    nameless = re.sub(r"<PMID.*?</PMID>", "", Citation("1").render()).replace("pubmed", "other")
    with_doi = re.sub(r"<PMID.*?</PMID>", "", Citation("1", doi="10.5555/only").render())
    records = read(
        article_set(
            [
                nameless,
                with_doi,
                "<PubmedArticle></PubmedArticle>",
                Citation("1").render().replace(">1</PMID>", ">1,2</PMID>"),
            ]
        )
    )
    assert [type(r) for r in records] == [Quarantined, Article, Quarantined, Quarantined]
    assert records[1].id == "doi:10.5555/only" and "no PMID" in records[0].reason


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_other_encodings(encoding: str) -> None:
    name = {"utf-8-sig": "utf-8"}.get(encoding, encoding)
    text = article_set([Citation("1", title="Über Kétamine.").render()]).replace(
        'version="1.0"', f'version="1.0" encoding="{name}"'
    )
    (article,) = read(text.encode(encoding), 100)
    assert article.title == "Über Kétamine."


def test_one_citation_saved_by_itself() -> None:
    (article,) = read('<?xml version="1.0"?>\n' + FULL)
    assert article.pmid == "31000001"


def test_a_citation_without_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pubmed_xml, "CITATION_LIMIT", 1 << 20)

    def endless() -> Iterator[bytes]:
        yield b"<PubmedArticleSet><PubmedArticle>"
        while True:
            yield b"a" * 65536

    with pytest.raises(NotPubmedXML, match="no citation ends"):
        list(PubmedXML(endless()))


@given(st.text(alphabet=st.characters(blacklist_categories=("Cs", "Cc")), max_size=80))
def test_text_comes_through_but_for_its_blanks(text: str) -> None:
    element = etree.Element("AbstractText")
    element.text = text
    assert text_of(element) == re.sub(r"\s+", " ", text).strip() or "\u2028" in text or not text.isprintable()


# ---------------------------------------------------------------- the real records


def _real_files() -> list[Path]:
    return sorted(
        [*FIXTURES.glob("efetch/*/*.xml"), *FIXTURES.glob("baseline/*.gz"), *FIXTURES.glob("synthetic/*.xml")]
    )


def _plain(text: str) -> str:
    """Without what flattening adds (caret, underscore, raised digits) and without blanks."""
    text = text.translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ", "0123456789+-=()ni")).translate(
        str.maketrans("−–", "--")
    )
    return re.sub(r"[\s^_]+", "", text)


@pytest.mark.skipif(not _real_files(), reason="the shared fixtures (../shared/eutils-fixtures) are not there")
def test_all_real_records_against_another_parser() -> None:
    """Field by field against pubmed_parser; each kind of difference is named here with its reason."""
    parser = pytest.importorskip("pubmed_parser.medline_parser")
    safe = etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True)
    compared, unexplained, quarantined = 0, [], []
    explained: dict[str, int] = defaultdict(int)
    for path in _real_files():
        ours: dict[str, list[Article]] = defaultdict(list)
        reader = read_file(path, keep=None)
        for record in reader:
            if isinstance(record, Article):
                ours[record.pmid or ""].append(record)
            elif isinstance(record, Quarantined):
                quarantined.append(path.name)
        assert not reader.unknown, (path.name, reader.unknown)
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
        try:
            root = etree.fromstring(raw, safe)
        except etree.XMLSyntaxError:
            assert path.name == "MedlineImporterTestMalformedEntry.xml"
            continue
        for element in [root] if root.tag == "PubmedArticle" else root.findall("PubmedArticle"):
            if element.find("MedlineCitation/PMID") is None:
                continue  # nothing to key it by; ours quarantines it (asserted below)
            if element.find("MedlineCitation/Article/Journal") is None:
                explained["pubmed_parser raises on a record without a journal"] += 1
                continue
            theirs = parser.parse_article_info(element, False, False, True, False)
            article = ours[theirs["pmid"]].pop(0)
            compared += 1
            for field, one_side, other, reason in _differences(element, theirs, article):
                if reason:
                    explained[f"{field}: {reason}"] += 1
                else:
                    unexplained.append((path.name, article.pmid, field, one_side, other))
    assert unexplained == []
    assert compared >= 890
    assert sorted(quarantined) == [
        "MedlineImporterTestMalformedEntry.xml",
        "MedlineImporterTestMinimalEntry.xml",
        "pubmedsample_no_pmid_2019.xml.gz",
    ]


def _differences(element: Any, theirs: dict[str, Any], a: Article) -> Iterator[tuple[str, Any, Any, str]]:
    """(field, theirs, ours, reason) for each field that differs; no reason means that it must not."""
    article = element.find("MedlineCitation/Article")
    squeeze = lambda text: re.sub(r"\s+", " ", text or "").strip()  # noqa: E731
    texts = article.findall("Abstract/AbstractText")
    has_math = any("math" in str(e.tag).lower() for e in article.iter())

    def markup(path: str) -> bool:
        return any(len(e) for e in article.findall(path))

    title = squeeze(theirs["title"])
    if title != a.title:
        reason = ""
        if title.lower() in ("", "[not available].") and a.title == a.vernacular_title:
            reason = "no English title: the original one stands in"
        elif markup("ArticleTitle"):
            whole = "".join(article.find("ArticleTitle").itertext())
            if _plain(whole) == _plain(a.title) or has_math:
                reason = "sub- and superscripts are marked; pubmed_parser drops what begins with a line break"
        yield "title", title, a.title, reason
    plain = squeeze(" ".join(squeeze("".join(t.itertext())) for t in texts))
    mine = " ".join(s.text for s in a.sections)
    if plain != mine:
        ok = markup("Abstract/AbstractText") and (has_math or _plain(plain) == _plain(mine))
        yield "abstract", plain, mine, "sub- and superscripts and formulas are marked" if ok else ""
    valid = [(x["lastname"], x["forename"], x["initials"]) for x in theirs["authors"]]
    names = [(x.last, x.fore, x.initials) for x in a.authors if x.role == "author"]
    if valid != names:
        wrong = {e.findtext("LastName") for e in article.findall("AuthorList/Author[@ValidYN='N']")}
        ok = [v for v in valid if v[0] not in wrong] == [n for n in names if n[0] not in wrong] and wrong
        yield "authors", valid, names, "ValidYN=N marks a misspelling kept for searching" if ok else ""
    pairs: list[tuple[str, str, str, str]] = [
        ("journal", squeeze(theirs["journal"]), a.journal, ""),
        ("mesh", theirs["mesh_terms"], "; ".join(f"{m.ui}:{m.descriptor}" for m in a.mesh), ""),
        (
            "types",
            re.sub(r"(^|; )[A-Z]?\d*:", r"\1", theirs["publication_types"]),
            "; ".join(a.publication_types),
            "",
        ),
        (
            "chemicals",
            "; ".join(c.split(":", 1)[1] for c in theirs["chemical_list"].split("; ") if c),
            "; ".join(name for name, _ in a.substances),
            "",
        ),
        ("date", theirs["pubdate"], a.published, ""),
        ("vernacular title", squeeze(theirs["vernacular_title"]), a.vernacular_title, ""),
        ("keywords", re.sub(r"\s*;\s*", "; ", squeeze(theirs["keywords"])), "; ".join(a.keywords), ""),
        ("language", theirs["languages"].split(";")[0], a.language, ""),
    ]
    for field, one_side, other, reason in pairs:
        if one_side != other:
            if field == "keywords" and set(other.split("; ")) == set(one_side.split("; ")):
                reason = "a keyword given twice is kept once"
            yield field, one_side, other, reason
    if theirs["doi"] != (a.doi or ""):
        located = [e.text for e in article.findall("ELocationID[@EIdType='doi']") if e.get("ValidYN") != "N"]
        listed = [e.text for e in element.findall("PubmedData/ArticleIdList/ArticleId[@IdType='doi']")]
        ok = (a.doi in located and not theirs["doi"]) or a.doi in listed
        yield "doi", theirs["doi"], a.doi, "it stands in ELocationID alone, or in another case there" if ok else ""
    pmcids = [e.text for e in element.findall("PubmedData/ArticleIdList/ArticleId[@IdType='pmc']")]
    others = [e.text for e in element.findall("MedlineCitation/OtherID")]
    if (a.pmcid or "") != (pmcids[0] if pmcids else theirs["pmc"]):
        versioned = bool(pmcids) and pmcids[0].startswith(f"{a.pmcid}.")
        ok = a.pmcid and (versioned or a.pmcid in " ".join(o or "" for o in others))
        yield "pmcid", pmcids, a.pmcid, "it stands in OtherID alone, or carries a version" if ok else ""


@pytest.mark.skipif(not _real_files(), reason="the shared fixtures (../shared/eutils-fixtures) are not there")
def test_real_books_deletions_and_retractions() -> None:
    deleted, books, retracted, notices = 0, [], set(), set()
    for path in _real_files():
        book = re.findall(rb"<BookDocument>\s*<PMID[^>]*>(\d+)", b"" if path.suffix == ".gz" else path.read_bytes())
        for record in read_file(path, keep=None):
            if isinstance(record, Deleted):
                deleted += 1
            elif isinstance(record, Article):
                if (record.pmid or "").encode() in book:
                    books.append(record)
                if record.retracted:
                    retracted.add(record.pmid)
                if any(c.kind == "RetractionOf" for c in record.corrections):
                    notices.add(record.pmid)
    assert deleted == 36 and len(books) == 5
    assert sum(bool(b.title and b.year and b.journal) for b in books) == 4  # the fifth is a stub made by its project
    assert "9500320" in retracted and notices and not notices & retracted

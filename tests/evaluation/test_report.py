"""The report of the evaluations: every result is on the page, escaped, and nothing else."""

import json
import os
import re
from html.parser import HTMLParser

import pytest
from PIL import Image
from typer.testing import CliRunner

import tf_lrp.cli.report
from tf_lrp import cli
from tf_lrp.evaluation import report

VOID = {"meta", "img"}
NASTY = """<script>&amp; "double" 'single' </td>"""


class Page(HTMLParser):
    """A page's tables, texts by tag and attributes; fails where tags are not closed in order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tables, self.texts, self.tags = [], [], {}, []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag in VOID:
            return
        self.open.append(tag)
        self.texts.setdefault(tag, []).append("")
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.tables[-1][-1].append(self.texts[tag][-1])
        assert self.open.pop() == tag

    def handle_data(self, data):
        for tag in set(self.open):
            self.texts[tag][-1] += data

    def of(self, tag):
        return [attributes for each, attributes in self.tags if each == tag]


def result(**parts):
    return {"kind": "localization", "title": "Where relevance lands", **parts}


def put(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def png(path, size=(7, 5)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 30, 30)).save(path)
    return path


def page_of(folder, **options):
    path, found = report.write(folder, **options)
    return Page(path.read_text(encoding="utf-8")), found


# -- the page ---------------------------------------------------------------------------------------------------------------


def test_every_cell_of_every_table(tmp_path):
    rows = [["lrp", [0.61234, 0.0123], 3, None], ["gradient", [0.2, None], 12, 0.5], ["none", [None, None], 0, float("nan")]]
    table = {"title": "Table I", "columns": ["method", "mu_w", "n", "mu"], "rows": rows, "bold": [1], "notes": ["below it"]}
    other = {"title": "Empty", "columns": ["a"], "rows": []}
    put(tmp_path, "a.json", result(tables=[table, other]))
    page, _ = page_of(tmp_path)
    assert page.tables == [
        [
            ["method", "mu_w", "n", "mu"],
            ["lrp", "0.612 ± 0.012", "3", "–"],
            ["gradient", "0.200", "12", "0.500"],
            ["none", "–", "0", "nan"],
        ],
        [["a"]],
    ]
    assert page.texts["caption"] == ["Table I", "Empty"]
    assert [attributes.get("class") for attributes in page.of("tr")] == [None, None, "bold", None, None]
    assert [attributes.get("class") for attributes in page.of("th")] == [None, "number", "number", "number", None]
    assert "below it" in page.texts["p"]


def test_everything_is_escaped(tmp_path):
    name = "a & <b>.json"
    picture = {"file": "<gone>.png", "caption": NASTY}
    put(
        tmp_path,
        name,
        result(
            title=NASTY,
            configuration={NASTY: {"deep": NASTY}, "text": NASTY},
            versions={NASTY: NASTY},
            tables=[{"title": NASTY, "columns": [NASTY], "rows": [[NASTY]], "notes": [NASTY]}],
            figures=[picture],
            problems=[{"name": NASTY, "what": NASTY, "detail": NASTY}],
            notes=[NASTY],
        ),
    )
    put(tmp_path, "unknown.json", {"kind": NASTY})
    page, _ = page_of(tmp_path)
    assert not page.of("script")
    assert page.texts["h3"] == [NASTY]
    assert page.tables == [[[NASTY], [NASTY]]]
    assert page.texts["p"].count(NASTY) == 2
    assert page.texts["figcaption"] == [NASTY]
    assert page.texts["summary"][0] == f"1 picture left out ({NASTY}: 1)"
    assert page.texts["dt"] == [NASTY, "text", f"version of {NASTY}", "written to"]
    assert page.texts["dd"] == [json.dumps({"deep": NASTY}), NASTY, NASTY, name]


def test_nothing_is_loaded_from_elsewhere(tmp_path):
    png(tmp_path / "deep" / "figures" / "a.png", size=(31, 17))
    parts = {"figures": [{"file": "figures/a.png", "caption": "A"}], "examples": [{"file": "figures/a.png", "caption": "B"}]}
    put(tmp_path, "deep/a.json", result(notes=["https://example.org/x"], **parts))
    page, found = page_of(tmp_path)
    assert found.faults() == ""
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object"), tag
        for name in ("src", "href"):
            assert re.match(r"data:image/png;base64,|#", attributes.get(name, "#")), attributes
    (style,) = page.texts["style"]
    assert "url(" not in style and "@import" not in style
    assert [(a["width"], a["height"], a["alt"]) for a in page.of("img")] == [("31", "17", "A"), ("31", "17", "B")]
    targets = {attributes.get("id") for _, attributes in page.tags}
    assert all(attributes["href"][1:] in targets for attributes in page.of("a"))


def test_sections_come_in_a_fixed_order(tmp_path):
    for number, kind in enumerate(reversed(report.KINDS)):
        put(tmp_path, f"{number}/b.json", result(kind=kind, title=f"{kind} b"))
        put(tmp_path, f"{number}/a.json", result(kind=kind, title=f"{kind} a"))
    page, _ = page_of(tmp_path)
    assert [attributes["id"] for attributes in page.of("section")] == [
        "localization",
        "context",
        "perturbation",
        "sanity",
        "tuning",
    ]
    titles = [f"{kind} {letter}" for kind in report.KINDS for letter in "ab"]
    assert page.texts["h3"] == titles
    assert [text for text in page.texts["a"] if text in titles] == titles


def test_problems_are_counted_by_kind(tmp_path):
    kinds = ["unreadable", "no box", "unreadable"]
    problems = [{"name": f"{n}.jpg", "what": what, "detail": f"detail {n}"} for n, what in enumerate(kinds)]
    put(tmp_path, "a.json", result(problems=problems))
    page, _ = page_of(tmp_path)
    assert page.texts["summary"][0] == "3 pictures left out (unreadable: 2, no box: 1)"
    for n, what in enumerate(kinds):
        assert f"{n}.jpg: {what}: detail {n}" in page.texts["li"]


@pytest.mark.parametrize("fault", ["missing", "no picture", "cut", "jpeg", "outside", "absolute", "nul", "folder"])
def test_pictures_that_cannot_be_had_are_named(tmp_path, fault):
    folder = tmp_path / "results"
    whole = png(tmp_path / "outside.png", size=(300, 200))
    (folder / "p.png").parent.mkdir()
    file = {"outside": "../outside.png", "absolute": str(whole), "nul": "a\0b"}.get(fault, "p.png")
    if fault == "no picture":
        put(folder, "p.png", "text")
    elif fault == "cut":
        (folder / "p.png").write_bytes(whole.read_bytes()[:-30])
    elif fault == "jpeg":
        Image.new("RGB", (9, 9)).save(folder / "p.png", format="JPEG")
    elif fault == "folder":
        (folder / "p.png").mkdir()
    put(folder, "a.json", result(figures=[{"file": file, "caption": "The caption"}]))
    page, found = page_of(folder)
    assert [picture.file for picture in found.missing] == [file]
    assert not page.of("img")
    assert page.texts["figcaption"] == ["The caption"]
    (said,) = [text for text in page.texts["p"] if text.startswith("Missing: ")]
    assert found.missing[0].fault in said and (fault == "nul" or file in said)
    assert "1 picture missing" in page.texts["p"]


BROKEN = {
    "cut": '{"kind": "local',
    "not UTF-8": b'{"kind": "\xff\xfe"}',
    "deep": '{"kind": ' + "[" * 100_000,
    "unknown kind": {"kind": "novel", "title": "t"},
    "kind is no text": {"kind": ["localization"], "title": "t"},
    "no title": {"kind": "localization"},
    "title is no text": result(title=3),
    "tables": result(tables={}),
    "table is no object": result(tables=["t"]),
    "row of another length": result(tables=[{"columns": ["a", "b"], "rows": [[1]]}]),
    "cell": result(tables=[{"columns": ["a"], "rows": [[{"x": 1}]]}]),
    "pair": result(tables=[{"columns": ["a"], "rows": [[[1, 2, 3]]]}]),
    "column": result(tables=[{"columns": [1], "rows": []}]),
    "bold": result(tables=[{"columns": ["a"], "rows": [[1]], "bold": [1]}]),
    "figure without a file": result(figures=[{"caption": "c"}]),
    "note": result(notes=[1]),
    "problem": result(problems=["p"]),
    "versions": result(versions=[]),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_files_that_are_not_understood_are_listed(tmp_path, content):
    put(tmp_path, "good.json", result())
    if isinstance(content, bytes):
        (tmp_path / "bad.json").write_bytes(content)
    else:
        put(tmp_path, "bad.json", content)
    page, found = page_of(tmp_path)
    assert [file for file, _ in found.not_understood] == ["bad.json"]
    assert len(found.results) == 1
    (item,) = [text for text in page.texts["li"] if text.startswith("bad.json: ")]
    assert item == f"bad.json: {found.not_understood[0][1]}"
    assert "1 file not understood" in page.texts["p"]


def test_other_json_is_left_alone(tmp_path):
    put(tmp_path, "good.json", result())
    for name, content in {
        "list.json": [1],
        "object.json": {"a": 1},
        "text.json": "3",
        "log.jsonl": "{",
        "x.json.1.partial": "{",
    }.items():
        put(tmp_path, name, content)
    page, found = page_of(tmp_path)
    assert found.faults() == ""
    assert "not-understood" not in {attributes.get("id") for _, attributes in page.tags}


def test_only_the_date_changes(tmp_path, monkeypatch):
    png(tmp_path / "a.png")
    put(tmp_path, "a.json", result(figures=[{"file": "a.png", "caption": "c"}], configuration={"b": 1, "a": 2}))
    put(tmp_path, "b.json", result())
    pages = []
    for year in (2024, 2031):

        class Clock(report.datetime):
            @classmethod
            def now(cls, zone=None, year=year):
                return cls(year, 5, 6, 7, 8, 9, tzinfo=zone)

        monkeypatch.setattr(report, "datetime", Clock)
        pages.append(report.write(tmp_path)[0].read_text(encoding="utf-8").splitlines())
    changed = [(a, b) for a, b in zip(*pages, strict=True) if a != b]
    assert len(changed) == 1
    assert "2024-05-06 07:08 UTC" in changed[0][0] and "2031-05-06 07:08 UTC" in changed[0][1]
    assert f"tf-lrp report</code>, tf_lrp {tf_lrp.__version__}" in changed[0][0]


def test_halves_of_characters_are_replaced(tmp_path):
    put(tmp_path, "a.json", '{"kind": "sanity", "title": "half \\ud800"}')
    page, _ = page_of(tmp_path)
    assert page.texts["h3"] == ["half ?"]


# -- writing ----------------------------------------------------------------------------------------------------------------


def test_a_failed_write_leaves_the_earlier_report(tmp_path, monkeypatch):
    put(tmp_path, "a.json", result())
    path, _ = report.write(tmp_path)
    before = path.read_bytes()
    put(tmp_path, "b.json", result(title="second"))

    def fails(*_):
        raise OSError("no space")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", fails)
        with pytest.raises(OSError, match="no space"):
            report.write(tmp_path)
    assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.json", "b.json", "report.html"]
    report.write(tmp_path)
    assert b"second" in path.read_bytes()


def test_other_files_are_not_overwritten(tmp_path):
    put(tmp_path, "results/a.json", result())
    mine = put(tmp_path, "mine.html", "<p>mine</p>")
    with pytest.raises(FileExistsError, match=r"no earlier report.*--force"):
        report.write(tmp_path / "results", mine)
    assert mine.read_text() == "<p>mine</p>"
    report.write(tmp_path / "results", mine, force=True)
    assert "Where relevance lands" in mine.read_text(encoding="utf-8")
    report.write(tmp_path / "results", mine)
    with pytest.raises(IsADirectoryError, match=r"report\.html"):
        report.write(tmp_path / "results", tmp_path, force=True)
    deep, _ = report.write(tmp_path / "results", tmp_path / "new" / "deep" / "r.html")
    assert deep.exists()


def test_errors_teach(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        report.write(tmp_path / "gone")
    with pytest.raises(NotADirectoryError, match="is a file"):
        report.collect(put(tmp_path, "x/file.json", result()))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"holds no results.*localization.*Run an evaluation command"):
        report.write(tmp_path / "empty")
    put(tmp_path, "empty/a.json", {"kind": "localization"})
    with pytest.raises(ValueError, match=r"a\.json: not of the form: 'title'"):
        report.write(tmp_path / "empty")
    assert not (tmp_path / "empty" / "report.html").exists()


def test_the_command(tmp_path):
    invoke = CliRunner().invoke
    put(tmp_path, "a.json", result())
    done = invoke(cli.app, ["report", str(tmp_path)])
    assert done.exit_code == 0
    assert done.stdout == f"wrote {tmp_path / 'report.html'}: 1 result\n"
    assert done.stderr == ""

    put(tmp_path, "b.json", result(figures=[{"file": "gone.png", "caption": ""}, {"file": "too.png", "caption": ""}]))
    put(tmp_path, "c.json", "{")
    done = invoke(cli.app, ["report", str(tmp_path), "--out", str(tmp_path / "r.html")])
    assert done.exit_code == 1
    assert "2 results" in done.stdout
    assert "2 pictures missing, 1 file not understood" in done.stderr
    assert (tmp_path / "r.html").exists()

    put(tmp_path, "mine.html", "mine")
    arguments = ["report", str(tmp_path), "-o", str(tmp_path / "mine.html")]
    done = invoke(cli.app, arguments)
    assert done.exit_code == 2
    assert "--force" in done.stderr and len(done.stderr.splitlines()) == 1
    assert invoke(cli.app, [*arguments, "--force"]).exit_code == 1
    assert invoke(cli.app, ["report", str(tmp_path / "gone")]).exit_code == 2

"""The report of the evaluations and their figures: everything that was found is there, escaped, and nothing else."""

import itertools
import json
import math
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text
from PIL import Image
from typer.testing import CliRunner

import tf_lrp.cli.report
from tf_lrp import cli
from tf_lrp.evaluation import figures, report

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


# -- numbers ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (3, None, "3"),
        (-12345678, None, "-12345678"),
        (0.0, None, "0.000"),
        (0.42345, None, "0.423"),
        (-12.3456, None, "-12.346"),
        (0.0123, None, "0.012"),
        (0.00123456, None, "0.00123"),
        (1.23456e-5, None, "1.23e-05"),
        (1234567.8, None, "1.23e+06"),
        (float("nan"), None, "nan"),
        (float("-inf"), None, "-inf"),
        (0.42345, 0.0123, "0.423 ± 0.012"),
        (0.42345, 0.000456, "0.4234 ± 0.0005"),
        (0.42345, 0.0, "0.423 ± 0.000"),
        (5, 0.2, "5.0 ± 0.2"),
        (5, float("nan"), "5 ± nan"),
    ],
)
def test_numbers_by_hand(value, error, text):
    assert report.number(value, error) == text


@given(st.floats(-1e300, 1e300) | st.floats(-20, 20) | st.floats(-0.02, 0.02))
def test_numbers_keep_their_value(value):
    is_fixed = value == 0 or 0.01 <= abs(value) < 1e6
    tolerance = {"abs_tol": 5.01e-4, "rel_tol": 0} if is_fixed else {"rel_tol": 5.01e-3}
    assert math.isclose(float(report.number(value)), value, **tolerance)


@given(st.floats(-10, 10), st.floats(2e-6, 10))
def test_an_error_that_is_not_0_never_reads_0(value, error):
    shown = report.number(value, error).split(" ± ")
    assert float(shown[1]) > 0
    assert math.isclose(float(shown[1]), error, rel_tol=0.5)


# -- figures ----------------------------------------------------------------------------------------------------------------

CENTRES = (np.arange(20) + 0.5) / 20


def lines_of(figure):
    (axes,) = figure.axes
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}


def labels_of(figure):
    """Names beside the axes from top to bottom: the legend's, or those at the curves' ends."""
    if figure.legends:
        return [text.get_text() for text in figure.legends[0].get_texts()]
    (axes,) = figure.axes
    return [text.get_text() for text in sorted(axes.texts, key=lambda text: -text.xyann[1])]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 45), st.randoms(use_true_random=False))
def test_curves_by_size_draw_what_is_given(count, random):
    rng = np.random.default_rng(random.randrange(2**32))
    curves = {f"method_{n}": (CENTRES, np.where(rng.random(20) < 0.3, np.nan, rng.random(20))) for n in range(count)}
    figure = figures.draw_curve_by_size(curves, title="T", ylabel="Y")
    lines = lines_of(figure)
    assert set(lines) == {*curves, figures.UNIFORM}
    for name, (x, y) in curves.items():
        kept = [(a, b) for a, b in zip(x, y, strict=True) if b == b]
        assert [tuple(point) for point in lines[name].get_xydata()] == kept
    assert len({(line.get_color(), str(line._unscaled_dash_pattern)) for line in lines.values()}) == min(count, 42) + 1
    (axes,) = figure.axes
    assert (axes.get_xlim(), axes.get_title(loc="left"), axes.get_ylabel()) == ((0, 1), "T", "Y")
    if count > figures.DIRECT:
        means = {name: np.nanmean(y) for name, (_, y) in curves.items()}
        assert labels_of(figure) == [*sorted(means, key=lambda name: -means[name]), figures.UNIFORM]
    else:
        assert sorted(labels_of(figure)) == sorted([*curves, figures.UNIFORM])


def test_baseline_and_thresholds():
    curves = {"a": (CENTRES, CENTRES**2)}
    (axes,) = figures.draw_curve_by_size(curves).axes
    verticals = [
        line.get_xdata()[0] for line in axes.get_lines() if list(line.get_ydata()) == [0, 1] and len(set(line.get_xdata())) == 1
    ]
    assert verticals == [0.25, 0.5]
    assert lines_of(axes.figure)[figures.UNIFORM].get_xydata().tolist() == [[0, 0], [1, 1]]
    assert set(lines_of(figures.draw_curve_by_size(curves, baseline=False))) == {"a"}


def test_styles_follow_the_order_given_not_the_values():
    rising, falling = CENTRES, 0.2 * CENTRES
    first = lines_of(figures.draw_curve_by_size({"a": (CENTRES, rising), "b": (CENTRES, falling)}))
    second = lines_of(figures.draw_curve_by_size({"a": (CENTRES, falling), "b": (CENTRES, rising)}))
    assert [first[name].get_color() for name in "ab"] == [second[name].get_color() for name in "ab"]
    assert first["a"].get_color() != first["b"].get_color()


def bands_of(figure):
    """Band's name -> (x, lower edge, upper edge), from its outline."""
    (axes,) = figure.axes
    found = {}
    for band in axes.collections:
        points = band.get_paths()[0].vertices
        xs = sorted(set(points[:, 0]))
        edges = [points[points[:, 0] == x, 1] for x in xs]
        found[band.get_label()] = (xs, [e.min() for e in edges], [e.max() for e in edges])
    return found


@pytest.mark.parametrize("draw", [figures.draw_context, figures.draw_perturbation])
def test_bands_are_what_is_given(draw):
    rng = np.random.default_rng(0)
    x = np.linspace(0, 1, 6)
    curves = {name: (x, rng.normal(size=6), rng.random(6)) for name in ("object", "context")}
    curves["object"][1][2] = np.nan  # passed over
    curves["context"][2][3] = np.nan  # no width
    figure = draw(curves)
    lines, bands = lines_of(figure), bands_of(figure)
    for name, (_, means, widths) in curves.items():
        kept = ~np.isnan(means)
        np.testing.assert_array_equal(lines[name].get_xydata(), np.stack([x, means], 1)[kept])
        half = np.nan_to_num(widths)
        xs, low, high = bands[name]
        np.testing.assert_allclose(xs, x[kept])
        np.testing.assert_allclose(low, (means - half)[kept])
        np.testing.assert_allclose(high, (means + half)[kept])


def test_bars_by_hand():
    names, values = ["low", "none", "high", "$x$ <"], [-0.5, np.nan, 2.0, 0.25]
    figure = figures.draw_bars(names, values, [0.1, np.nan, np.nan, 0.02], title="T", xlabel="X")
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["high", "$x$ <", "low", "none"]
    assert [bar.get_width() for bar in axes.patches][:3] == [2.0, 0.25, -0.5]
    assert [text.get_text() for text in axes.texts] == ["2.000", "0.250 ± 0.020", "-0.500 ± 0.100", "no value"]
    low, high = axes.get_ylim()
    assert low > high  # the first bar is on top
    assert [text.get_text() for text in figures.draw_bars(["a"], [1.0]).axes[0].texts] == ["1.000"]


def test_labels_at_the_ends_do_not_meet():
    curves = {f"m{n}": (CENTRES, 0.5 + 0.001 * n + 0 * CENTRES) for n in range(figures.DIRECT)}
    figure = figures.draw_curve_by_size(curves)
    figure.draw_without_rendering()
    boxes = sorted((Text.get_window_extent(text) for text in figure.axes[0].texts), key=lambda box: box.y0)
    assert all(below.y1 <= above.y0 + 1 for below, above in itertools.pairwise(boxes))
    assert labels_of(figure)[1:] == [f"m{n}" for n in reversed(range(figures.DIRECT))]


@pytest.mark.parametrize("name", ["m{}", "a rather long name of a method, with parameters={}"])
@pytest.mark.parametrize("count", [7, 24, 40])
def test_legends_fit(name, count):
    curves = {name.format(n): (CENTRES, CENTRES * n) for n in range(count)}
    figure = figures.draw_curve_by_size(curves)
    figure.draw_without_rendering()
    box, axes = figure.legends[0].get_window_extent(), figure.axes[0].get_window_extent()
    assert box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.x0 >= axes.x1
    assert axes.width >= 0.35 * figure.bbox.width


def test_degenerate_curves():
    nothing, one = (CENTRES, np.full(20, np.nan)), (CENTRES, np.where(np.arange(20) == 7, 0.4, np.nan))
    figure = figures.draw_curve_by_size({"nothing": nothing, "one": one})
    assert lines_of(figure)["one"].get_marker() == "o"
    assert "nothing (no values)" in labels_of(figure)
    many = {f"m{n}": (CENTRES, CENTRES) for n in range(8)} | {"nothing": nothing}
    assert labels_of(figures.draw_curve_by_size(many))[-2:] == ["nothing (no values)", figures.UNIFORM]


def test_errors_of_figures():
    with pytest.raises(ValueError, match="at least one curve"):
        figures.draw_perturbation({})
    with pytest.raises(ValueError, match=r"'a' needs \(centres, means\).*\(2,\), \(3,\)"):
        figures.draw_curve_by_size({"a": ([0, 1], [0, 1, 2])})
    with pytest.raises(ValueError, match=r"'a' needs \(fractions, means, errors\)"):
        figures.draw_perturbation({"a": ([0, 1], [0, 1])})
    with pytest.raises(ValueError, match="called 'uniform relevance'"):
        figures.draw_curve_by_size({figures.UNIFORM: ([0, 1], [0, 1])})
    with pytest.raises(ValueError, match="got 2 names"):
        figures.draw_bars(["a", "b"], [1.0])


def test_figures_are_written_without_pyplots_state(tmp_path):
    import matplotlib
    from matplotlib import pyplot

    settings_before = dict(matplotlib.rcParams)
    x = np.linspace(0, 1, 5)
    curve = {"$odd_{name": (x, x, x)}
    calls = {
        "curve": lambda path: figures.curve_by_size(path, {"a $x": (x, x)}, title="a $title"),
        "context": lambda path: figures.context(path, curve, "t"),
        "perturbation": lambda path: figures.perturbation(str(path), curve, "t", "x"),
        "bars": lambda path: figures.bars(path, ["$a_{", "b"], [1, 2], [0.1, 0.2], "t", "x"),
    }
    for name, call in calls.items():
        path = tmp_path / f"{name}.png"
        assert Path(call(path)) == path
        with Image.open(path) as image:
            assert image.format == "PNG" and image.width >= 1000
            assert len(image.convert("RGB").getcolors(1 << 20)) > 20  # more than an empty sheet
    assert pyplot.get_fignums() == []
    assert dict(matplotlib.rcParams) == settings_before

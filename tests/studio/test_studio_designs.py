"""Designs: saved, changed, deleted and restored; nothing that a person made is lost."""

import json

import pytest
from askable import asked, segments

import tf_lrp
from tf_lrp import presets, select
from tf_lrp.rules import Epsilon, Flat, Gamma
from tf_lrp.studio import schemas
from tf_lrp.studio.designs import Designs
from tf_lrp.studio.problems import ProblemError

POOLING = (select.kind("max_pooling"), tf_lrp.rules.WinnerTakesAll("share"))
PRESET = tf_lrp.Preset([(select.first(1), Flat()), POOLING, (select.all(), Epsilon(0.1))])
THREE = segments((1, {"class": "Gamma", "gamma": 0.5}), (4, {"class": "Epsilon", "epsilon": 0.1}), (5, {"class": "ZRule"}))


def test_my_new_model_is_always_there_and_begins_as_lrp_0(client):
    first = client.get("/api/designs").json()["designs"][0]
    assert (first["id"], first["name"], first["origin"]) == ("new", "My new model", "new")
    (segment,) = client.get("/api/designs/new").json()["segments"]
    assert (segment["first"], segment["last"], segment["rule"]["class"]) == (0, 5, "ZRule")
    assert client.delete("/api/designs/new").status_code == 403


def test_a_change_is_saved_and_an_outdated_one_is_refused_with_what_is_stored(designed):
    made = designed.post("/api/designs", json={"name": "mine", "segments": THREE}).json()
    place = f"/api/designs/{made['id']}"
    assert made["revision"] == 1 and made["exact"] and [s["last"] for s in made["segments"]] == [1, 4, 5]
    changed = designed.put(place, json={"revision": 1, "named": "epsilon"}).json()
    assert changed["revision"] == 2 and changed["name"] == "mine" == changed["preset"]["name"]
    late = designed.put(place, json={"revision": 1, "name": "other"})
    assert late.status_code == 409 and late.json()["design"] == changed and "another tab" in late.json()["detail"]
    assert designed.get(place).json() == changed
    renamed = designed.put(place, json={"revision": 2, "name": "renamed"}).json()
    assert renamed["name"] == renamed["preset"]["name"] == "renamed" and renamed["segments"] == changed["segments"]


def test_a_deleted_design_comes_back_as_it_was(designed):
    made = designed.post("/api/designs", json={"name": "mine", "segments": THREE}).json()
    place = f"/api/designs/{made['id']}"
    assert designed.delete(place).status_code == 204
    assert designed.get(place).status_code == designed.delete(place).status_code == 404
    assert made["id"] not in [d["id"] for d in designed.get("/api/designs").json()["designs"]]
    assert designed.post(f"{place}/restore").json() == made == designed.get(place).json()
    assert designed.post(f"{place}/restore").status_code == 404


def test_copies_are_ones_own_and_examples_stay(designed):
    copied = designed.post("/api/designs/configuration-4/duplicate").json()
    example = designed.get("/api/designs/configuration-4").json()
    assert copied["origin"] == "own" and copied["name"] == f"{example['name']} (copy)"
    assert copied["preset"]["rules"] == example["preset"]["rules"] and copied["segments"] == example["segments"]
    assert designed.put("/api/designs/configuration-4", json={"revision": 0, "named": "z"}).status_code == 403
    assert designed.delete("/api/designs/configuration-4").status_code == 403
    long = designed.post("/api/designs", json={"name": "n" * 200, "named": "z"}).json()
    assert len(designed.post(f"/api/designs/{long['id']}/duplicate").json()["name"]) == 200


def test_export_is_a_presets_json_and_import_reads_it(designed):
    made = designed.post("/api/designs/import", json=json.loads(PRESET.to_json()), params={"name": 'Ü "x"/y'}).json()
    exported = designed.get(f"/api/designs/{made['id']}/preset.json")
    assert exported.headers["content-disposition"] == 'attachment; filename="x-y.json"'
    again = tf_lrp.Preset.from_json(exported.text)
    assert again.rules == PRESET.rules and again.name == 'Ü "x"/y' and exported.text == again.to_json()
    assert designed.post("/api/designs/import", json={"rules": 1}).status_code == 400
    assert designed.post("/api/designs/import", json=json.loads(PRESET.to_json())).json()["name"] == "custom"


@pytest.mark.parametrize("source", [{"named": name} for name in presets.names()] + [{"preset": json.loads(PRESET.to_json())}])
def test_the_segments_of_a_preset_explain_as_it_does(client, source):
    """Segments and entries for other layers choose the rule that the preset chooses, for every layer."""
    shown = client.post("/api/segments", json=source).json()
    assert shown["problem"] is None, shown
    ruler, before = client.studio.designs.ruler, client.studio.designs.preset(schemas.PresetSource(**source))
    after = ruler.preset([schemas.Segment(**s) for s in shown["segments"]], shown["others"], "again")
    for facts in [*ruler.weighted, *ruler.others]:
        assert after.choose(facts).rule == before.choose(facts).rule, facts.name
    assert ruler.segments(after)[2]


def test_the_examples_of_the_guide_are_those_of_its_figures_on_vgg16():
    """Layers 1 to 10 of its ruler are the first four convolutions, layers 1 to 30 all thirteen; three dense layers follow."""
    from tf_lrp.studio.examples import examples

    found = {example.identifier: example.preset for example in examples()}

    class Facts:
        num_weighted, kinds = 16, frozenset({"weights"})

        def __init__(self, index):
            self.index = index

    def classes(identifier):
        return [type(found[identifier].choose(Facts(k)).rule).__name__ for k in range(16)]

    assert classes("configuration-1") == ["Gamma"] * 4 + ["ZRule"] * 12
    assert classes("configuration-2") == ["Gamma"] * 13 + ["ZRule"] * 3
    assert classes("configuration-3") == ["ZRule"] * 7 + ["Epsilon"] * 6 + ["Gamma"] * 3
    assert classes("configuration-4") == ["Gamma"] * 7 + ["Epsilon"] * 6 + ["ZRule"] * 3
    assert classes("configuration-5") == ["Gamma"] * 4 + ["Unified"] * 3 + ["Epsilon"] * 6 + ["ZRule"] * 3
    assert found["model-5"].rules[0][1] == tf_lrp.rules.AlphaBeta(3, 2) and found["model-2"].rules[0][1] == Gamma(0.3)
    assert found["paper-cmp-a2-flat"] == presets.preset("cmp_a2_flat")


# -- files ------------------------------------------------------------------------------------------------------------------


def test_designs_outlive_the_server_also_before_the_model_is_loaded(tmp_path):
    first = Designs(tmp_path)
    made = first.create(schemas.NewDesign(name="mine", named="gamma:gamma=0.7"))
    first.change("new", schemas.DesignChange(revision=0, named="flat"))
    second = Designs(tmp_path)
    assert second.get(made.id) == made and made.segments is None
    assert second.get("new").revision == 1 and second.get("new").preset["rules"][0]["rule"]["class"] == "Flat"


def test_two_servers_on_one_folder_do_not_overwrite_each_other(tmp_path):
    one, other = Designs(tmp_path), Designs(tmp_path)
    made = one.create(schemas.NewDesign(name="mine", named="z"))
    other.change(made.id, schemas.DesignChange(revision=1, named="flat"))
    with pytest.raises(ProblemError) as refused:
        one.change(made.id, schemas.DesignChange(revision=1, named="w2"))
    assert refused.value.status == 409 and refused.value.more["design"]["preset"]["rules"][0]["rule"]["class"] == "Flat"


def test_a_write_that_fails_leaves_the_design_as_it_was(tmp_path, monkeypatch):
    from tf_lrp.runs import atomic_files

    designs = Designs(tmp_path)
    made = designs.create(schemas.NewDesign(name="mine", named="z"))

    def fails(temporary, final):
        raise OSError("the disk is full")

    monkeypatch.setattr(atomic_files, "commit", fails)
    with pytest.raises(OSError, match="full"):
        designs.change(made.id, schemas.DesignChange(revision=1, named="flat"))
    assert Designs(tmp_path).get(made.id) == made
    assert [p.name for p in tmp_path.glob("*.partial")] == []


def test_a_design_that_does_not_fit_the_model_says_why(designed):
    only_first = tf_lrp.Preset([(select.first(1), Flat())])
    made = designed.post("/api/designs/import", json=json.loads(only_first.to_json())).json()
    assert made["segments"] is None and "no rule for the layer" in made["problem"]


def test_segments_need_the_model_and_say_so(tmp_path):
    with pytest.raises(ProblemError, match="still loading"):
        Designs(tmp_path).create(schemas.NewDesign(name="mine", segments=[schemas.Segment(**s) for s in THREE]))


def test_a_model_that_cannot_be_opened_is_reported(tmp_path):
    with asked("shapse", tmp_path) as client:
        answer = client.get("/api/model/layers")
        assert answer.status_code == 503 and "shapse" in answer.json()["detail"]
        session = client.get("/api/session").json()
        assert session["state"] == "failed" and "'shapse'" in session["error"] and session["model"] is None
        assert client.get("/api/designs").status_code == client.get("/api/rules").status_code == 200
        assert client.post("/api/segments", json={"named": "z"}).status_code == 503

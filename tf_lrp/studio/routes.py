"""The routes under /api. What they do is in `tf_lrp.studio.studio`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Response, UploadFile

from tf_lrp.studio import schemas
from tf_lrp.studio.studio import Studio

_Identifier = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
_Offset = Annotated[int, Query(ge=0, le=10_000_000)]
_Problem: dict[str, Any] = {"model": schemas.Problem}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {**_Problem, "description": "The request does not fit the model"},
    401: {**_Problem, "description": "Without the token of the printed link"},
    403: {**_Problem, "description": "From a foreign page"},
    404: {**_Problem, "description": "There is no such thing"},
    413: {**_Problem, "description": "Too large"},
    422: {**_Problem, "description": "The request is not valid"},
    429: {**_Problem, "description": "Too many requests are waiting"},
}
_CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": schemas.DesignConflict, "description": "The design was changed elsewhere"}
}
_PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}, "description": "PNG"}}


def router(studio: Studio) -> APIRouter:
    """All routes of a studio."""
    routes = APIRouter(prefix="/api", responses=_PROBLEMS)
    _add_model(routes, studio)
    _add_pictures(routes, studio)
    _add_designs(routes, studio)
    _add_work(routes, studio)
    return routes


def _add_model(routes, studio):
    @routes.get("/session", operation_id="session", tags=["model"])
    def session() -> schemas.Session:
        """What is explained, and how far its loading is. Answers at once, also while the model is loading."""
        return studio.session()

    @routes.get("/model/layers", operation_id="layers", tags=["model"])
    async def layers() -> schemas.Layers:
        """The layers, for the ruler."""
        return await studio.layers()

    @routes.get("/classes", operation_id="classes", tags=["model"])
    async def classes(
        query: Annotated[str, Query(max_length=200)] = "",
        offset: _Offset = 0,
        limit: Annotated[int, Query(ge=1, le=100_000)] = 1000,
    ) -> schemas.ClassNames:
        """The classes whose name or index contains a text, in the order of their indices."""
        return await studio.classes(query, offset, limit)

    @routes.get("/rules", operation_id="rules", tags=["model"])
    def rules() -> schemas.Rules:
        """All rules of the library, and the templates. Answers at once, also while the model is loading."""
        return studio.rules()


def _add_pictures(routes, studio):
    @routes.get("/pictures", operation_id="pictures", tags=["pictures"])
    async def pictures(offset: _Offset = 0, limit: Annotated[int, Query(ge=1, le=1000)] = 200) -> schemas.Pictures:
        """Uploads, the newest first, then samples, then the folder's."""
        return await studio.list_pictures(offset, limit)

    @routes.post("/pictures", operation_id="uploadPicture", tags=["pictures"], status_code=201)
    async def upload(file: UploadFile) -> schemas.Picture:
        """Adds a picture from a file in any format that Pillow reads."""
        return await studio.upload(file.filename or "picture", await file.read())

    @routes.post("/samples", operation_id="addSample", tags=["pictures"], status_code=201)
    async def add_sample(sample: schemas.NewSample) -> schemas.Picture:
        """Adds a signal or a text."""
        return await studio.add_sample(sample)

    @routes.get(
        "/pictures/{identifier}/image", operation_id="image", tags=["pictures"], response_class=Response, responses=_PNG
    )
    async def image(identifier: _Identifier) -> Response:
        """The picture as the network sees it, in its size. Signals and texts have none."""
        return Response(await studio.image(identifier), media_type="image/png")

    @routes.get("/pictures/{identifier}/values", operation_id="values", tags=["pictures"])
    async def values(identifier: _Identifier) -> schemas.Values:
        """The values of a signal or a text."""
        return await studio.values(identifier)

    @routes.get("/pictures/{identifier}/predictions", operation_id="predictions", tags=["pictures"])
    async def predictions(
        identifier: _Identifier,
        top: Annotated[int, Query(ge=0, le=100_000, description="number of classes, the strongest")] = 10,
        classes: Annotated[list[int], Query(max_length=1000, description="further classes")] = [],  # noqa: B006
    ) -> schemas.Predictions:
        """Scores and probabilities."""
        return await studio.predictions(identifier, top, classes)

    @routes.delete("/pictures/{identifier}", operation_id="deletePicture", tags=["pictures"], status_code=204)
    def delete(identifier: _Identifier) -> None:
        """Takes an uploaded picture out of the gallery. It is kept, and can be restored."""
        studio.pictures.delete(identifier)

    @routes.post("/pictures/{identifier}/restore", operation_id="restorePicture", tags=["pictures"])
    def restore(identifier: _Identifier) -> schemas.Picture:
        """Brings a deleted picture back."""
        return studio.pictures.restore(identifier)


def _add_designs(routes, studio):
    @routes.get("/designs", operation_id="designs", tags=["designs"])
    def designs() -> schemas.Designs:
        """My new model, one's own from the newest on, and the examples. Answers at once, also while the model is loading."""
        return schemas.Designs(designs=studio.designs.all())

    @routes.post("/designs", operation_id="createDesign", tags=["designs"], status_code=201)
    def create(design: schemas.NewDesign) -> schemas.Design:
        """Saves a new design."""
        return studio.designs.create(design)

    @routes.post("/designs/import", operation_id="importDesign", tags=["designs"], status_code=201)
    def import_design(
        preset: Annotated[dict[str, Any], Body(description="what Preset.to_json writes")],
        name: Annotated[schemas.Name | None, Query(description="by default that of the preset")] = None,
    ) -> schemas.Design:
        """Saves a preset's JSON as a new design."""
        return studio.designs.import_preset(preset, name)

    @routes.get("/designs/{identifier}", operation_id="design", tags=["designs"])
    def design(identifier: _Identifier) -> schemas.Design:
        """One design."""
        return studio.designs.get(identifier)

    @routes.put("/designs/{identifier}", operation_id="changeDesign", tags=["designs"], responses=_CONFLICT)
    def change(identifier: _Identifier, change: schemas.DesignChange) -> schemas.Design:
        """Changes a design. With a revision that is not the stored one nothing is changed: 409, and the stored design."""
        return studio.designs.change(identifier, change)

    @routes.delete("/designs/{identifier}", operation_id="deleteDesign", tags=["designs"], status_code=204)
    def delete(identifier: _Identifier) -> None:
        """Deletes a design. It is kept, and can be restored."""
        studio.designs.delete(identifier)

    @routes.post("/designs/{identifier}/restore", operation_id="restoreDesign", tags=["designs"])
    def restore(identifier: _Identifier) -> schemas.Design:
        """Brings a deleted design back."""
        return studio.designs.restore(identifier)

    @routes.post("/designs/{identifier}/duplicate", operation_id="duplicateDesign", tags=["designs"], status_code=201)
    def duplicate(
        identifier: _Identifier,
        name: Annotated[schemas.Name | None, Query(description='by default "... (copy)"')] = None,
    ) -> schemas.Design:
        """Saves a copy of a design or an example."""
        return studio.designs.duplicate(identifier, name)

    @routes.get(
        "/designs/{identifier}/preset.json",
        operation_id="exportDesign",
        tags=["designs"],
        response_class=Response,
        responses={200: {"content": {"application/json": {}}, "description": "what Preset.from_json reads"}},
    )
    def export(identifier: _Identifier) -> Response:
        """A design as the file that Preset.from_json and --preset FILE.json read."""
        headers = {"Content-Disposition": f'attachment; filename="{studio.designs.file_name(identifier)}"'}
        return Response(studio.designs.export(identifier), media_type="application/json", headers=headers)

    @routes.post("/segments", operation_id="segments", tags=["designs"])
    async def segments(source: schemas.PresetSource) -> schemas.Design:
        """A preset as segments of this model, without saving it."""
        return await studio.as_segments(source)


def _add_work(routes, studio):
    @routes.post("/explain", operation_id="explain", tags=["work"])
    async def explain(request: schemas.ExplainRequest) -> schemas.Explanation:
        """Relevance of the input and of layers."""
        return await studio.explain(request)

    @routes.post("/flip", operation_id="flip", tags=["work"])
    async def flip(request: schemas.FlipRequest) -> schemas.Flipped:
        """Predictions after pixels were replaced."""
        return await studio.flip(request)

    @routes.post("/flip/curve", operation_id="flipCurve", tags=["work"])
    async def curve(request: schemas.CurveRequest) -> schemas.Curves:
        """The score while more and more pixels are replaced: by relevance, and at random."""
        return await studio.curve(request)

    @routes.post("/neurons", operation_id="neurons", tags=["work"])
    async def neurons(request: schemas.NeuronsRequest) -> schemas.Neurons:
        """Relevance and activation of each channel of a layer."""
        return await studio.neurons(request)

    @routes.post("/neurons/maps", operation_id="neuronMaps", tags=["work"])
    async def neuron_maps(request: schemas.NeuronMapsRequest) -> schemas.NeuronMaps:
        """Heatmaps of chosen channels."""
        return await studio.neuron_maps(request)

    @routes.post("/ablate", operation_id="ablate", tags=["work"])
    async def ablate(request: schemas.AblateRequest) -> schemas.Changed:
        """Predictions with channels of a layer set to 0."""
        return await studio.ablate(request)

    @routes.post("/conservation", operation_id="conservation", tags=["work"])
    async def conservation(request: schemas.Explained) -> schemas.Conservation:
        """Where the relevance went, layer by layer."""
        return await studio.conservation(request)

    @routes.post("/evaluate", operation_id="evaluate", tags=["work"])
    async def evaluate(request: schemas.EvaluateRequest) -> schemas.Numbers:
        """How well a heatmap lies on the pixels of its class, and how concentrated it is."""
        return await studio.evaluate(request)

    @routes.post("/code", operation_id="code", tags=["work"])
    async def code(request: schemas.CodeRequest) -> schemas.Code:
        """The Python code and the command that reproduce a view."""
        return await studio.code(request)

"""What the routes ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool

from tf_lrp import __version__, presets
from tf_lrp.studio import code, rule_catalog, schemas
from tf_lrp.studio.designs import Designs
from tf_lrp.studio.pictures import MOST_PIXELS, Pictures, png
from tf_lrp.studio.problems import ProblemError
from tf_lrp.studio.safety import UPLOAD_BYTES
from tf_lrp.studio.worker import StaleError, Worker


@dataclass(frozen=True)
class Settings:
    """What the command line was given.

    Attributes:
        model, weights, classes, preprocess, size: as for `tf_lrp.vision.classifier.load`.
        state: folder of what people make.
        data: folder of pictures, or None.
    """

    model: str
    state: Path
    weights: str | None = None
    classes: Path | None = None
    preprocess: str | None = None
    size: int | None = None
    data: Path | None = None


class Studio:
    """One model, and what people make with it.

    The model is loaded by the worker's thread while the page is served already.

    Args:
        settings: `Settings`.

    Attributes:
        designs: `Designs`.
        pictures: `Pictures`.
        loaded: set once the model is loaded, or could not be.
        on_failure: is called with a sentence where the model could not be loaded.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self.designs = Designs(settings.state / "designs")
        self.pictures = Pictures(settings.state / "pictures", settings.data)
        self.loaded = asyncio.Event()
        self.on_failure: Callable[[str], Any] = lambda message: None
        self._start = time.monotonic()
        self._worker = Worker()
        self._stage, self._error = "The server has started.", None
        self._model: schemas.Model | None = None
        self._ruler: Any = None
        self._explaining: Any = None
        self._changes: Any = None

    async def open(self) -> None:
        """Begins to load the model."""
        self._loading = asyncio.ensure_future(self._load())

    def close(self) -> None:
        """Ends the worker's thread."""
        self._worker.close()

    @property
    def network(self) -> Any:
        """The `tf_lrp.studio.network.Network`, once it is loaded."""
        return self._explaining.network

    # -- the model --------------------------------------------------------------------------------------------------------

    async def _load(self):
        try:
            await self._worker.run(self._open_network)
            self._stage = "The model is ready."
        except Exception as error:
            self._error = str(error) or type(error).__name__
            self._stage = "The model could not be opened."
            self.on_failure(self._error)
        self.loaded.set()

    def _open_network(self, _):
        self._stage = "TensorFlow is being loaded."
        from tf_lrp.cli.terminal import import_tensorflow

        import_tensorflow()
        from tf_lrp.studio import changes, explaining, network
        from tf_lrp.studio.layers import Ruler

        self._stage = f"The model {self.settings.model} is being opened."
        opened = network.open_network(self.settings)
        self._explaining = explaining.Explaining(opened, self.pictures)
        self._changes = changes.Changes(self._explaining)
        self._ruler = self.designs.ruler = Ruler(opened.analyzer.rewritten)
        self.pictures.network = opened
        self._model = opened.description()

    async def _ready(self):
        await self.loaded.wait()
        if self._error is not None:
            raise ProblemError(503, f"The model could not be opened: {self._error}")

    def session(self) -> schemas.Session:
        """What is explained, and how far its loading is."""
        named = [(name, *presets.describe(name)) for name in presets.names()]
        return schemas.Session(
            state="failed" if self._error is not None else "ready" if self.loaded.is_set() else "loading",
            stage=self._stage,
            error=self._error,
            seconds=time.monotonic() - self._start,
            model=self._model if self.loaded.is_set() else None,
            source=self.settings.model,
            presets=[schemas.NamedPreset(name=n, description=d, parameters=p) for n, p, d in named],
            version=__version__,
            limits=schemas.Limits(
                upload_bytes=UPLOAD_BYTES,
                upload_pixels=MOST_PIXELS,
                name_length=schemas.LONGEST_NAME,
                layers=schemas.MOST_LAYERS,
                neurons=schemas.MOST_NEURONS,
            ),
        )

    async def layers(self) -> schemas.Layers:
        """The layers, for the ruler."""
        await self._ready()
        return self._ruler.layers()

    async def classes(self, query: str, offset: int, limit: int) -> schemas.ClassNames:
        """The classes whose name contains a text, or whose index begins with it."""
        await self._ready()
        wanted, names = query.casefold(), self._explaining.network.classes.names
        found = [k for k, name in enumerate(names) if wanted in name.casefold() or str(k).startswith(wanted)]
        shown = [schemas.ClassName(index=k, name=names[k]) for k in found[offset : offset + limit]]
        return schemas.ClassNames(classes=shown, total=len(found))

    def rules(self) -> schemas.Rules:
        """All rules, and the templates."""
        return rule_catalog.catalog()

    async def as_segments(self, source: schemas.PresetSource) -> schemas.Design:
        """A preset as segments, without saving it."""
        await self._ready()
        return await run_in_threadpool(self.designs.unsaved, source)

    # -- pictures ---------------------------------------------------------------------------------------------------------

    async def list_pictures(self, offset: int, limit: int) -> schemas.Pictures:
        """A part of the gallery."""
        await self._ready()
        found = await run_in_threadpool(self.pictures.all)
        return schemas.Pictures(pictures=found[offset : offset + limit], total=len(found))

    async def upload(self, name: str, content: bytes) -> schemas.Picture:
        """Keeps a picture."""
        await self._ready()
        return await run_in_threadpool(self.pictures.upload, name, content)

    async def add_sample(self, sample: schemas.NewSample) -> schemas.Picture:
        """Keeps a signal or a text."""
        await self._ready()
        return await run_in_threadpool(self.pictures.add, sample)

    async def image(self, identifier: str) -> bytes:
        """The picture as the network sees it, a PNG file."""
        await self._ready()

        def drawn():
            if self.pictures.get(identifier).kind != "picture":
                raise ProblemError(400, "Signals and texts have no picture; ask for their values.")
            return png(self._explaining.network.as_picture(self.pictures.x(identifier)[0]))

        return await run_in_threadpool(drawn)

    async def values(self, identifier: str) -> schemas.Values:
        """The values of a signal or a text."""
        await self._ready()

        def read():
            if self.pictures.get(identifier).kind == "picture":
                raise ProblemError(400, "This is a picture; ask for its image.")
            values = self.pictures.x(identifier)[0]
            words = [str(v) for v in values] if self._explaining.network.kind == "tokens" else None
            return schemas.Values(shape=list(values.shape), values=values.tolist(), words=words)

        return await run_in_threadpool(read)

    async def predictions(self, identifier: str, top: int, classes: list[int]) -> schemas.Predictions:
        """Scores and probabilities."""
        found, milliseconds = await self._run(lambda check: self._explaining.predictions(identifier, top, classes))
        return schemas.Predictions(classes=found, milliseconds=milliseconds)

    # -- work in the model ------------------------------------------------------------------------------------------------

    async def explain(self, request: schemas.ExplainRequest) -> schemas.Explanation:
        """Relevance of the input and of layers."""
        return await self._answer(
            request, schemas.Explanation, lambda check: self._explaining.explain(request, self._preset(request), check)
        )

    async def flip(self, request: schemas.FlipRequest) -> schemas.Flipped:
        """Predictions after pixels were replaced."""
        return await self._answer(request, schemas.Flipped, lambda check: self._changes.flip(request))

    async def curve(self, request: schemas.CurveRequest) -> schemas.Curves:
        """The score while more and more pixels are replaced."""

        def work(check):
            maps, target, _ = self._explaining.relevance(request, self._preset(request), (), check)
            return self._changes.curve(request, maps["input"], target, check)

        return await self._answer(request, schemas.Curves, work)

    async def neurons(self, request: schemas.NeuronsRequest) -> schemas.Neurons:
        """Sums for each channel of a layer."""
        return await self._answer(
            request, schemas.Neurons, lambda check: self._explaining.neurons(request, self._preset(request), check)
        )

    async def neuron_maps(self, request: schemas.NeuronMapsRequest) -> schemas.NeuronMaps:
        """Heatmaps of channels."""
        return await self._answer(
            request, schemas.NeuronMaps, lambda check: self._explaining.neuron_maps(request, self._preset(request), check)
        )

    async def ablate(self, request: schemas.AblateRequest) -> schemas.Changed:
        """Predictions without some channels."""
        return await self._answer(request, schemas.Changed, lambda check: self._changes.ablate(request))

    async def conservation(self, request: schemas.Explained) -> schemas.Conservation:
        """Where the relevance went."""
        return await self._answer(
            request, schemas.Conservation, lambda check: self._explaining.conservation(request, self._preset(request))
        )

    async def evaluate(self, request: schemas.EvaluateRequest) -> schemas.Numbers:
        """Numbers of a heatmap."""

        def work(check):
            from tf_lrp.studio import evaluating

            maps, target, _ = self._explaining.relevance(request, self._preset(request), (), check)
            own = self.pictures.mask(request.picture, target) if request.own else None
            return evaluating.evaluate(request, maps["input"][0], own)

        return await self._answer(request, schemas.Numbers, work)

    async def code(self, request: schemas.CodeRequest) -> schemas.Code:
        """What reproduces a view."""

        def work(_):
            target = self._explaining.target(request.target, self._explaining.scores(request.picture))
            kind, names = self._explaining.network.kind, self._explaining.network.classes.names
            file, folder = self.pictures.file(request.picture), self.settings.state / "presets"
            return code.code(self.settings, kind, file, self._preset(request), target, names[target], folder)

        found, _ = await self._run(work)
        return found

    def _preset(self, request):
        return self.designs.preset(request.source)

    async def _answer(self, request: schemas.Work, kind: Callable[..., Any], work: Callable[[Callable[[], None]], Any]) -> Any:
        """The answer of some work; an empty one that says so once a later request of the channel has come."""
        try:
            answer, milliseconds = await self._run(work, request.channel, request.sequence)
        except StaleError:
            return kind(stale=True)
        answer.milliseconds = milliseconds
        return answer

    async def _run(self, work, channel=None, sequence=0):
        await self._ready()
        try:
            return await self._worker.run(work, channel, sequence)
        except (ValueError, TypeError, NotImplementedError) as error:  # that a rule does not fit the model
            raise ProblemError(400, " ".join(str(error).split())) from error
        except MemoryError:
            raise ProblemError(413, "There is not enough memory for this.") from None
        except Exception as error:
            if type(error).__module__.startswith("tensorflow"):
                raise ProblemError(400, f"TensorFlow cannot compute this: {' '.join(str(error).split())}") from error
            raise

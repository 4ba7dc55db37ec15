"""The trials of a search, kept in an Optuna study that outlives the process.

A study in a folder is an SQLite database: what was told is on disk, whenever the process ends. Only the trial that was under
way is lost. It is tried again with the same parameters, because the sampler begins anew for each trial, from the seed and the
trial's number alone.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from pathlib import Path

import numpy as np

from tf_lrp.runs.locks import exclusive_lock

#: The database in the folder of a search.
DATABASE = "study.sqlite3"
_STUDY, _CONFIGURATION, _RECORD = "tf_lrp.tune", "configuration", "record"


def import_optuna():
    """Optuna, which is not installed along with this library.

    Raises:
        ImportError: saying how to install it.
    """
    try:
        import optuna
    except ImportError as error:
        raise ImportError('The search for presets needs Optuna: pip install "tf_lrp[tune]"') from error
    return optuna


@contextlib.contextmanager
def opened(folder, metrics, configuration, seed, space):
    """The `Study` in a folder, or in memory; no other process may work on it meanwhile.

    Args:
        folder: where its database is or will be; None for memory.
        metrics: names of what is maximised.
        configuration: dict for JSON of what the values depend on.
        seed: int, of the sampler.
        space: `Space`.

    Raises:
        ValueError: if the study there was made with another configuration, saying what differs.
        BlockingIOError: if another process works on it.
    """
    optuna = import_optuna()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_quiet(optuna))
        storage = optuna.storages.InMemoryStorage()
        if folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
            message = f"Another process is searching in {str(folder)!r}: wait for it, or choose another folder."
            stack.enter_context(exclusive_lock(Path(folder) / f"{DATABASE}.lock", message))
            storage = _database(optuna, Path(folder) / DATABASE)
            stack.callback(storage.engine.dispose)
            stack.callback(storage.remove_session)
        known = _known(optuna, storage, folder)
        if _CONFIGURATION in known.get(_STUDY, {}):
            _refuse_other(known[_STUDY][_CONFIGURATION], json.loads(json.dumps(configuration)), folder)
            study = optuna.load_study(study_name=_STUDY, storage=storage)
        else:
            if _STUDY in known:  # the process ended before it could say what the study is of
                optuna.delete_study(study_name=_STUDY, storage=storage)
            study = optuna.create_study(storage=storage, study_name=_STUDY, directions=["maximize"] * len(metrics))
            study.set_user_attr(_CONFIGURATION, json.dumps(configuration))
        yield Study(optuna, study, metrics, seed, space)


def _database(optuna, path):
    from sqlalchemy import URL  # Optuna's own requirement

    url = URL.create("sqlite", database=str(path.resolve())).render_as_string(hide_password=False)
    try:
        return optuna.storages.RDBStorage(url)
    except Exception as error:  # SQLAlchemy and Alembic raise all kinds
        raise _unreadable(path, error) from error


def _known(optuna, storage, folder):
    """Name -> attributes of the studies there, that of the configuration read; all records of trials can be read as well."""
    try:
        summaries = optuna.get_all_study_summaries(storage)
        known = {summary.study_name: dict(summary.user_attrs) for summary in summaries}
        if _CONFIGURATION in known.get(_STUDY, {}):
            known[_STUDY][_CONFIGURATION] = dict(json.loads(known[_STUDY][_CONFIGURATION]))
            for trial in optuna.load_study(study_name=_STUDY, storage=storage).get_trials(deepcopy=False):
                if _RECORD in trial.user_attrs:
                    _check_record(json.loads(trial.user_attrs[_RECORD]))
    except Exception as error:  # whatever a damaged database makes SQLAlchemy and Optuna raise
        if folder is None:
            raise
        raise _unreadable(Path(folder) / DATABASE, error) from error
    return known


def _unreadable(path, error):
    why = f"a record lacks {error}" if isinstance(error, KeyError) else error
    return ValueError(f"{str(path)!r} is there, but no study can be read from it: {why}. Choose another folder.")


def _check_record(record):
    for key in ("number", "reference", "parameters", "values", "seconds", "preset", "options", "error"):
        record[key]


@contextlib.contextmanager
def _quiet(optuna):
    """Without Optuna's own lines on stderr."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _refuse_other(before, now, folder):
    differing = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if differing:
        told = "; ".join(f"{key} was {_short(before.get(key))}, is {_short(now.get(key))}" for key in differing)
        raise ValueError(
            f"The search in {str(folder)!r} was begun with another {', '.join(differing)}, so its trials do not "
            f"compare: {told}. Go on with what it was begun with, or choose another folder."
        )


def _short(value):
    text = json.dumps(value)
    return text if len(text) <= 300 else f"{text[:300]} ..."


class Study:
    """References and trials as records: dicts for JSON, see `tf_lrp.tune`. Made by `opened`."""

    def __init__(self, optuna, study, metrics, seed, space):
        self._optuna, self._study, self._metrics, self._seed, self._space = optuna, study, metrics, seed, space
        self._state = optuna.trial.TrialState
        for trial in study.get_trials(deepcopy=False, states=(self._state.RUNNING,)):  # the process ended during it
            study.tell(trial.number, state=self._state.FAIL)

    def records(self):
        """(those of references, those of trials), in the order in which they were made."""
        finished = self._study.get_trials(deepcopy=False, states=(self._state.COMPLETE, self._state.FAIL))
        texts = [t.user_attrs[_RECORD] for t in finished if _RECORD in t.user_attrs and self._counts(t)]
        records = list(map(json.loads, texts))
        return [r for r in records if r["reference"]], [r for r in records if not r["reference"]]

    def _counts(self, trial):
        """Whether it came to its end, by a value or by an error of its own."""
        failed = json.loads(trial.user_attrs[_RECORD])["error"] is not None
        return failed == (trial.state == self._state.FAIL)

    def add_reference(self, record):
        """Keeps the record of a reference. If it lies in the space, the sampler learns from it."""
        parameters = record["parameters"] or {}
        fixed = self._optuna.trial.FixedTrial(parameters)
        if parameters:
            self._space.suggest(fixed)
        self._study.add_trial(
            self._optuna.trial.create_trial(
                state=self._state.FAIL if record["error"] else self._state.COMPLETE,
                params=parameters,
                distributions=fixed.distributions,
                values=None if record["error"] else [record["values"][name] for name in self._metrics],
                user_attrs={_RECORD: json.dumps(record)},
            )
        )

    def run(self, number, evaluate):
        """One trial: parameters -> ``evaluate(parameters)`` -> a record, which is kept."""
        self._study.sampler = self._sampler(number)
        trial = self._study.ask()
        record = evaluate(self._space.suggest(trial))
        trial.set_user_attr(_RECORD, json.dumps(record))
        if record["error"]:
            self._study.tell(trial, state=self._state.FAIL)
        else:
            self._study.tell(trial, [record["values"][name] for name in self._metrics])
        return record

    def _sampler(self, number):
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        with warnings.catch_warnings():
            # What goes together is searched together, also where parameters depend on others; Optuna calls that experimental.
            warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
            return self._optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=False)

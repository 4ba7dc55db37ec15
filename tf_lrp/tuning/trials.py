"""The trials of a search, kept in an Optuna study that outlives the process.

A study in a folder is an SQLite database: every finished trial is on disk when the process ends. Only the running trial is
lost. It is run again with the same parameters, because each trial has a new sampler, seeded by the seed of the search and the
number of the trial.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from pathlib import Path

import numpy as np

from tf_lrp.runs.locks import exclusive_lock
from tf_lrp.runs.resume import as_json, changed_settings

#: The database in the folder of a search.
DATABASE = "study.sqlite3"
_STUDY, _CONFIGURATION, _RECORD = "tf_lrp.tune", "configuration", "record"


def import_optuna():
    """Optuna, which is an optional dependency.

    Raises:
        ImportError: saying how to install it.
    """
    try:
        import optuna
    except ImportError as error:
        raise ImportError('The search for presets needs Optuna: pip install "tf_lrp[tune]"') from error
    return optuna


@contextlib.contextmanager
def open_search(folder, metrics, configuration, seed, space):
    """The `Search` in a folder, or in memory, locked against other processes.

    Args:
        folder: where its database is or will be; None for memory.
        metrics: names of the metrics that are maximised.
        configuration: dict for JSON of everything that the values depend on.
        seed: int, of the sampler.
        space: `Space`.

    Raises:
        ValueError: the search there was started with another configuration.
        BlockingIOError: another process is searching there.
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
            _check_same(known[_STUDY][_CONFIGURATION], as_json(configuration), folder)
            study = optuna.load_study(study_name=_STUDY, storage=storage)
        else:
            if _STUDY in known:  # the process ended before it could record the configuration
                optuna.delete_study(study_name=_STUDY, storage=storage)
            study = optuna.create_study(storage=storage, study_name=_STUDY, directions=["maximize"] * len(metrics))
            study.set_user_attr(_CONFIGURATION, json.dumps(configuration))
        yield Search(optuna, study, metrics, seed, space)


def _database(optuna, path):
    from sqlalchemy import URL  # Optuna's own requirement

    url = URL.create("sqlite", database=str(path.resolve())).render_as_string(hide_password=False)
    try:
        return optuna.storages.RDBStorage(url)
    except Exception as error:  # SQLAlchemy and Alembic raise all kinds
        raise _unreadable(path, error) from error


def _known(optuna, storage, folder):
    """Name -> attributes of the studies there, with the configuration parsed; checks that all records can be read as well."""
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
    return ValueError(f"{str(path)!r} exists, but no study can be read from it: {why}. Choose another folder.")


def _check_record(record):
    for key in ("number", "reference", "parameters", "values", "seconds", "preset", "options", "error"):
        record[key]


@contextlib.contextmanager
def _quiet(optuna):
    """Silences Optuna's own messages on stderr."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _check_same(before, now, folder):
    changed = changed_settings(before, now)
    if changed:
        raise ValueError(
            f"The search in {str(folder)!r} was started with other settings, so that its trials cannot be compared with new "
            f"ones: {changed}. Continue it with its own settings, or choose another folder."
        )


class Search:
    """The references and trials of a search as records: dicts for JSON, see `tuning.Tuned`. Opened by `open_search`."""

    def __init__(self, optuna, study, metrics, seed, space):
        self._optuna, self._study, self._metrics, self._seed, self._space = optuna, study, metrics, seed, space
        self._state = optuna.trial.TrialState
        for trial in study.get_trials(deepcopy=False, states=(self._state.RUNNING,)):  # the process ended while it ran
            study.tell(trial.number, state=self._state.FAIL)

    def records(self):
        """(records of references, records of trials), in the order in which they were measured."""
        finished = self._study.get_trials(deepcopy=False, states=(self._state.COMPLETE, self._state.FAIL))
        texts = [t.user_attrs[_RECORD] for t in finished if _RECORD in t.user_attrs and self._is_finished(t)]
        records = list(map(json.loads, texts))
        return [r for r in records if r["reference"]], [r for r in records if not r["reference"]]

    def _is_finished(self, trial):
        """Whether the trial ended with a value or with an error of its own, not with the process."""
        failed = json.loads(trial.user_attrs[_RECORD])["error"] is not None
        return failed == (trial.state == self._state.FAIL)

    def add_reference(self, record):
        """Stores the record of a reference. If its parameters lie in the space, the sampler learns from it."""
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
        """Runs one trial: suggests parameters and stores the record that ``evaluate(parameters)`` returns."""
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
            # Parameters are sampled jointly, those that depend on others in groups, which Optuna calls experimental.
            warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
            return self._optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=False)

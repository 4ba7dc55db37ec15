"""The names of `tf_lrp.evaluation`: modules, the measures under short names too; TensorFlow is loaded only on use."""

import subprocess
import sys

import pytest

from tf_lrp import evaluation


def test_every_name_is_a_module():
    for name in evaluation.__all__:
        module = getattr(evaluation, name)
        assert module.__name__ in (f"tf_lrp.evaluation.{name}", f"tf_lrp.evaluation.measures.{name}")
    with pytest.raises(AttributeError, match="no attribute 'study'"):
        evaluation.study  # noqa: B018


def test_data_sets_and_reports_load_no_tensorflow():
    code = (
        "import sys; from tf_lrp.evaluation import datasets, figures, report, tables; report.page.render; "
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr

"""Packaging of tf_lrp; tool settings live in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

_ONNX = ["tf2onnx>=1.17", "onnx", "onnxruntime"]
_LITERT = ["ai-edge-litert"]
_STUDIO = ["fastapi>=0.115", "uvicorn>=0.30", "pydantic>=2.9", "python-multipart>=0.0.12", "platformdirs"]

setup(
    name="tf_lrp",
    version="0.1.0",
    description="Layer-wise relevance propagation for Keras 3 models on TensorFlow",
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=[*find_packages(include=["tf_lrp", "tf_lrp.*"]), "tf_lrp.model_zoo"],
    package_dir={"tf_lrp.model_zoo": "model_zoo"},
    package_data={
        "tf_lrp": ["py.typed"],
        "tf_lrp.model_zoo": ["weights/*.npz", "cards/*.md"],
        "tf_lrp.evaluation.report": ["templates/*"],
        "tf_lrp.studio": ["page/*", "page/assets/*"],
    },
    install_requires=[
        "tensorflow>=2.18",
        "keras>=3.10",
        "numpy",
        "matplotlib",
        "pillow",
        "typer",
        "rich",
        "filelock",
        "protobuf",
        "jinja2",
    ],
    extras_require={
        "onnx": _ONNX,
        "litert": _LITERT,
        "zarr": ["zarr>=3"],
        "coco": ["pycocotools"],
        "quantus": ["quantus>=0.6"],
        "tune": ["optuna>=4"],
        "toolbox": ["scipy", "scikit-image"],
        "studio": _STUDIO,
        "test": [
            "pytest",
            "pytest-xdist",
            "hypothesis",
            "ruff",
            "basedpyright",
            *_ONNX,
            *_LITERT,
            "zarr>=3",
            "pycocotools",
            "quantus>=0.6",
            "optuna>=4",
            "tf_keras",
            "scipy",
            "scikit-image",
            *_STUDIO,
            "httpx",
        ],
    },
    entry_points={"console_scripts": ["tf-lrp = tf_lrp.cli:app"]},
)

"""Writes the OpenAPI schema, from which the page's types are generated.

python -m tf_lrp.studio.openapi studio/openapi.json
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tf_lrp.studio import application
from tf_lrp.studio.studio import Settings, Studio


def schema() -> str:
    """The schema as JSON text."""
    with tempfile.TemporaryDirectory() as folder:
        described = application.plain(Studio(Settings("shapes", state=Path(folder)))).openapi()
    return json.dumps(described, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(schema(), encoding="utf-8")

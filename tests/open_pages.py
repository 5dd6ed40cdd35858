"""A page of the dashboard in Streamlit's AppTest, opened at an address."""

import json
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

_APP = Path(__file__).resolve().parents[1] / "app"


def open_page(name: str, **query: Any) -> AppTest:
    """The page of that file below `app/`, with that query; it raised nothing."""
    page = AppTest.from_file(str(_APP / name), default_timeout=30)
    for key, value in query.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception
    return page


def mounted(page: AppTest) -> list[dict[str, Any]]:
    """The data handed to each live component, in the order of the page."""
    return [json.loads(element.proto.json) for element in page.get("bidi_component")]

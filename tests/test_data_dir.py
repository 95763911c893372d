"""One gateway, one folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.app import Gateway
from gateway.data_dir import hold
from gateway.errors import ConfigurationError
from gateway.settings import Settings


def test_a_second_gateway_on_one_folder_is_refused_in_words(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", port=0)
    with Gateway(settings), pytest.raises(ConfigurationError, match="another gateway is running"):
        Gateway(settings)
    with Gateway(settings):
        pass  # and the folder is free again when the first has stopped


def test_a_folder_that_cannot_be_made_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    where = tmp_path / "file" / "data"
    words = "check the folder that GATEWAY_DATA_DIR names"
    with pytest.raises(ConfigurationError, match=words), hold(where):
        pass

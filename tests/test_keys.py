"""The password and the key that the gateway makes for itself."""

from __future__ import annotations

import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway import keys
from gateway.errors import ConfigurationError
from gateway.settings import load


def test_what_a_setting_gives_is_in_force_and_written_nowhere(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert keys.api_key(folder, "given").value == "given"
    assert keys.webdav_password(folder, "given").file is None
    assert not folder.exists()


def test_what_is_made_once_is_kept_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    first, second = keys.api_key(folder, None), keys.api_key(folder, None)
    assert first == second
    assert len(first.value) == 32
    assert first.file == folder / "api-key"
    assert stat.S_IMODE(first.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [file.name for file in folder.iterdir()] == ["api-key"]


def test_a_password_can_be_typed_and_is_another_each_time(tmp_path: Path) -> None:
    made = {keys.webdav_password(tmp_path / str(number), None).value for number in range(20)}
    assert len(made) == 20
    assert all(len(password) == 16 and password.isalnum() for password in made)
    assert not set("".join(made)) & set("il1o0")


def test_what_somebody_put_into_the_file_is_in_force(tmp_path: Path) -> None:
    (tmp_path / "webdav-password").write_text("mine\n")
    assert keys.webdav_password(tmp_path, None).value == "mine"


def test_many_who_start_at_once_all_get_the_same(tmp_path: Path) -> None:
    together = threading.Barrier(8)

    def ask(_: int) -> str:
        together.wait(30)
        return keys.api_key(tmp_path, None).value

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["api-key"]


def test_a_file_system_without_links_keeps_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(self: Path, target: Path) -> None:
        raise PermissionError("links")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    made = keys.api_key(tmp_path, None)
    assert keys.api_key(tmp_path, None) == made
    assert [file.name for file in tmp_path.iterdir()] == ["api-key"]


def test_an_empty_or_binary_file_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "api-key").write_text(" \n")
    with pytest.raises(ConfigurationError, match="api-key is empty: remove it"):
        keys.api_key(tmp_path, None)
    (tmp_path / "api-key").write_bytes(b"\xff\xff")
    with pytest.raises(ConfigurationError, match="api-key is not text: remove it"):
        keys.api_key(tmp_path, None)


def test_a_folder_that_cannot_be_written_is_named_with_advice(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="GATEWAY_DATA_DIR"):
        keys.api_key(tmp_path / "file" / "data", None)


def test_all_keys_are_those_of_the_settings_or_made(tmp_path: Path) -> None:
    environ = {"GATEWAY_DATA_DIR": str(tmp_path), "GATEWAY_API_KEY": "mine"}
    loaded = keys.Keys.load(load(None, environ))
    assert (loaded.webdav_user, loaded.api_key, loaded.nzb_key) == ("gateway", "mine", None)
    assert loaded.webdav_password == keys.kept(tmp_path / keys.PASSWORD_FILE)


def test_a_secret_does_not_show_itself(tmp_path: Path) -> None:
    made = keys.api_key(tmp_path, None)
    loaded = keys.Keys.load(load(None, {"GATEWAY_DATA_DIR": str(tmp_path)}))
    assert made.value not in f"{made!r}{loaded!r}"
    assert loaded.webdav_password not in repr(loaded)

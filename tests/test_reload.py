"""Settings read again: limits change at once, the rest is named, what is wrong changes nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.app import Gateway
from gateway.demo import NewsServer, make_post
from gateway.errors import ConfigurationError
from gateway.reload import put_in_force, rules_of
from gateway.settings import Settings, load
from gateway.usenet.client import Account, UsenetClient
from gateway.usenet.rules import Rules, Sharing

PROVIDER = {
    "GATEWAY_PROVIDERS__MAIN__HOST": "127.0.0.1",
    "GATEWAY_PROVIDERS__MAIN__CONNECTIONS": "20",
    "GATEWAY_PROVIDERS__MAIN__USERNAME": "bob",
    "GATEWAY_PROVIDERS__MAIN__PASSWORD": "hunter2",
}

Settle = Callable[..., Settings]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settle:
    """Make settings of what is given, beside those of one provider."""
    monkeypatch.chdir(tmp_path)

    def make(**given: str) -> Settings:
        named = {f"GATEWAY_{name}": value for name, value in given.items()}
        return load(None, {"GATEWAY_DATA_DIR": str(tmp_path / "data"), **PROVIDER, **named})

    return make


@pytest.fixture
def sharing() -> Iterator[Sharing]:
    with UsenetClient([Account("main", "127.0.0.1", 1, connections=20)]) as client:
        yield Sharing(client, Rules())


# What a change comes to


def test_every_limit_of_the_settings_is_put_in_force(settings: Settle, sharing: Sharing) -> None:
    after = settings(
        STREAM_GUARANTEE="9",
        QUEUE_GUARANTEE="6",
        HEALTH_GUARANTEE="2",
        MAX_QUEUE_CONNECTIONS="15",
        HEALTH_CAP="4",
        MAX_CONNECTIONS_PER_STREAM="7",
        PERMIT_AGING="5s",
        PROVIDERS__MAIN__CONNECTIONS="30",
    )
    assert put_in_force(settings(), after, sharing) == []
    assert sharing.rules == Rules("shares", 9, 6, 2, 15, 4, 7, 5.0) == rules_of(after)
    assert sharing.connections() == {"main": 30}
    assert put_in_force(settings(), settings(RESERVATION_POLICY="fixed"), sharing) == []
    assert sharing.rules == Rules("fixed")
    assert sharing.connections() == {"main": 20}


def test_what_the_api_has_changed_gives_way_to_what_the_settings_say(
    settings: Settle, sharing: Sharing
) -> None:
    sharing.change(lambda old: replace(old, health_cap=9), {"main": 5})
    put_in_force(settings(), settings(), sharing)
    assert sharing.rules == Rules()
    assert sharing.connections() == {"main": 20}


def test_what_wants_a_restart_is_named_as_it_is_written_and_without_its_value(
    settings: Settle, sharing: Sharing
) -> None:
    after = settings(
        PORT="8181",
        API_KEY="0123456789",
        READ_TIMEOUT="20s",
        QUEUE_GUARANTEE="3",
        PROVIDERS__MAIN__PASSWORD="hunter3",
        PROVIDERS__MAIN__PRIORITY="1",
        PROVIDERS__SPARE__HOST="spare.example.com",
        CATEGORIES__ANIME__DIR="anime",
        CATEGORIES__TV__DIR="series",
    )
    assert put_in_force(settings(), after, sharing) == [
        "GATEWAY_PORT",
        "GATEWAY_API_KEY",
        "GATEWAY_READ_TIMEOUT",
        "GATEWAY_PROVIDERS__MAIN__PASSWORD",
        "GATEWAY_PROVIDERS__MAIN__PRIORITY",
        "GATEWAY_PROVIDERS__SPARE",
        "GATEWAY_CATEGORIES__ANIME",
        "GATEWAY_CATEGORIES__TV__DIR",
    ]
    assert sharing.rules.queue_guarantee == 3, "what can change has changed"


def test_limits_that_cannot_be_met_are_refused_and_nothing_changes(
    settings: Settle, sharing: Sharing
) -> None:
    after = settings(STREAM_GUARANTEE="30", PROVIDERS__MAIN__CONNECTIONS="25")
    with pytest.raises(ConfigurationError, match="=30 = 30, but the largest provider, 'main', has"):
        put_in_force(settings(), after, sharing)
    assert sharing.rules == Rules()
    assert sharing.connections() == {"main": 20}


def test_every_setting_either_changes_at_once_or_is_named(settings: Settle) -> None:
    # A setting that is added later falls into the second class, unless somebody says otherwise.
    before = settings()
    for field in Settings.model_fields.keys() - Settings.SECTIONS.keys() - {"vod", "rclone"}:
        other = before.model_copy(update={field: object()})
        rules_differ = any(
            getattr(other, name) is not getattr(before, name)
            for name in ("reservation_policy", "permit_aging")
        )
        with UsenetClient([]) as client:
            shared = Sharing(client, Rules())
            try:
                named = put_in_force(before, other, shared)
            except TypeError:
                continue  # a limit, which cannot be an object
        assert named == [f"GATEWAY_{field.upper()}"] or rules_differ


def test_what_differs_in_an_account_of_vod_is_named_to_its_last_part(
    settings: Settle, sharing: Sharing
) -> None:
    before = settings(VOD__USERS__BOB__PASSWORD="a", VOD__USERS__EVE__PASSWORD="a")
    after = settings(
        VOD__USERS__BOB__PASSWORD="b", VOD__MAX_STREAMS="2", RCLONE__URL="http://127.0.0.1:5572"
    )
    assert put_in_force(before, after, sharing) == [
        "GATEWAY_VOD__MAX_STREAMS",
        "GATEWAY_RCLONE__URL",
        "GATEWAY_VOD__USERS__BOB__PASSWORD",
        "GATEWAY_VOD__USERS__EVE",
    ]


# The program


class Serving:
    """`nzb-gateway serve` in a folder of its own, with its settings in a file."""

    def __init__(self, folder: Path, lines: dict[str, str]) -> None:
        self._file = folder / "settings.env"
        self._lines = {"GATEWAY_PORT": "0", "GATEWAY_DATA_DIR": str(folder / "data"), **lines}
        self.write()
        environ = {k: v for k, v in os.environ.items() if not k.upper().startswith("GATEWAY_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve"],
            cwd=folder,
            env=environ,
            stderr=subprocess.PIPE,
            text=True,
        )

    def write(self, **lines: str) -> None:
        self._lines |= {f"GATEWAY_{name}": value for name, value in lines.items()}
        self._file.write_text("".join(f"{k}={v}\n" for k, v in self._lines.items()))

    def said(self, words: str) -> str:
        """Return the next line of the log that holds *words*."""
        assert self.process.stderr is not None
        passed = []
        for line in self.process.stderr:
            passed.append(line)
            if words in line:
                return line
        raise AssertionError("".join(passed))

    def hang_up(self) -> None:
        self.process.send_signal(signal.SIGHUP)


def test_sighup_reads_the_settings_again_and_tells_what_changed(tmp_path: Path) -> None:
    serving = Serving(tmp_path, PROVIDER)
    with serving.process as process:
        serving.said("listens on")
        serving.write(MAX_QUEUE_CONNECTIONS="12", PROVIDERS__MAIN__CONNECTIONS="30", RESPONSES="50")
        serving.hang_up()
        line = serving.said("limits changed")
        assert "max_queue_connections=default -> 12, connections of main=20 -> 30" in line
        assert serving.said("restart to change").endswith("restart to change: GATEWAY_RESPONSES\n")

        serving.write(MAX_QUEUE_CONNECTIONS="many", HEALTH_CAP="none")
        serving.hang_up()
        line = serving.said("nothing has changed")
        assert "GATEWAY_MAX_QUEUE_CONNECTIONS=many (settings.env, line " in line
        assert "; GATEWAY_HEALTH_CAP=none (settings.env, line " in line

        serving.write(MAX_QUEUE_CONNECTIONS="12", HEALTH_CAP="", STREAM_GUARANTEE="31")
        serving.hang_up()
        line = serving.said("nothing has changed")
        assert "GATEWAY_STREAM_GUARANTEE=31 = 31, but the largest provider" in line

        process.send_signal(signal.SIGTERM)
        assert serving.said("stopping: SIGTERM")
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (
            {"GATEWAY_STREAM_GUARANTEE": "15", "GATEWAY_QUEUE_GUARANTEE": "10"},
            "GATEWAY_STREAM_GUARANTEE=15 + GATEWAY_QUEUE_GUARANTEE=10 = 25, but the largest prov",
        ),
        (
            {"GATEWAY_QUEUE_GUARANTEE": "10", "GATEWAY_MAX_QUEUE_CONNECTIONS": "5"},
            "GATEWAY_QUEUE_GUARANTEE=10 exceeds GATEWAY_MAX_QUEUE_CONNECTIONS=5: lower the former",
        ),
        ({"GATEWAY_HEALTH_CAP": "-1"}, "GATEWAY_HEALTH_CAP=-1 (settings.env, line 7) is too small"),
    ],
)
def test_limits_that_cannot_be_met_end_the_start_with_the_arithmetic(
    tmp_path: Path, limits: dict[str, str], words: str
) -> None:
    serving = Serving(tmp_path, {**PROVIDER, **limits})
    _, said = serving.process.communicate(timeout=60)
    assert serving.process.returncode == 2
    (complaint,) = [line for line in said.splitlines() if line.startswith("nzb-gateway:")]
    assert complaint.startswith(f"nzb-gateway: {words}")
    assert "Traceback" not in said


def test_the_queue_tells_what_it_may_use_when_it_takes_up_an_item(
    settings: Settle, caplog: pytest.LogCaptureFixture
) -> None:
    post = make_post("film.mkv", bytes(100_000))
    caplog.set_level("INFO", "gateway_queue.processor")
    with NewsServer() as news:
        news.add(post)
        given = settings(
            PORT="0",
            MAX_QUEUE_CONNECTIONS="30",
            PROVIDERS__MAIN__PORT=str(news.port),
            PROVIDERS__MAIN__TLS="no",
            PROVIDERS__MAIN__CONNECTIONS="50",
        )
        with Gateway(given) as gateway:
            gateway.jobs.add(post.nzb, filename="JobName.nzb", category="tv")
            news.wait_for(lambda counts: counts.bodies, 20)
    (line,) = [words for words in caplog.messages if re.match(r"\[Queue\] processing", words)]
    assert line == (
        "[Queue] processing 'JobName': "
        "TotalConnections=50 MaxQueueConnections=30 GuaranteedToStreams=20"
    )

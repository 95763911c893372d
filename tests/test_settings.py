"""Settings: what may be written, what is in force, and what somebody who erred is told."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import pytest

from gateway.errors import ConfigurationError
from gateway.settings import CATEGORIES, Settings, lines, load, names
from gateway.settings_file import Given

ROOT = Path(__file__).parent.parent
NO_HOST = "is not a host: write its name or address alone, as news.example.com"
NO_TIME = "is not a time: write a number with its unit, as 20s"
MISSING = "is missing: write the name of the news server, as news.example.com"
SECRET = "hunter2-is-secret"


def told(content: str, folder: Path, environ: dict[str, str] | None = None) -> list[str]:
    """Return the lines with which *content* is refused as a settings file."""
    file = folder / "settings.env"
    file.write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        load(file, environ or {})
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def given(**values: str) -> Settings:
    return load(None, {f"GATEWAY_{name}": value for name, value in values.items()})


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run where no settings.env of the developer lies."""
    monkeypatch.chdir(tmp_path)


# What is in force


def test_without_any_setting_the_defaults_are_in_force() -> None:
    settings = load(None, {})
    assert (settings.host, settings.port, settings.drain) == ("127.0.0.1", 8080, 10.0)
    assert settings.readahead_budget == settings.article_cache == 256 * 1024 * 1024
    assert settings.database == f"sqlite:///{settings.data_dir}/library.sqlite"
    assert settings.providers == {}
    assert settings.data_dir.is_absolute()


def test_the_environment_wins_over_the_file_name_by_name(tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_text(
        "GATEWAY_PORT=1000\nGATEWAY_DRAIN=5s\n"
        "GATEWAY_PROVIDERS__main__HOST=news.example.com\nGATEWAY_PROVIDERS__main__PRIORITY=3\n"
    )
    settings = load(file, {"gateway_port": "2000", "GATEWAY_PROVIDERS__MAIN__PRIORITY": "1"})
    assert (settings.port, settings.drain) == (2000, 5.0)
    assert settings.providers["main"].host == "news.example.com"
    assert settings.providers["main"].priority == 1


def test_case_does_not_matter_and_a_provider_is_known_by_its_name_in_small_letters() -> None:
    settings = load(None, {"Gateway_Providers__MyNews__Host": "news.example.com"})
    assert list(settings.providers) == ["mynews"]


def test_what_is_empty_counts_as_not_given(tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_text("GATEWAY_PORT=\nGATEWAY_API_KEY=''\n")
    settings = load(file, {"GATEWAY_WEBDAV_PASSWORD": ""})
    assert settings.port == 8080
    assert settings.api_key is settings.webdav_password is None


@pytest.mark.parametrize(
    "secret", ["12345", "null", '{"a": 1}', "a$b${c}\\n%d", "it's", "a#b", "ÄöΩ", "true"]
)
def test_a_password_is_taken_as_it_stands(secret: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_text(
        "GATEWAY_PROVIDERS__a__HOST=h\nGATEWAY_PROVIDERS__a__USERNAME=u\n"
        f"GATEWAY_PROVIDERS__a__PASSWORD={secret}\nGATEWAY_API_KEY={secret}\n"
    )
    settings = load(file, {})
    password = settings.providers["a"].password
    assert password is not None
    assert password.get_secret_value() == secret
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == secret


def test_comments_quotes_export_and_a_byte_order_mark_are_understood(tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_text(
        "\ufeffGATEWAY_PORT=81 # the port\r\n"
        "  # a comment\n\n"
        "export GATEWAY_WEBDAV_USER = 'two words # and this' # not this\n"
        'GATEWAY_API_KEY=" a\\b "\n'
    )
    settings = load(file, {})
    assert settings.port == 81
    assert settings.webdav_user == "two words # and this"
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == " a\\b "


@pytest.mark.parametrize(
    ("text", "size"),
    [("4096", 4096), ("256MiB", 256 << 20), ("1.5 gib", 3 << 29), ("64KB", 64_000), ("0", 0)],
)
def test_sizes_are_written_with_their_unit(text: str, size: int) -> None:
    assert given(ARTICLE_CACHE=text).article_cache == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("20s", 20.0), ("500ms", 0.5), ("2m", 120.0), ("1h", 3600.0), ("7", 7.0)]
)
def test_times_are_written_with_their_unit(text: str, seconds: float) -> None:
    assert given(READ_TIMEOUT=text).read_timeout == seconds


def test_a_provider_takes_the_usual_port_of_its_kind() -> None:
    settings = given(
        PROVIDERS__a__HOST="a",
        PROVIDERS__b__HOST="b",
        PROVIDERS__b__TLS="false",
        PROVIDERS__c__HOST="c",
        PROVIDERS__c__PORT="443",
    )
    ports = {name: provider.effective_port for name, provider in settings.providers.items()}
    assert ports == {"a": 563, "b": 119, "c": 443}


def test_five_categories_exist_and_more_are_added_by_naming_them() -> None:
    assert list(load(None, {}).categories) == list(CATEGORIES)
    settings = given(CATEGORIES__anime__DIR="Anime", CATEGORIES__tv__DIR="series")
    assert {name: category.dir for name, category in settings.categories.items()} == {
        "movies": "movies",
        "tv": "series",
        "audio": "audio",
        "software": "software",
        "uncategorized": "uncategorized",
        "anime": "Anime",
    }


def test_a_category_asks_the_usual_of_its_releases_until_a_setting_says_otherwise() -> None:
    usual = load(None, {}).categories
    assert usual["movies"].blocklist == ("*.nfo", "*.par2", "*.sfv", "samples")
    assert (usual["tv"].verify, usual["tv"].links) == ("sample", "symlink")
    assert [name for name, one in usual.items() if not one.media_required] == [
        "software",
        "uncategorized",
    ]
    assert usual["software"].blocklist == ("*.par2", "*.sfv"), "a serial number lies in an .nfo"
    ours = given(
        CATEGORIES__tv__BLOCKLIST="*.txt, *.nfo",
        CATEGORIES__anime__LINKS="none",
        CATEGORIES__software__VERIFY="all",
    ).categories
    assert ours["tv"].blocklist == ("*.txt", "*.nfo")
    assert (ours["anime"].dir, ours["anime"].links) == ("anime", "none")
    assert (ours["software"].verify, ours["software"].media_required) == ("all", False)


def test_hosts_that_may_be_asked_for_are_listed_with_commas() -> None:
    assert given(ALLOWED_HOSTS="nas.local, *.example.com").allowed_hosts == (
        "nas.local",
        "*.example.com",
    )


def test_proxies_that_are_believed_are_listed_with_commas() -> None:
    found = given(TRUSTED_PROXIES="127.0.0.1,10.0.0.0/8 fd00::/8").trusted_proxies
    assert found == ("127.0.0.1", "10.0.0.0/8", "fd00::/8")


def test_paths_begin_at_home_or_here_and_a_mount_is_a_path_of_the_other_side() -> None:
    assert given(DATA_DIR="~/x").data_dir == Path.home() / "x"
    assert given(DATA_DIR="x").data_dir == Path.cwd() / "x"
    assert given(MOUNT_DIR="/mnt/x").mount_dir == PurePosixPath("/mnt/x")
    assert given(HOST="[::1]").host == "::1"


def test_another_file_is_named_by_the_environment_or_the_caller(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("GATEWAY_PORT=1001")
    (tmp_path / "b.env").write_text("GATEWAY_PORT=1002")
    environ = {"GATEWAY_SETTINGS_FILE": str(tmp_path / "a.env")}
    assert load(None, environ).port == 1001
    assert load(tmp_path / "b.env", environ).port == 1002


def test_the_file_of_the_current_folder_is_read_if_there_is_one(tmp_path: Path) -> None:
    assert load(None, {}).port == 8080
    (tmp_path / "settings.env").write_text("GATEWAY_PORT=1003")
    assert load(None, {}).port == 1003


# What somebody who erred is told


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("GATEWAY_PORT=80a", "=80a (settings.env, line 1) is not a whole number: write digits"),
        ("GATEWAY_PORT=70000", "is too large: write 65535 or less"),
        ("GATEWAY_RESPONSES=0", "=0 (settings.env, line 1) is too small: write 1 or more"),
        ("GATEWAY_READ_TIMEOUT=soon", "=soon (settings.env, line 1) is not a time: write"),
        ("GATEWAY_READ_TIMEOUT=0s", "is too small: write more than 0"),
        ("GATEWAY_ARTICLE_CACHE=big", "is not a size: write a number with its unit, as 256MiB"),
        ("GATEWAY_READAHEAD_BUDGET=-1MiB", "is not a size"),
        ("GATEWAY_READAHEAD_BUDGET=1KiB", "is too small: write 1048576 or more"),
        ("GATEWAY_RESERVATION_POLICY=best", "is not known: write 'shares' or 'fixed'"),
        ("GATEWAY_HOST=http://x", "is not a host: write its name or address alone"),
        ("GATEWAY_HOST=x:80", "is not a host"),
        ("GATEWAY_WEBDAV_USER=a:b", "holds a colon"),
        ("GATEWAY_MOUNT_DIR=mnt", "is not an absolute path: write it from the root"),
        ("GATEWAY_CATEGORIES__x__DIR=../x", "is not the name of one folder"),
        ("GATEWAY_CATEGORIES__x__STORAGE=disk", "is not known: write 'stream'"),
        ("GATEWAY_CATEGORIES__x__VERIFY=none", "write 'sample', 'all' or 'deep'"),
        ("GATEWAY_CATEGORIES__x__BLOCKLIST=*.txt,a/b", "looks for a folder: write patterns"),
        ("GATEWAY_PROVIDERS__x__TLS=maybe", "is neither yes nor no: write true or false"),
        ("GATEWAY_STREAM_GUARANTEE=-1", "is too small: write 0 or more"),
        ("GATEWAY_ALLOWED_HOSTS=a,\x07", "holds a control character"),
        ("GATEWAY_TRUSTED_PROXIES=10.0.0.1,proxy", "neither an address nor a network: write"),
        ("GATEWAY_SUSPEND=0s", "is too small: write more than 0"),
        ("GATEWAY_REDIS_URL=localhost:6379", "(settings.env, line 1) is no address of a Redis"),
        ("GATEWAY_REDIS_URL=http://h", "is no address of a Redis server: write redis://"),
        ("GATEWAY_REDIS_URL=redis://:a/b@h", "has a host or a port that cannot be: write"),
        ("GATEWAY_REDIS_URL=redis://:a/b", "has a host or a port that cannot be"),
        ("GATEWAY_REDIS_URL=redis://", "names no server"),
        ("GATEWAY_REDIS_URL=redis://h:0", "names no server"),
        ("GATEWAY_REDIS_URL=unix://", "names no socket"),
        ("GATEWAY_REDIS_URL=redis://h/leases", "ends in what is no number of a database"),
        ("GATEWAY_LEASE_TTL=500ms", "is too small: write 1 or more"),
        ("GATEWAY_ON_STORE_ERROR=ignore", "is not known: write 'refuse' or 'local'"),
    ],
)
def test_a_wrong_value_is_told_with_its_name_its_line_and_what_to_write(
    line: str, words: str, tmp_path: Path
) -> None:
    name = line.partition("=")[0]
    (message,) = [text for text in told(line, tmp_path) if "__HOST is missing" not in text]
    assert message.startswith(name)
    assert words in message


def test_each_mistake_has_a_line_of_its_own(tmp_path: Path) -> None:
    assert told("GATEWAY_PORT=x\nGATEWAY_DRAIN=y\n", tmp_path, {"GATEWAY_HOST": "a b"}) == [
        f"GATEWAY_HOST=a b (environment) {NO_HOST}",
        "GATEWAY_PORT=x (settings.env, line 1) is not a whole number: write digits alone",
        f"GATEWAY_DRAIN=y (settings.env, line 2) {NO_TIME}",
    ]


def test_a_provider_without_a_host_or_with_half_of_its_credentials_is_told_so(
    tmp_path: Path,
) -> None:
    assert told("GATEWAY_PROVIDERS__a__PORT=1", tmp_path) == [
        f"GATEWAY_PROVIDERS__A__HOST {MISSING}"
    ]
    alone = "GATEWAY_PROVIDERS__a__HOST=h\nGATEWAY_PROVIDERS__a__USERNAME=u"
    assert told(alone, tmp_path) == [
        "GATEWAY_PROVIDERS__A has a user name or a password alone: set its __PASSWORD too"
    ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GATEWAY_PRT", "did you mean GATEWAY_PORT?"),
        ("GATEWAY_ALOWED_HOST", "did you mean GATEWAY_ALLOWED_HOSTS?"),
        ("GATEWAY_PROVIDER__main__HOST", "did you mean GATEWAY_PROVIDERS__MAIN__HOST?"),
        ("GATEWAY_PROVIDERS__a__CONECTIONS", "did you mean GATEWAY_PROVIDERS__A__CONNECTIONS?"),
        ("GATEWAY_PROVIDERS__HOST", "did you mean GATEWAY_PROVIDERS__<name>__HOST?"),
        ("GATEWAY_PROVIDERS", "did you mean GATEWAY_PROVIDERS__<name>__"),
        ("GATEWAY_FROBNICATE", "settings.example.env lists those that exist"),
        ("GATEWAY_PROVIDERS__a__b__HOST", "did you mean"),
        ("GATEWAY_PROVIDERS___x__HOST", "holds a name that cannot be"),
        ("GATEWAY_VOD__MAX_STREAM", "did you mean GATEWAY_VOD__MAX_STREAMS?"),
        ("GATEWAY_VOD__USERS__bob__PASWORD", "did you mean GATEWAY_VOD__USERS__BOB__PASSWORD?"),
        ("GATEWAY_VOD__PROFILES__URL", "did you mean GATEWAY_VOD__PROFILES__<name>__URL?"),
        ("GATEWAY_VOD__USERS", "did you mean GATEWAY_VOD__USERS__<name>__"),
    ],
)
def test_a_name_that_is_no_setting_is_refused_and_the_likely_one_offered(
    name: str, meant: str, tmp_path: Path
) -> None:
    (in_file,) = told(f"{name}={SECRET}", tmp_path)
    assert in_file.startswith(f"{name} (settings.env, line 1)")
    assert meant in in_file
    (in_environment,) = told("", tmp_path, {name: SECRET})
    assert in_environment.startswith(f"{name} (environment)")
    assert SECRET not in in_file + in_environment


def test_a_name_without_the_prefix_is_refused_in_the_file_and_ignored_in_the_environment(
    tmp_path: Path,
) -> None:
    assert told("PORT=80", tmp_path) == [
        "PORT (settings.env, line 1) does not begin with GATEWAY_: did you mean GATEWAY_PORT?"
    ]
    (tmp_path / "settings.env").unlink()
    assert load(None, {"PORT": "80"}).port == 8080


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("GATEWAY_PORT", "settings.env, line 1 is not NAME=value"),
        ("\n=3", "settings.env, line 2 is not NAME=value"),
        ("GATEWAY PORT=3", "settings.env, line 1 is not NAME=value"),
        (f'GATEWAY_API_KEY="{SECRET}', "has a quote without its end"),
        ("GATEWAY_PORT=1\ngateway_port=2", "(settings.env, line 2) stands in line 1 already"),
    ],
)
def test_a_line_that_cannot_be_read_is_told_with_its_number(
    content: str, words: str, tmp_path: Path
) -> None:
    (message,) = told(content, tmp_path)
    assert words in message
    assert SECRET not in message


def test_a_file_that_is_missing_unreadable_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--settings=no\.env: there is no such file"):
        load(Path("no.env"), {})
    with pytest.raises(ConfigurationError, match=r"GATEWAY_SETTINGS_FILE=no\.env: there is no"):
        load(None, {"GATEWAY_SETTINGS_FILE": "no.env"})
    binary = tmp_path / "binary.env"
    binary.write_bytes(b"GATEWAY_PORT=\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"binary\.env is not UTF-8 text"):
        load(binary, {})


@pytest.mark.parametrize(
    "content",
    [
        f"GATEWAY_PROVIDERS__a__PASSWORD={SECRET}",
        f"GATEWAY_API_KEY={SECRET}\x07",
        f"GATEWAY_VOD__PROFILES__a__URL=http://bob:{SECRET}@vod.example.com",
        f"GATEWAY_VOD__PROFILES__a__PASSWORD={SECRET}",
        f"GATEWAY_VOD__PROFILES__a__SEARCH={SECRET}(",
        f"GATEWAY_VOD__PROFILES__a__REPLACE={SECRET}",
        f"GATEWAY_VOD__USERS__a__PASSWORD={SECRET}\x07",
        f"GATEWAY_ARR__a__API_KEY={SECRET}\x07",
        f"GATEWAY_ARR__a__URL=http://h?apikey={SECRET}@",
        f"GATEWAY_RCLONE__PASSWORD={SECRET}",
        f"GATEWAY_RCLONE__URL=http://u:{SECRET}@h",
        f"GATEWAY_PROVIDERS__a__HOST=bob:{SECRET}@news.example.com",
        f"GATEWAY_DATABASE_URL=\x07{SECRET}",
        f"GATEWAY_REDIS_URL=redis://:{SECRET}@h:port",
        f"GATEWAY_REDIS_URL=redis://:{SECRET}",
        f"GATEWAY_REDIS_URL=redis://[{SECRET}",
        f"GATEWAY_REDIS_URL={SECRET}",
        f"GATEWAY_PASSWORD={SECRET}",
        f"{SECRET}",
    ],
)
def test_no_message_holds_a_secret(content: str, tmp_path: Path) -> None:
    assert SECRET not in "\n".join(told(content, tmp_path))


def test_what_is_shown_of_the_settings_in_force_holds_no_secret() -> None:
    settings = given(
        API_KEY=SECRET,
        WEBDAV_PASSWORD=SECRET,
        NZB_KEY=SECRET,
        DATABASE_URL=f"sqlite:///{SECRET}",
        REDIS_URL=f"redis://:{SECRET}@h",
        PROVIDERS__a__HOST="h",
        PROVIDERS__a__USERNAME="u",
        PROVIDERS__a__PASSWORD=SECRET,
    )
    shown = dict(lines(settings))
    assert SECRET not in f"{shown}{settings!r}"
    assert shown["GATEWAY_API_KEY"] == shown["GATEWAY_REDIS_URL"] == "********"
    assert shown["GATEWAY_READAHEAD_BUDGET"] == "256MiB"
    assert shown["GATEWAY_PERMIT_AGING"] == "2s"
    assert shown["GATEWAY_PROVIDERS__A__HOST"] == "h"
    assert shown["GATEWAY_HEALTH_CAP"] is None


def test_what_is_shown_can_be_read_again(tmp_path: Path) -> None:
    settings = given(ARTICLE_CACHE="1500MB", DRAIN="250ms", PROVIDERS__a__HOST="h", TLS_X="")
    file = tmp_path / "again.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in lines(settings) if value))
    assert load(file, {}) == settings


# VOD

VOD = {
    "VOD__PROFILES__Main__URL": "http://vod.example.com:8080/",
    "VOD__PROFILES__Main__USERNAME": "account",
    "VOD__PROFILES__Main__PASSWORD": SECRET,
    "VOD__PROFILES__Main__SEARCH": SECRET,
    "VOD__USERS__Bob__PASSWORD": SECRET,
    "VOD__MAX_STREAMS": "3",
}


def test_accounts_and_users_of_vod_have_names_one_level_further_down() -> None:
    vod = given(**VOD).vod
    assert (vod.max_streams, vod.probe_slots) == (3, 0)
    assert vod.profiles["main"].url == "http://vod.example.com:8080"
    assert (vod.profiles["main"].max_streams, vod.users["bob"].max_streams) == (1, 0)
    assert vod.users["bob"].password.get_secret_value() == SECRET


def test_what_is_shown_of_vod_can_be_told_apart_and_holds_no_secret() -> None:
    settings = given(**VOD)
    shown = dict(lines(settings))
    assert SECRET not in f"{shown}{settings!r}"
    assert shown["GATEWAY_VOD__PROFILES__MAIN__USERNAME"] == "account"
    assert shown["GATEWAY_VOD__PROFILES__MAIN__SEARCH"] == "********"
    assert shown["GATEWAY_VOD__USERS__BOB__PASSWORD"] == "********"
    assert shown["GATEWAY_VOD__MAX_STREAMS"] == "3"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("GATEWAY_VOD__MAX_STREAMS=-1", "is too small: write 0 or more"),
        ("GATEWAY_ACQUIRE_WAIT=2m", "is too large: write 60 or less"),
        ("GATEWAY_VOD__PROFILES__x__URL=vod.example.com", "is not an address: write it as http"),
        ("GATEWAY_VOD__PROFILES__x__URL=http://x:y", "is not an address"),
        ("GATEWAY_VOD__PROFILES__x__SEARCH=a(", "is not a regular expression (missing )"),
    ],
)
def test_a_wrong_value_of_vod_is_told_in_a_sentence(line: str, words: str, tmp_path: Path) -> None:
    messages = [text for text in told(line, tmp_path) if " is missing: " not in text]
    assert len(messages) == 1
    assert words in messages[0]


def test_an_account_of_vod_that_is_not_whole_is_told_what_it_lacks(tmp_path: Path) -> None:
    url, username, password = told("GATEWAY_VOD__PROFILES__x__MAX_STREAMS=2", tmp_path)
    profile = "GATEWAY_VOD__PROFILES__X"
    assert url.startswith(f"{profile}__URL is missing: write the provider's address, as http://")
    assert username == f"{profile}__USERNAME is missing: write the user name that the provider gave"
    assert password == f"{profile}__PASSWORD is missing: write a password"


@pytest.mark.parametrize(
    ("lines_", "words"),
    [
        ("__REPLACE=x", "has a replacement for nothing: set its __SEARCH too"),
        ("__SEARCH=a\n__REPLACE=\\2", "has a replacement that its __SEARCH cannot fill"),
    ],
)
def test_search_and_replacement_of_an_account_must_fit(
    lines_: str, words: str, tmp_path: Path
) -> None:
    whole = "__URL=http://h\n__USERNAME=u\n__PASSWORD=p\n" + lines_
    content = "".join(f"GATEWAY_VOD__PROFILES__X{line}\n" for line in whole.splitlines())
    (message,) = told(content, tmp_path)
    assert message.startswith(f"GATEWAY_VOD__PROFILES__X {words}")


# Who is told


def test_who_is_told_is_named_with_all_that_it_takes(tmp_path: Path) -> None:
    settings = given(
        ARR__Tv__KIND="sonarr",
        ARR__Tv__URL="http://nas:8989/sonarr/",
        ARR__Tv__API_KEY=SECRET,
        RCLONE__URL="http://127.0.0.1:5572",
        RCLONE__USERNAME="bob",
        RCLONE__PASSWORD=SECRET,
    )
    assert settings.arr["tv"].url == "http://nas:8989/sonarr"
    shown = dict(lines(settings))
    assert SECRET not in f"{shown}{settings!r}"
    assert shown["GATEWAY_ARR__TV__API_KEY"] == shown["GATEWAY_RCLONE__PASSWORD"] == "********"
    assert told("GATEWAY_ARR__tv__KIND=bonarr", tmp_path) == [
        (
            "GATEWAY_ARR__tv__KIND=bonarr (settings.env, line 1) is not known: write 'sonarr', "
            "'radarr' or 'lidarr'"
        ),
        "GATEWAY_ARR__TV__URL is missing: write its address, as http://127.0.0.1:8989",
        "GATEWAY_ARR__TV__API_KEY is missing: write the key that its settings show under General",
    ]
    (alone,) = told("GATEWAY_RCLONE__USERNAME=bob\nGATEWAY_RCLONE__URL=http://h", tmp_path)
    assert alone == "GATEWAY_RCLONE has a user name or a password alone: set its __PASSWORD too"


# The example


def example(*, uncomment: bool) -> dict[str, str]:
    text = (ROOT / "settings.example.env").read_text("utf-8")
    pattern = r"^#?(GATEWAY_\w+)=(.*)$" if uncomment else r"^(GATEWAY_\w+)=(.*)$"
    return dict(re.findall(pattern, text, re.MULTILINE))


def test_the_example_lists_every_setting_and_no_other() -> None:
    known = names()
    listed = {name.removeprefix("GATEWAY_") for name in example(uncomment=True)}
    plain = listed & known.plain
    assert plain == known.plain
    providers = {name for name in listed if name.startswith("PROVIDERS__")}
    assert providers == {f"PROVIDERS__MAIN__{field}" for field in known.sections["PROVIDERS"]}
    categories = {name for name in listed if name.startswith("CATEGORIES__")}
    assert {f"CATEGORIES__MOVIES__{field}" for field in known.sections["CATEGORIES"]} <= categories
    assert {f"CATEGORIES__{name.upper()}__DIR" for name in CATEGORIES} <= categories
    exceptions = {
        f"CATEGORIES__{name}__{field}".upper() for name in CATEGORIES for field in CATEGORIES[name]
    }
    assert exceptions <= categories
    assert all(known.problem(Given(f"GATEWAY_{name}", "", "")) is None for name in categories)
    vod = {f"VOD__PROFILES__MAIN__{field}" for field in known.sections["VOD__PROFILES"]}
    vod |= {f"VOD__USERS__BOB__{field}" for field in known.sections["VOD__USERS"]}
    assert vod <= listed
    arr = {f"ARR__TV__{field}" for field in known.sections["ARR"]}
    assert listed == plain | providers | categories | vod | arr


def test_the_example_changes_nothing_as_it_is() -> None:
    assert example(uncomment=False) == {}
    assert load(ROOT / "settings.example.env", {}) == load(None, {})


def test_the_example_shows_the_defaults() -> None:
    settings = load(None, {})
    uncommented = load(None, example(uncomment=True))
    provider = uncommented.providers["main"]
    assert provider == type(provider)(host="news.example.com")
    (profile,), (user,) = uncommented.vod.profiles.values(), uncommented.vod.users.values()
    assert (profile.max_streams, profile.search, profile.replace, user.max_streams) == (
        1, None, None, 0,
    )  # fmt: skip
    vod = uncommented.vod.model_copy(update={"profiles": {}, "users": {}})
    without_entries = {"providers": {}, "vod": vod, "arr": {}}
    assert uncommented.model_copy(update=without_entries) == settings

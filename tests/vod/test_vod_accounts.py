"""Users of the VOD doors, and the accounts behind them."""

from __future__ import annotations

import pytest

from gateway.leases.lease import Pool
from gateway.vod.profiles import Profile, candidates
from gateway.vod.users import VodUser, VodUsers


def profile(name: str = "main", **fields: object) -> Profile:
    login: dict[str, object] = {"url": "http://p.example", "username": "bob", "password": "secret"}
    return Profile(name, **(login | fields))  # type: ignore[arg-type]


def test_a_user_is_let_in_by_name_and_password_and_nobody_else() -> None:
    bob = VodUser("bob", 2)
    users = VodUsers([(bob, "s3cret"), (VodUser("eve"), "other")])
    assert users.login("bob", "s3cret") is bob
    assert users.login("BOB", "s3cret") is bob
    for name, password in [("bob", "other"), ("bob", ""), ("mallory", "s3cret"), ("", "")]:
        assert users.login(name, password) is None


def test_neither_users_nor_profiles_show_their_secrets() -> None:
    one = profile(search="secret", replace="secret")
    assert "secret" not in repr(one)
    assert "secret" not in repr(vars(VodUsers([(VodUser("bob"), "secret")])))


def test_a_film_lies_with_the_provider_where_it_lies_here() -> None:
    address = profile(username="b/b", password="pä ss").stream_url("movie", 4711, "mkv")
    assert address == "http://p.example/movie/b%2Fb/p%C3%A4%20ss/4711.mkv"


@pytest.mark.parametrize(
    ("search", "replace", "address"),
    [
        (r"^http://p\.", "https://q.", "https://q.example/series/bob/secret/1.ts"),
        (r"/series/(\w+)/", r"/\1/", "http://p.example/bob/secret/1.ts"),
        ("/secret", "", "http://p.example/series/bob/1.ts"),
    ],
)
def test_a_profile_may_rewrite_addresses(search: str, replace: str, address: str) -> None:
    assert profile(search=search, replace=replace).stream_url("series", 1, "ts") == address


def test_profiles_of_one_login_share_what_the_login_allows() -> None:
    one, two = profile("one", max_streams=1), profile("two", max_streams=3)
    other = profile("other", username="eve", max_streams=0)
    pools = dict(candidates([one, two, other]))
    shared = Pool(f"credential:{one.credential}", 3)
    assert pools[one] == (Pool("profile:one", 1), shared)
    assert pools[two] == (Pool("profile:two", 3), shared)
    assert pools[other] == (Pool("profile:other", 0), Pool(f"credential:{other.credential}", 0))
    assert "bob" not in shared.name

"""The doors of Xtream players, built from the settings; there are none without a user."""

from __future__ import annotations

from contextlib import ExitStack

from gateway.http.wsgi import App
from gateway.leases.keeper import Keeper
from gateway.leases.lease import LeaseStore
from gateway.library.catalogue import Library
from gateway.settings import Settings
from gateway.streams.streams import Streams
from gateway.vod.catalogue import Catalogue
from gateway.vod.panel import Panel
from gateway.vod.playlist import Guide, Playlist
from gateway.vod.profiles import Profile
from gateway.vod.service import Vod
from gateway.vod.upstream import Patience
from gateway.vod.users import VodUser, VodUsers
from gateway.vod.xtream_api import PlayerApi


def profiles_of(settings: Settings) -> list[Profile]:
    """Return the accounts with the provider, in the order in which the settings name them."""
    return [
        Profile(
            name,
            one.url,
            one.username,
            one.password.get_secret_value(),
            one.max_streams,
            one.search.get_secret_value() if one.search else None,
            one.replace.get_secret_value() if one.replace else "",
        )
        for name, one in settings.vod.profiles.items()
    ]


def users_of(settings: Settings) -> VodUsers:
    """Return who may watch."""
    return VodUsers(
        (VodUser(name, one.max_streams), one.password.get_secret_value())
        for name, one in settings.vod.users.items()
    )


def vod_of(settings: Settings, keeper: Keeper, library: Library, streams: Streams) -> Vod:
    """Return what plays films, of the accounts and of *library*."""
    read_s = settings.read_timeout
    return Vod(
        users_of(settings),
        profiles_of(settings),
        keeper,
        library,
        streams,
        grace_s=settings.grace,
        acquire_wait_s=settings.acquire_wait,
        abandon_s=settings.abandon,
        max_streams=settings.vod.max_streams,
        probe_slots=settings.vod.probe_slots,
        patience=Patience(min(10.0, read_s / 3), first_byte_s=read_s, between_s=read_s),
    )


def catalogue_doors(
    settings: Settings, library: Library, leases: LeaseStore, closing: ExitStack
) -> dict[str, App]:
    """Return the doors at which players ask what there is. *closing* closes what they need."""
    users = users_of(settings)
    if not users:
        return {}
    panel = Panel(profiles_of(settings))
    closing.callback(panel.close)
    catalogue = Catalogue(panel, library)

    def watching(user: VodUser) -> int:
        return leases.count(user.pool.name)

    return {
        "/player_api.php": PlayerApi(users, catalogue, watching, settings.vod.max_streams),
        "/get.php": Playlist(users, catalogue),
        "/xmltv.php": Guide(users),
    }

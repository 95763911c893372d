"""All of VOD built as one: doors, sessions, and what is told of them."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.http.wsgi import App
from gateway.leases.keeper import Keeper
from gateway.leases.viewing import Viewing
from gateway.vod.admission import Admission
from gateway.vod.doors import VodDoor
from gateway.vod.own_source import Catalogue, OwnLibrary, StreamOpener
from gateway.vod.probes import Probes
from gateway.vod.profiles import Profile
from gateway.vod.reading import Evidence
from gateway.vod.sessions import Sessions
from gateway.vod.sources import Accounts
from gateway.vod.tally import Tally
from gateway.vod.upstream import Patience
from gateway.vod.users import VodUsers
from gateway.vod.viewer import House

KINDS = ("movie", "series")


class Vod:
    """Films of *profiles* and of the library, for *users*. Slots come from *keeper*.

    *grace_s* is the keeper's. Nothing runs by itself here: what is open belongs to responses.
    """

    def __init__(
        self,
        users: VodUsers,
        profiles: Sequence[Profile],
        keeper: Keeper,
        library: Catalogue,
        streams: StreamOpener,
        *,
        grace_s: float,
        acquire_wait_s: float = 4.0,
        abandon_s: float = 1800.0,
        max_streams: int = 0,
        probe_slots: int = 0,
        patience: Patience | None = None,
        evidence: Evidence | None = None,
        probes: Probes | None = None,
    ) -> None:
        self.users, self.profiles = users, tuple(profiles)
        self.tally = Tally()
        self.admission = Admission(keeper, wait_s=acquire_wait_s, grace_s=grace_s)
        self.sessions = Sessions(grace_s=grace_s)
        house = House(
            self.admission,
            self.sessions,
            self.tally,
            probes or Probes(),
            evidence or Evidence(),
            abandon_s,
        )
        accounts = Accounts(
            profiles,
            patience=patience or Patience(),
            max_streams=max_streams,
            probe_slots=probe_slots,
            tally=self.tally,
        )
        own = OwnLibrary(library, streams, max_streams=max_streams)
        self.doors: dict[str, App] = {
            f"/{kind}": VodDoor(kind, users, accounts, own, house) for kind in KINDS
        }

    def viewings(self) -> Sequence[Viewing]:
        """Return who is being served in this process at this moment."""
        return self.sessions.viewings()

    def end(self, session: str) -> int:
        """Cut what this process answers of *session*; return how many requests that were."""
        return self.sessions.end(session)

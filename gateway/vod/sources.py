"""Where the bytes of a film come from: an account with a provider, or the own library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from gateway.errors import FilmChanged, GatewayError, NoSuchFilm, ProtocolError
from gateway.http.ranges import Entity
from gateway.http.wsgi import Chunk
from gateway.leases.lease import Pool
from gateway.vod.answer import typed
from gateway.vod.film import Film
from gateway.vod.metadata import Metadata
from gateway.vod.profiles import Profile, candidates
from gateway.vod.tally import Tally
from gateway.vod.upstream import Interrupted, Patience, Upstream
from gateway.vod.users import VodUser

_HEAD_S = 10.0  # what a provider does not say in that time, playing the film will tell


class Reader(Protocol):
    """A range of a film, being read. `close` from any thread ends a read at once."""

    def read(self, limit: int, /) -> Chunk:
        """Return 1 to *limit* bytes, or raise the GatewayError that keeps them from coming."""

    def close(self) -> object: ...


class Source(Protocol):
    """What can serve one film to one user, at one place or another."""

    @property
    def words(self) -> str:
        """The film, as an operator knows it."""

    def candidates(self) -> Sequence[tuple[Pool, ...]]:
        """Return the pools that a session takes at each place, the place asked first, first."""

    def probes(self) -> Sequence[tuple[Pool, ...]]:
        """Return what a probe takes at each of the same places; empty: none are let in."""

    def name(self, place: int, /) -> str | None:
        """Return the name of the account at *place*, None if it needs none."""

    def known(self) -> Entity | None:
        """Return what is known of the film without asking anybody."""

    def learn(self, use: Callable[[Reader], object], /) -> Entity | None:
        """Find out what the film is, without a slot; None: that can only be learnt by playing it.

        *use* is given what is waited for, to be closed from elsewhere. Raises the GatewayError for
        which it cannot be played at all.
        """

    def open(
        self,
        place: int,
        start: int,
        stop: int | None,
        resumed: Entity | None,
        use: Callable[[Reader], object],
        /,
    ) -> tuple[Reader, Entity]:
        """Return a reader of [start, stop), which *use* was given before anything was waited for.

        *resumed*: the film must still be this one. Raises as `Upstream.open` does.
        """


class Accounts:
    """The profiles, which are accounts with one provider; what is known of its films."""

    def __init__(
        self,
        profiles: Sequence[Profile],
        *,
        patience: Patience,
        max_streams: int,
        probe_slots: int,
        tally: Tally,
    ) -> None:
        self.tally, self.patience = tally, patience
        self.head_patience = replace(patience, first_byte_s=min(_HEAD_S, patience.first_byte_s))
        self.metadata = Metadata()
        self.profiles = tuple(profiles)
        self.pools = [pools for _, pools in candidates(profiles)]
        self.everybody = Pool("global", max_streams)
        self.probe_slots = probe_slots

    def source(self, film: Film, user: VodUser, agent: str) -> Source:
        """Return where *user* gets *film*. Raises NoSuchFilm where there is no account."""
        if not self.profiles:
            raise NoSuchFilm(f"there is no account with a VOD provider to get {film.words} from")
        return _AccountSource(self, film, user, agent)


class _AccountSource:
    def __init__(self, accounts: Accounts, film: Film, user: VodUser, agent: str) -> None:
        self._accounts, self._film, self._user, self._agent = accounts, film, user, agent
        self.words = film.words

    def candidates(self) -> Sequence[tuple[Pool, ...]]:
        everybody = self._accounts.everybody
        return [(self._user.pool, *pools, everybody) for pools in self._accounts.pools]

    def probes(self) -> Sequence[tuple[Pool, ...]]:
        slots = self._accounts.probe_slots
        profiles = self._accounts.profiles if slots else ()
        return [(self._user.pool, Pool(f"probe:{one.name}", slots)) for one in profiles]

    def name(self, place: int) -> str | None:
        return self._accounts.profiles[place].name

    def known(self) -> Entity | None:
        return self._accounts.metadata.get(self._film)

    def learn(self, use: Callable[[Reader], object], /) -> Entity | None:
        metadata = self._accounts.metadata
        for _ in range(2):
            # Several at once ask the provider once; it may count this as a connection.
            with metadata.learning(self._film, self._accounts.head_patience.first_byte_s) as mine:
                if (entity := self.known()) is not None:
                    return entity
                if mine:
                    return self._ask(use)
        return None

    def _ask(self, use: Callable[[Reader], object]) -> Entity | None:
        for profile in self._accounts.profiles:
            upstream = self._upstream(profile, self._accounts.head_patience)
            use(upstream)
            try:
                entity = upstream.head(self._url(profile))
            except (NoSuchFilm, Interrupted):
                raise
            except GatewayError:
                continue  # full, or does not know HEAD: the next one, or playing it, will tell
            entity = typed(entity, self._film.extension)
            self._accounts.metadata.put(self._film, entity)
            return entity
        return None

    def open(
        self,
        place: int,
        start: int,
        stop: int | None,
        resumed: Entity | None,
        use: Callable[[Reader], object],
    ) -> tuple[Reader, Entity]:
        profile, metadata = self._accounts.profiles[place], self._accounts.metadata
        upstream = self._upstream(profile, self._accounts.patience)
        use(upstream)
        # Those who come meanwhile for what is not known yet learn it from this answer.
        with metadata.learning(self._film, 0.0):
            try:
                entity = upstream.open(self._url(profile), start, stop, resumed)
            except (NoSuchFilm, FilmChanged, ProtocolError):
                metadata.forget(self._film)
                raise
            entity = typed(entity, self._film.extension)
            metadata.put(self._film, entity)
        return upstream, entity

    def _url(self, profile: Profile) -> str:
        return profile.stream_url(self._film.kind, self._film.number, self._film.extension)

    def _upstream(self, profile: Profile, patience: Patience) -> Upstream:
        return Upstream(
            profile.name,
            self.words,
            patience=patience,
            agent=self._agent,
            tally=self._accounts.tally,
        )

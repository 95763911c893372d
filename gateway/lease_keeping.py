"""The lease store and its keeper, built from the settings."""

from __future__ import annotations

from gateway.errors import ConfigurationError
from gateway.leases.held import OnStoreError
from gateway.leases.keeper import Keeper
from gateway.leases.lease import LeaseStore
from gateway.leases.memory import MemoryLeases
from gateway.leases.redis import RedisLeases
from gateway.settings import Settings


def lease_store(settings: Settings) -> LeaseStore:
    """Return the store: in memory, or on the server of REDIS_URL. Raises ConfigurationError."""
    if settings.redis_url is None:
        return MemoryLeases(ttl_s=settings.lease_ttl)
    try:
        return RedisLeases.from_url(
            settings.redis_url.get_secret_value(),
            ttl_s=settings.lease_ttl,
            recover_s=settings.lease_ttl / 2,
        )
    except ConfigurationError as exc:
        raise ConfigurationError(f"GATEWAY_REDIS_URL: {exc}") from exc


def keeper_of(settings: Settings, leases: LeaseStore) -> Keeper:
    """Return the keeper of what this process holds in *leases*; it has begun."""
    return Keeper(
        leases,
        ttl_s=settings.lease_ttl,
        heartbeat_s=settings.lease_ttl / 4,
        grace_s=settings.grace,
        on_store_error=OnStoreError(settings.on_store_error),
    )

"""The accounts with the providers, their connections and slots, built from the settings."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Sequence

from gateway.errors import ConfigurationError
from gateway.leases.held import OnStoreError
from gateway.leases.lease import LeaseStore
from gateway.settings import Settings
from gateway.settings_parts import ProviderSettings
from gateway.slots import ProviderSlots, SlotTimes
from gateway.usenet.client import Account, UsenetClient
from gateway.usenet.rules import Rules

log = logging.getLogger(__name__)


def accounts_of(settings: Settings) -> list[Account]:
    """Return the accounts, in the order in which the settings name them."""
    return [_account(name, one) for name, one in settings.providers.items()]


def client_of(settings: Settings, accounts: Sequence[Account], rules: Rules) -> UsenetClient:
    """Return what talks to the providers of *accounts*, shared as *rules* say."""
    # Time enough within a read for a second provider to be asked, and a third.
    patience_s = settings.read_timeout / 3
    return UsenetClient(
        accounts,
        rules.make(),
        stall_s=patience_s,
        connect_timeout_s=min(10.0, patience_s),
    )


def slots_of(settings: Settings, leases: LeaseStore, usenet: UsenetClient) -> ProviderSlots | None:
    """Return what claims connections in *leases*, if several gateways share the accounts."""
    if settings.redis_url is None:
        return None
    return ProviderSlots(
        leases,
        usenet.pools.values(),
        times=SlotTimes(settings.lease_ttl),
        on_store_error=OnStoreError(settings.on_store_error),
    )


def _account(name: str, provider: ProviderSettings) -> Account:
    return Account(
        name,
        provider.host,
        provider.effective_port,
        _tls(name, provider) if provider.tls else None,
        provider.username,
        provider.password.get_secret_value() if provider.password else None,
        provider.connections,
        provider.priority,
        provider.backup,
        provider.pipeline,
    )


def _tls(name: str, provider: ProviderSettings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not provider.tls_verify:
        log.warning("%s: the certificate is not verified (TLS_VERIFY is false)", name)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif not context.cert_store_stats()["x509_ca"]:
        raise ConfigurationError(
            "this machine has no certificates of authorities to verify a provider's by: "
            "install ca-certificates"
        )
    return context

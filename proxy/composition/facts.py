"""Opens the facts that rules need beside the page: advisories, licences, decisions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from proxy.composition.policies import Epoch, Knowledge
from proxy.config import Settings
from proxy.events import Observer
from proxy.model import ProjectName
from proxy.policies import ParsedPages
from proxy.storage import Records

if TYPE_CHECKING:
    from proxy.advisories import Advisory, AdvisoryRefresher
    from proxy.config import HookTable
    from proxy.facts import DecisionFacts


def open_knowledge(
    settings: Settings,
    records: Records,
    epoch: Epoch,
    events: Observer,
    advisories: AdvisoryRefresher | None,
    stack: AsyncExitStack,
    clock: Callable[[], float],
    parsed_pages: ParsedPages,
) -> Knowledge:
    """Facts are collected until the end of ``stack``."""

    def about(project: ProjectName) -> Sequence[Advisory]:
        return advisories.about(project) if advisories else ()

    known = Knowledge(epoch, clock, about=about, parsed_pages=parsed_pages)
    if not settings.all_policies:
        return known
    from proxy.facts import AttestationVerifier, LicenceFacts, ProvenanceFacts  # not at every start

    licences = LicenceFacts(records, epoch.grow, clock)
    stack.push_async_callback(licences.close)
    provenance = ProvenanceFacts(
        AttestationVerifier(settings.provenance_root),
        records,
        epoch.grow,
        timeout=settings.page_timeout,
        clock=clock,
    )
    stack.push_async_callback(provenance.close)
    for listener in (licences.read_again, provenance.read_again):
        _listen(epoch, listener, stack)
    decisions = _Decisions(settings, records, epoch, events, stack, clock)
    return replace(known, licences=licences, decisions=decisions.of, provenance=provenance)


class _Decisions:
    """The decisions of each service, which several indexes may share."""

    def __init__(
        self,
        settings: Settings,
        records: Records,
        epoch: Epoch,
        events: Observer,
        stack: AsyncExitStack,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._records = records
        self._epoch = epoch
        self._events = events
        self._stack = stack
        self._clock = clock
        self._opened: list[tuple[HookTable, DecisionFacts]] = []

    def of(self, table: HookTable) -> DecisionFacts:
        for known, facts in self._opened:
            if known is table:
                return facts
        facts = self._open(table)
        self._opened.append((table, facts))
        return facts

    def _open(self, table: HookTable) -> DecisionFacts:
        from proxy.facts import DecisionFacts

        url = str(table.url)
        from proxy.upstream import Poster  # most servers ask no service

        service = Poster("hook", url, timeout=table.timeout, ca_bundle=self._settings.ca_bundle)
        facts = DecisionFacts(
            service,
            self._records,
            self._epoch.grow,
            self._events,
            key=hashlib.sha256(url.encode()).hexdigest()[:8],
            ttl=table.ttl,
            secret=table.secret.get_secret_value() if table.secret else "",
            allows_on_failure=table.on_failure == "allow",
            whole_pages=table.scope == "page",
            clock=self._clock,
        )
        _listen(self._epoch, facts.read_again, self._stack)
        self._stack.push_async_callback(service.close)
        self._stack.push_async_callback(facts.close)
        return facts


def _listen(epoch: Epoch, listener: Callable[[ProjectName], None], stack: AsyncExitStack) -> None:
    epoch.listeners.append(listener)
    stack.callback(epoch.listeners.remove, listener)

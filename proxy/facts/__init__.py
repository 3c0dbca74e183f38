"""Facts of single files that need I/O: collected by tasks, looked up by rules."""

from proxy.facts.fact_store import StoredFacts
from proxy.facts.hook_decisions import DecisionFacts
from proxy.facts.licence_facts import LicenceFacts
from proxy.facts.provenance_facts import MAX_PROVENANCE, AttestationVerifier, ProvenanceFacts

__all__ = [
    "MAX_PROVENANCE",
    "AttestationVerifier",
    "DecisionFacts",
    "LicenceFacts",
    "ProvenanceFacts",
    "StoredFacts",
]

"""Facts of single files that need I/O: collected by tasks, looked up by rules."""

from proxy.facts.decisions import DecisionFacts
from proxy.facts.licences import LicenceFacts
from proxy.facts.provenance import AttestationVerifier, ProvenanceFacts
from proxy.facts.store import StoredFacts

__all__ = ["AttestationVerifier", "DecisionFacts", "LicenceFacts", "ProvenanceFacts", "StoredFacts"]

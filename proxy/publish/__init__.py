"""Publishing to local indexes: uploads, their checks, and the journal of changes."""

from proxy.publish.checks import FormFields, Release, check_archive, check_digests, check_form
from proxy.publish.incoming import Incoming
from proxy.publish.journal import Action, Change, Journal
from proxy.publish.publisher import Editor, Limits, Publisher
from proxy.publish.upkeep import Selection, Upkeep

__all__ = [
    "Action",
    "Change",
    "Editor",
    "FormFields",
    "Incoming",
    "Journal",
    "Limits",
    "Publisher",
    "Release",
    "Selection",
    "Upkeep",
    "check_archive",
    "check_digests",
    "check_form",
]

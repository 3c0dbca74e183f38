"""Publishing to local indexes: uploads, their checks, and the journal of changes."""

from proxy.publish.base import ChangeJournal, Content, KeptPackages, PackageStore, Prepare
from proxy.publish.directory_packages import DirectoryPackages
from proxy.publish.incoming import IncomingUpload
from proxy.publish.journal import PRIVATE_FOLDER, PackageJournal
from proxy.publish.objects import ObjectIndex, ObjectLog, ObjectPackages
from proxy.publish.outgoing import is_conflict, outgoing_form, signature_of
from proxy.publish.package_changes import Action, PackageChange, yank_detail
from proxy.publish.package_files import path_of, write_durably
from proxy.publish.past_index import PastIndex
from proxy.publish.past_states import Snapshot
from proxy.publish.promotion import Promotion
from proxy.publish.publisher import Editor, Limits, MakeProvenance, Publisher, listed_file
from proxy.publish.snapshots import Snapshots
from proxy.publish.upkeep import Selection, Upkeep
from proxy.publish.upload_checks import (
    FormFields,
    UploadedRelease,
    check_archive,
    check_digests,
    check_form,
)

__all__ = [
    "PRIVATE_FOLDER",
    "Action",
    "ChangeJournal",
    "Content",
    "DirectoryPackages",
    "Editor",
    "FormFields",
    "IncomingUpload",
    "KeptPackages",
    "Limits",
    "MakeProvenance",
    "ObjectIndex",
    "ObjectLog",
    "ObjectPackages",
    "PackageChange",
    "PackageJournal",
    "PackageStore",
    "PastIndex",
    "Prepare",
    "Promotion",
    "Publisher",
    "Selection",
    "Snapshot",
    "Snapshots",
    "Upkeep",
    "UploadedRelease",
    "check_archive",
    "check_digests",
    "check_form",
    "is_conflict",
    "listed_file",
    "outgoing_form",
    "path_of",
    "signature_of",
    "write_durably",
    "yank_detail",
]

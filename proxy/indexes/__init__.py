"""Indexes: each answers which projects, which page, which file. Indexes are made of indexes."""

from typing import TYPE_CHECKING

from proxy import late_names
from proxy.indexes.base import CheckFile, Index, PrivateIndex
from proxy.indexes.explanation import Explanation, Step
from proxy.indexes.fallthrough import Fallthrough
from proxy.indexes.guarded import Guarded
from proxy.indexes.judged import Judged
from proxy.indexes.listing import LongList, listed_projects, names_containing
from proxy.indexes.local import KeptFiles, LocalDirectory, is_zip, page_of_files, yank_reason
from proxy.indexes.merged import Merged
from proxy.indexes.mirror.history import (
    DigestHistory,
)
from proxy.indexes.mirror.lazy_download import FileDownloads
from proxy.indexes.mirror.mirror import (
    Mirror,
    PageSource,
)
from proxy.indexes.mirror.mirror_options import MirrorOptions, MirrorStorage
from proxy.indexes.mirror.mirrored_files import MirrorFiles
from proxy.indexes.mirror.mirrored_pages import (
    MirrorPages,
    OfflinePages,
)
from proxy.indexes.mirror.mirrored_siblings import MirrorSiblings
from proxy.indexes.mirror.other_addresses import OtherAddresses
from proxy.indexes.mirror.page_cache import Lifetimes, PageCache
from proxy.indexes.mirror.page_reading import PageReader
from proxy.indexes.mirror.project_documents import ProjectDocuments
from proxy.indexes.mirror.removed_files import RemovedFiles
from proxy.indexes.mirror.upstream_list import UpstreamList
from proxy.indexes.routed import Route, Routed, deny, reserve

if TYPE_CHECKING:
    from proxy.indexes.page_files import NO_BASE, PageFiles
    from proxy.indexes.releases.listings import Listings
    from proxy.indexes.releases.release_index import ReleaseIndex, ReleaseRules
else:  # what a start without such settings does not need
    __getattr__ = late_names(__name__, "page_files", "releases.listings", "releases.release_index")

__all__ = [
    "NO_BASE",
    "CheckFile",
    "DigestHistory",
    "Explanation",
    "Fallthrough",
    "FileDownloads",
    "Guarded",
    "Index",
    "Judged",
    "KeptFiles",
    "Lifetimes",
    "Listings",
    "LocalDirectory",
    "LongList",
    "Merged",
    "Mirror",
    "MirrorFiles",
    "MirrorOptions",
    "MirrorPages",
    "MirrorSiblings",
    "MirrorStorage",
    "OfflinePages",
    "OtherAddresses",
    "PageCache",
    "PageFiles",
    "PageReader",
    "PageSource",
    "PrivateIndex",
    "ProjectDocuments",
    "ReleaseIndex",
    "ReleaseRules",
    "RemovedFiles",
    "Route",
    "Routed",
    "Step",
    "UpstreamList",
    "deny",
    "is_zip",
    "listed_projects",
    "names_containing",
    "page_of_files",
    "reserve",
    "yank_reason",
]

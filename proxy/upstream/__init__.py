"""Requests to upstream indexes: pages, files, and the downloads that many readers share."""

from typing import TYPE_CHECKING

from proxy import late_names
from proxy.upstream.address_rules import Addresses
from proxy.upstream.answers import (
    ANY_TAG,
    Body,
    ProjectListAnswer,
    UpstreamOrigin,
)
from proxy.upstream.connections import open_transport
from proxy.upstream.credentials import (
    Credentials,
    find_credentials,
    mask,
    token_for,
    without_userinfo,
)
from proxy.upstream.digest_check import (
    DigestCheck,
    computed,
)
from proxy.upstream.downloads import (
    Download,
    Downloads,
    Expected,
    RunningDownload,
)
from proxy.upstream.headers import (
    delta_seconds,
    directives,
)
from proxy.upstream.mirrors import Mirrors
from proxy.upstream.peers import Peer, PeerFile, Peers, peer_problem
from proxy.upstream.remote import (
    NotModified,
    Remote,
    UpstreamDocument,
    Validators,
    fingerprint,
)
from proxy.upstream.remote_index import RemoteIndex
from proxy.upstream.spool import Spool
from proxy.upstream.traffic import (
    BreakerState,
    InFlight,
    NotStored,
    TooManyRequests,
    UpstreamTrace,
    ask_no_upstream,
    may_ask_upstream,
    require_permit,
    set_permit,
)
from proxy.upstream.transport import (
    Transport,
    probe,
)
from proxy.upstream.upstream_options import Timeouts, UpstreamOptions

if TYPE_CHECKING:
    from proxy.upstream.first_site import (
        RELAY_MARK,
        ChangeFeed,
        FeedChange,
        RelayedAnswer,
        UploadRelay,
    )
    from proxy.upstream.json_services import DocumentFetcher, Poster
    from proxy.upstream.release_api import ApiPage, ReleaseApi
    from proxy.upstream.upload_client import (
        OutgoingUpload,
        UploadAnswer,
        UploadClient,
        check_upload_url,
    )
    from proxy.upstream.webhook_client import WebhookClient
else:  # what a start without such settings does not need
    __getattr__ = late_names(
        __name__, "first_site", "json_services", "release_api", "upload_client", "webhook_client"
    )

__all__ = [
    "ANY_TAG",
    "RELAY_MARK",
    "Addresses",
    "ApiPage",
    "Body",
    "BreakerState",
    "ChangeFeed",
    "Credentials",
    "DigestCheck",
    "DocumentFetcher",
    "Download",
    "Downloads",
    "Expected",
    "FeedChange",
    "InFlight",
    "Mirrors",
    "NotModified",
    "NotStored",
    "OutgoingUpload",
    "Peer",
    "PeerFile",
    "Peers",
    "Poster",
    "ProjectListAnswer",
    "RelayedAnswer",
    "ReleaseApi",
    "Remote",
    "RemoteIndex",
    "RunningDownload",
    "Spool",
    "Timeouts",
    "TooManyRequests",
    "Transport",
    "UploadAnswer",
    "UploadClient",
    "UploadRelay",
    "UpstreamDocument",
    "UpstreamOptions",
    "UpstreamOrigin",
    "UpstreamTrace",
    "Validators",
    "WebhookClient",
    "ask_no_upstream",
    "check_upload_url",
    "computed",
    "delta_seconds",
    "directives",
    "find_credentials",
    "fingerprint",
    "mask",
    "may_ask_upstream",
    "open_transport",
    "peer_problem",
    "probe",
    "require_permit",
    "set_permit",
    "token_for",
    "without_userinfo",
]

"""Runtime: threads, files, processes and memory. Knows nothing of packages."""

from proxy.runtime.background import (
    BackgroundQueue,
    Batches,
    SingleFlight,
    end_tasks,
    for_each,
)
from proxy.runtime.bounded_dict import BoundedDict
from proxy.runtime.file_io import (
    MAX_READ,
    PIECE_SIZE,
    create_private_file,
    in_thread,
    is_in_page_cache,
    open_spool,
    read_buffer,
    read_piece,
    remove_abandoned,
)
from proxy.runtime.file_lock import try_lock
from proxy.runtime.heavy_work import (
    compress,
    compress_pieces,
    decompress,
    decompress_pieces,
    return_large_memory,
    run_in_worker,
    sha256_in_background,
)
from proxy.runtime.log_format import (
    LineHandler,
    configure_logging,
    count_text,
    parse_seconds,
    printable_text,
    size_text,
    timestamp_text,
)
from proxy.runtime.shared_memory import (
    SharedCounters,
    new_memory,
)

__all__ = [
    "MAX_READ",
    "PIECE_SIZE",
    "BackgroundQueue",
    "Batches",
    "BoundedDict",
    "LineHandler",
    "SharedCounters",
    "SingleFlight",
    "compress",
    "compress_pieces",
    "configure_logging",
    "count_text",
    "create_private_file",
    "decompress",
    "decompress_pieces",
    "end_tasks",
    "for_each",
    "in_thread",
    "is_in_page_cache",
    "new_memory",
    "open_spool",
    "parse_seconds",
    "printable_text",
    "read_buffer",
    "read_piece",
    "remove_abandoned",
    "return_large_memory",
    "run_in_worker",
    "sha256_in_background",
    "size_text",
    "timestamp_text",
    "try_lock",
]

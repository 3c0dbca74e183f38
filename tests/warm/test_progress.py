"""What people see of how far it has got."""

from __future__ import annotations

import io

from proxy.model import ProjectName
from proxy.requirements.model import NeededFile
from proxy.warm.progress import BarDisplay, Display, LineDisplay, NoDisplay, choose_display

NEEDS = [
    NeededFile(ProjectName("top"), f"top-{n}-py3-none-any.whl", "-", 1_000_000) for n in (1, 2)
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def fetch(shown: Display, tick: list[float]) -> None:
    shown.say("resolving [top]")
    with shown.fetching(NEEDS):
        for need in NEEDS:
            shown.begin(need)
            for _ in range(2):
                tick[0] += 2.0
                shown.advance(need, 500_000)
            shown.end(need)


def test_lines_show_files_bytes_rate_and_time_left() -> None:
    to, tick = io.StringIO(), [0.0]
    fetch(LineDisplay(to, lambda: tick[0]), tick)
    lines = to.getvalue().splitlines()
    assert lines[0] == "resolving [top]"
    assert lines[1] == "0 of 2 files, 0 bytes of 2.0 MB"
    assert lines[2] == "0 of 2 files, 500.0 kB of 2.0 MB, 250.0 kB/s, 6 s left"
    assert lines[-1] == "2 of 2 files, 2.0 MB of 2.0 MB, 250.0 kB/s, 0 s left"
    assert "\r" not in to.getvalue() and "\x1b" not in to.getvalue()


def test_cached_files_do_not_count_for_the_time_left() -> None:
    to = io.StringIO()
    shown = LineDisplay(to, lambda: 1.0)
    with shown.fetching(NEEDS):
        for need in NEEDS:
            shown.end(need)
    assert to.getvalue().splitlines()[-1] == "2 of 2 files, 2.0 MB of 2.0 MB"


def test_a_terminal_gets_bars() -> None:
    to = Terminal()
    shown = choose_display(to)
    assert isinstance(shown, BarDisplay)
    fetch(shown, [0.0])
    assert "2 files" in to.getvalue() and "resolving [top]" in to.getvalue()


def test_quiet_is_silent() -> None:
    to = Terminal()
    shown = choose_display(to, quiet=True)
    assert isinstance(shown, NoDisplay)
    fetch(shown, [0.0])
    assert not to.getvalue()

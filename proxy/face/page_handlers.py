"""The handlers of all pages: each is imported and made when it is first asked for.

Most servers answer installers for days before a person opens a page, and must start fast.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import TYPE_CHECKING

from proxy.face.shell import Shell

if TYPE_CHECKING:
    from proxy.face.activity import ActivityPages
    from proxy.face.admin_page import AdminPage
    from proxy.face.audit_page import AuditPage
    from proxy.face.dependencies import DependencyPages
    from proxy.face.descriptions import Descriptions
    from proxy.face.fixed_pages import FixedPages
    from proxy.face.home_page import HomePage
    from proxy.face.indexer import Indexer
    from proxy.face.past_figures import History
    from proxy.face.project import ProjectPages
    from proxy.face.recent import Recent
    from proxy.face.search_page import SearchPage
    from proxy.face.tokens_page import TokensPage
    from proxy.face.upload_page import UploadPage
    from proxy.face.why import WhyPages
    from proxy.storage import SearchFile


class PageHandlers:
    """Routes name its attributes: ``home.page`` is the method ``page`` of ``home``."""

    def __init__(
        self,
        shell: Shell,
        search: SearchFile,
        indexer: Indexer,
        descriptions: Descriptions,
        past: History,
        recent: Recent,
    ) -> None:
        self.shell = shell
        self._search = search
        self._indexer = indexer
        self._descriptions = descriptions
        self._past = past
        self._recent = recent
        self._closers: list[Callable[[], Awaitable[None]]] = []

    async def close(self) -> None:
        """Close what the handlers that were made have opened."""
        for close in self._closers:
            await close()

    @cached_property
    def activity(self) -> ActivityPages:
        from proxy.face.activity import ActivityPages

        around = self.shell.around
        made = ActivityPages(
            self.shell, self._past, self._recent, around.cache_size, around.cache_limit
        )
        self._closers.append(made.close)
        return made

    @cached_property
    def admin(self) -> AdminPage:
        from proxy.face.admin_page import AdminPage

        return AdminPage(self.shell, self.shell.around.administration)

    @cached_property
    def audit(self) -> AuditPage:
        from proxy.face.audit_page import AuditPage

        return AuditPage(self.shell, self.shell.around.audit_folder)

    @cached_property
    def dependencies(self) -> DependencyPages:
        from proxy.face.dependencies import DependencyPages

        return DependencyPages(self.shell, self._search, self._descriptions)

    @cached_property
    def fixed(self) -> FixedPages:
        from proxy.face.fixed_pages import FixedPages

        return FixedPages(self.shell)

    @cached_property
    def home(self) -> HomePage:
        from proxy.face.home_page import HomePage

        return HomePage(self.shell, self._search, self._indexer, self.activity, self._recent)

    @cached_property
    def projects(self) -> ProjectPages:
        from proxy.face.descriptions import Readmes
        from proxy.face.project import ProjectPages

        readmes = Readmes()
        self._closers.append(readmes.close)
        return ProjectPages(self.shell, self._descriptions, readmes, self._recent)

    @cached_property
    def search(self) -> SearchPage:
        from proxy.face.search_page import SearchPage

        return SearchPage(self.shell, self._search, self._indexer)

    @cached_property
    def tokens(self) -> TokensPage:
        from proxy.face.tokens_page import TokensPage

        around = self.shell.around
        made = TokensPage(self.shell, around.token_store, around.token_max_age)
        self._closers.append(made.close)
        return made

    @cached_property
    def upload(self) -> UploadPage:
        from proxy.face.upload_page import UploadPage

        return UploadPage(self.shell)

    @cached_property
    def why(self) -> WhyPages:
        from proxy.face.why import WhyPages

        return WhyPages(self.shell)

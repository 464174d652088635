"""Who is calling, and what they may see and do. The web builds a Caller from a token or key; services judge by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from payflow.core.errors import Forbidden, NotFound
from payflow.store.queries import Visibility


@dataclass(frozen=True, slots=True)
class Membership:
    """What a token says of one workspace."""

    name: str
    role: str
    """`admin` or `member`."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller."""

    user_id: str
    email: str = ""
    name: str = ""
    locale: str | None = None
    """The language it wants messages in, as messages know it (`fr-CA`)."""
    workspaces: Mapping[str, Membership] = field(default_factory=dict)
    is_operator: bool = False
    is_service: bool = False
    """A service key: the booking platform's own server."""
    service_workspace: str | None = None
    """The one workspace a service key may act for; None = all."""
    is_read_only: bool = False
    """A service key that may look but change nothing."""

    @property
    def actor(self) -> str:
        """How history names the caller."""
        return f"{'key' if self.is_service else 'user'}:{self.user_id}"

    def administers(self, workspace_id: str) -> bool:
        """Whether the caller may see and decide for everyone in that workspace."""
        if self.is_operator:
            return True
        if self.is_service:
            return self.service_workspace in (None, workspace_id)
        membership = self.workspaces.get(workspace_id)
        return membership is not None and membership.role == "admin"

    def may_see(self, *, user_id: str, workspace_id: str) -> bool:
        return (not self.is_service and self.user_id == user_id) or self.administers(workspace_id)

    def must_see(self, *, user_id: str, workspace_id: str) -> None:
        """NotFound unless the object is the caller's: somebody else's object does not exist."""
        if not self.may_see(user_id=user_id, workspace_id=workspace_id):
            raise NotFound

    def must_administer(self, *, user_id: str, workspace_id: str) -> None:
        """NotFound for strangers, Forbidden for the customer itself, silence for staff."""
        self.must_see(user_id=user_id, workspace_id=workspace_id)
        if not self.administers(workspace_id):
            raise Forbidden("This needs an administrator of the workspace or an operator.")

    @property
    def all_workspaces(self) -> bool:
        return self.is_operator or (self.is_service and self.service_workspace is None)

    @property
    def administered(self) -> list[str]:
        """The workspaces whose rows the caller sees besides its own."""
        if self.is_service:
            return [self.service_workspace] if self.service_workspace else []
        return sorted(key for key, membership in self.workspaces.items() if membership.role == "admin")

    @property
    def visibility(self) -> Visibility:
        """The same rule as `may_see`, for reading many rows at once."""
        return Visibility(
            user_id=None if self.is_service else self.user_id,
            workspace_ids=tuple(self.administered),
            everything=self.all_workspaces,
        )

    @property
    def staff_sight(self) -> Visibility:
        """Rows of workspaces the caller decides for, its own left out."""
        return Visibility(workspace_ids=tuple(self.administered), everything=self.all_workspaces)

    @property
    def is_staff(self) -> bool:
        """Whether there is any workspace the caller decides for."""
        return self.all_workspaces or bool(self.administered)

"""`/notifications/`: a user's in-app messages."""

from __future__ import annotations

from flask import Response

from web import schemas
from web.answers import answer, dump, tagged
from web.bodies import ById, NotificationQuery, PreferenceChange
from web.context import caller, web
from web.pages import links, read_cursor
from web.sections import problems, section

api = section("notifications", "/notifications", "Messages to the caller.")


@api.get("/", responses={"200": schemas.Notifications})
def list_notifications(query: NotificationQuery) -> Response:
    """List the caller's messages, newest first, with `unread_count`"""
    queries, user_id = web().queries, caller().user_id
    page = queries.notifications(
        user_id, size=query.page_size, unread_only=query.unread, cursor=read_cursor(query.cursor)
    )
    unread = queries.unread_count(user_id)
    return tagged(
        dump(schemas.Notifications.model_validate({**links(page), "unread_count": unread, "results": page.rows}))
    )


@api.post("/<uuid:id>/read/", responses={"200": schemas.Read})
def read_notification(path: ById) -> Response:
    """Mark a message read"""
    web().container.notifications.mark_read(caller(), str(path))
    return answer(schemas.Read(marked=1))


@api.post("/read-all/", responses={"200": schemas.Read})
def read_all_notifications() -> Response:
    """Mark all messages read"""
    return answer(schemas.Read(marked=web().container.notifications.mark_all_read(caller())))


@api.get("/preferences/", responses={"200": schemas.Preferences, **problems(403)})
def show_preferences() -> Response:
    """Show what the caller hears of, and in which language"""
    return answer(schemas.Preferences.model_validate(web().container.preferences.read(caller())))


@api.patch("/preferences/", responses={"200": schemas.Preferences, **problems(403)})
def change_preferences(body: PreferenceChange) -> Response:
    """Change what the caller hears of, and in which language"""
    changes = body.model_dump(mode="json", exclude_unset=True)
    return answer(schemas.Preferences.model_validate(web().container.preferences.change(caller(), changes)))

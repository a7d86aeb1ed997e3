"""Workplace messages: users and contacts, and one inbox of messages sent by whoever is logged in.

At parity with MessageAPI of bfcl_eval 2026.3.23, quirks included: the inbox knows no senders, so every user
sees all of it; a message id comes wrapped as ``{"new_id": ...}``; deleting leaves `message_count` as it is and,
where two messages are equal, removes the older; a failing `add_contact` may still use up a user number; and
messages loaded as lists instead of text raise when searched.
"""

from __future__ import annotations

import random
from functools import cached_property
from typing import TYPE_CHECKING, Any

from env_tuning.environments.tool_class import ToolClass

if TYPE_CHECKING:
    from env_tuning.environments.bfcl.long_context import LongContext

_USERS = (("Alice", "USR001"), ("Bob", "USR002"), ("Catherine", "USR003"), ("Daniel", "USR004"))
_INBOX = (
    ("USR002", "My name is Alice. I want to connect."),
    ("USR003", "Could you upload the file?"),
    ("USR004", "Could you upload the file?"),
)
_SEED = 200191
_NO_USER = "No user is currently logged in."


class MessageAPI(ToolClass):
    """A workspace's users and the messages sent in it."""

    def __init__(self, config: dict[str, Any], long_context: LongContext | None = None) -> None:
        """Load users, inbox, counters and the current user; each is optional."""
        self.generated_ids: set[int] = config.get("generated_ids", set())
        self.user_count: int = config.get("user_count", 4)
        self.user_map: dict[str, str] = config["user_map"] if "user_map" in config else dict(_USERS)
        self.inbox: list[dict[str, Any]] = (
            config["inbox"] if "inbox" in config else [{receiver: text} for receiver, text in _INBOX]
        )
        self.message_count: int = config.get("message_count", 3)
        self.current_user: str | None = config.get("current_user")
        self._seed: Any = config.get("random_seed", _SEED)

    def list_users(self) -> dict[str, list[str]]:
        """List the names of all users."""
        return {"user_list": list(self.user_map.keys())}

    def get_user_id(self, user: str) -> dict[str, str | None]:
        """Look up a user's id by name."""
        if user not in self.user_map:
            return {"error": f"User '{user}' not found in the workspace."}
        return {"user_id": self.user_map.get(user)}

    def message_login(self, user_id: str) -> dict[str, str | bool]:
        """Log in by user id, without a password."""
        if user_id not in self.user_map.values():
            return {"login_status": False, "message": f"User ID '{user_id}' not found."}
        self.current_user = user_id
        return {"login_status": True, "message": f"User '{user_id}' logged in successfully."}

    def message_get_login_status(self) -> dict[str, bool]:
        """Tell whether somebody is logged in."""
        return {"login_status": bool(self.current_user)}

    def send_message(self, receiver_id: str, message: str) -> dict[str, Any]:
        """Send a message to a user by id."""
        if not self.current_user:
            return {"error": _NO_USER}
        if receiver_id not in self.user_map.values():
            return {"error": f"Receiver ID '{receiver_id}' not found."}
        message_id = self._new_id()
        self.inbox.append({receiver_id: message})
        self.message_count += 1
        return {
            "sent_status": True,
            "message_id": {"new_id": message_id},
            "message": f"Message sent to '{receiver_id}' successfully.",
        }

    def delete_message(self, receiver_id: str) -> dict[str, Any]:
        """Delete the latest message to a receiver."""
        if not self.current_user:
            return {"error": _NO_USER}
        for record in self.inbox[::-1]:
            receiver, _ = _first_pair(record)
            if receiver == receiver_id:
                # By value, not by position: an equal, older message goes instead.
                self.inbox.remove(record)
                return {
                    "deleted_status": True,
                    "receiver_id": receiver,
                    "message": f"Receiver {receiver_id}'s latest message deleted successfully.",
                }
        return {"error": f"Receiver ID {receiver_id} not found."}

    def view_messages_sent(self) -> dict[str, Any]:
        """Show all messages, grouped by receiver."""
        if not self.current_user:
            return {"error": _NO_USER}
        by_receiver: dict[str, list[Any]] = {}
        for receiver, content in map(_first_pair, self.inbox):
            by_receiver.setdefault(receiver, []).append(content)
        return {"messages": by_receiver}

    def add_contact(self, user_name: str) -> dict[str, Any]:
        """Add a user, under the next user number."""
        if user_name in self.user_map:
            return {"error": f"User name '{user_name}' already exists."}
        self.user_count += 1
        user_id = f"USR{str(self.user_count).zfill(3)}"
        if user_id in self.user_map.values():
            return {"error": f"User ID '{user_id}' already exists."}
        self.user_map[user_name] = user_id
        return {
            "added_status": True,
            "user_id": user_id,
            "message": f"Contact '{user_name}' added successfully.",
        }

    def search_messages(self, keyword: str) -> dict[str, Any]:
        """Find the messages that contain a text, in any case."""
        if not self.current_user:
            return {"error": _NO_USER}
        wanted = keyword.lower()
        return {
            "results": [
                {"receiver_id": receiver, "message": content}
                for receiver, content in map(_first_pair, self.inbox)
                if wanted in content.lower()
            ]
        }

    def get_message_stats(self) -> dict[str, Any]:
        """Count the messages and their different receivers."""
        if not self.current_user:
            return {"error": _NO_USER}
        receivers = [_first_pair(record)[0] for record in self.inbox]
        return {"stats": {"received_count": len(receivers), "total_contacts": len(set(receivers))}}

    def describe(self) -> dict[str, Any]:
        """The public state, with the set of generated ids as a sorted list."""
        state = self.public_state()
        if isinstance(self.generated_ids, set):
            state["generated_ids"] = sorted(self.generated_ids)
        return state

    def _new_id(self) -> int:
        new_id = self._random.randint(10000, 99999)
        while new_id in self.generated_ids:
            new_id = self._random.randint(10000, 99999)
        self.generated_ids.add(new_id)
        return new_id

    @cached_property
    def _random(self) -> random.Random:
        # Seeding costs more than the rest of loading, and few episodes send messages.
        return random.Random(self._seed)


def _first_pair(record: dict[str, Any]) -> tuple[str, Any]:
    """Receiver and content; a record's further pairs are never read."""
    return list(record.items())[0]  # noqa: RUF015 (an empty record must raise IndexError)

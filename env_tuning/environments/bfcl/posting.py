"""Tweets: post, retweet, comment, mention, follow and search as one user.

At parity with TwitterAPI of bfcl_eval 2026.3.23, quirks included: reading, searching and `mention` need no login;
comments loaded from JSON have text keys, which no tweet id finds; a tweet loaded without ``mentions`` raises when
somebody is mentioned in it. Tweets posted without ``mentions`` share one list, so a mention in one of them shows
in all of them: within one episode as in the benchmark, across episodes (where the benchmark leaks) never.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from env_tuning.environments import limits
from env_tuning.environments.tool_class import ToolClass

if TYPE_CHECKING:
    from env_tuning.environments.bfcl.long_context import LongContext

# Defaults of `post_tweet`, told apart from a caller's empty list by identity. Never stored, never changed.
_NO_TAGS: list[str] = []
_NO_MENTIONS: list[str] = []


class TwitterAPI(ToolClass):
    """A timeline of tweets and the one user who may log in."""

    def __init__(self, config: dict[str, Any], long_context: LongContext | None = None) -> None:
        """Load the user, the tweets (their ids become ints) and the next id; each is optional."""
        self.username: str = config.get("username", "john")
        self.password: str = config.get("password", "john123")
        self.authenticated: bool = config.get("authenticated", False)
        self.tweets: dict[int, dict[str, Any]] = {int(key): tweet for key, tweet in config.get("tweets", {}).items()}
        self.comments: dict[int, list[dict[str, Any]]] = config.get("comments", {})
        self.retweets: dict[str, list[int]] = config.get("retweets", {})
        self.following_list: list[str] = config.get("following_list", ["alice", "bob"])
        self.tweet_counter: int = config.get("tweet_counter", 0)
        self._shared_mentions: list[str] = []

    def authenticate_twitter(self, username: str, password: str) -> dict[str, bool]:
        """Log in; only the user's own name and password are accepted."""
        matched = username == self.username and password == self.password
        if matched:
            self.authenticated = True
        return {"authentication_status": matched}

    def posting_get_login_status(self) -> dict[str, bool]:
        """Tell whether the user is logged in."""
        return {"login_status": bool(self.authenticated)}

    def post_tweet(
        self, content: str, tags: list[str] = _NO_TAGS, mentions: list[str] = _NO_MENTIONS
    ) -> dict[str, Any]:
        """Post a tweet under the next id."""
        if not self.authenticated:
            return _login_needed("posting")
        if mentions is _NO_MENTIONS:
            mentions = self._shared_mentions
        elif isinstance(mentions, list):
            # `mention` extends the stored list, and the caller's call must stay as it was written.
            mentions = list(mentions)
        tweet = {
            "id": self.tweet_counter,
            "username": self.username,
            "content": content,
            "tags": [] if tags is _NO_TAGS else tags,
            "mentions": mentions,
        }
        self.tweets[self.tweet_counter] = tweet
        self.tweet_counter += 1
        return tweet

    def retweet(self, tweet_id: int) -> dict[str, str]:
        """Retweet a tweet, once."""
        if not self.authenticated:
            return _login_needed("retweeting")
        if tweet_id not in self.tweets:
            return _not_found(tweet_id)
        if self.username not in self.retweets:
            self.retweets[self.username] = []
        own = self.retweets[self.username]
        if tweet_id in own:
            return {"retweet_status": "Already retweeted"}
        own.append(tweet_id)
        return {"retweet_status": "Successfully retweeted"}

    def comment(self, tweet_id: int, comment_content: str) -> dict[str, str]:
        """Comment on a tweet."""
        if not self.authenticated:
            return _login_needed("commenting")
        if tweet_id not in self.tweets:
            return _not_found(tweet_id)
        if tweet_id not in self.comments:
            self.comments[tweet_id] = []
        self.comments[tweet_id].append({"username": self.username, "content": comment_content})
        return {"comment_status": "Comment added successfully"}

    def mention(self, tweet_id: int, mentioned_usernames: list[str]) -> dict[str, str]:
        """Add users to a tweet's mentions."""
        if tweet_id not in self.tweets:
            return _not_found(tweet_id)
        mentions = self.tweets[tweet_id]["mentions"]
        mentions.extend(mentioned_usernames)
        if len(mentions) > limits.SHARED_MENTIONS:
            del mentions[limits.SHARED_MENTIONS :]
            raise limits.CostError(f"more than {limits.SHARED_MENTIONS} mentions of one tweet")
        return {"mention_status": "Users mentioned successfully"}

    def follow_user(self, username_to_follow: str) -> dict[str, Any]:
        """Follow a user; False if already followed."""
        if not self.authenticated:
            return _login_needed("following")
        is_new = username_to_follow not in self.following_list
        if is_new:
            self.following_list.append(username_to_follow)
        return {"follow_status": is_new}

    def list_all_following(self) -> dict[str, Any]:
        """List the users that the user follows."""
        if not self.authenticated:
            return _login_needed("listing following")
        return {"following_list": self.following_list}

    def unfollow_user(self, username_to_unfollow: str) -> dict[str, Any]:
        """Stop following a user; False if not followed."""
        if not self.authenticated:
            return _login_needed("unfollowing")
        was_followed = username_to_unfollow in self.following_list
        if was_followed:
            self.following_list.remove(username_to_unfollow)
        return {"unfollow_status": was_followed}

    def get_tweet(self, tweet_id: int) -> dict[str, Any]:
        """Show one tweet."""
        return self.tweets[tweet_id] if tweet_id in self.tweets else _not_found(tweet_id)

    def get_user_tweets(self, username: str) -> list[dict[str, Any]]:
        """List a user's tweets."""
        return [tweet for tweet in self.tweets.values() if tweet["username"] == username]

    def search_tweets(self, keyword: str) -> list[dict[str, Any]]:
        """List the tweets that contain the keyword, or have it as a tag; case does not matter."""
        return [tweet for tweet in self.tweets.values() if _is_about(tweet, keyword)]

    def get_tweet_comments(self, tweet_id: int) -> list[dict[str, Any]] | dict[str, str]:
        """List a tweet's comments."""
        if tweet_id not in self.tweets:
            return _not_found(tweet_id)
        return self.comments.get(tweet_id, [])

    def get_user_stats(self, username: str) -> dict[str, int]:
        """Count a user's tweets and retweets, and whom the user follows if it is the current one."""
        return {
            "tweet_count": len(self.get_user_tweets(username)),
            "following_count": len(self.following_list) if username == self.username else 0,
            "retweet_count": len(self.retweets.get(username, [])),
        }


def _is_about(tweet: dict[str, Any], keyword: str) -> bool:
    lowered = keyword.lower()
    return lowered in tweet["content"].lower() or lowered in [tag.lower() for tag in tweet["tags"]]


def _login_needed(action: str) -> dict[str, str]:
    return {"error": f"User not authenticated. Please authenticate before {action}."}


def _not_found(tweet_id: int) -> dict[str, str]:
    return {"error": f"Tweet with ID {tweet_id} not found."}

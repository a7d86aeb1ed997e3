"""Hints of TwitterAPI: authenticate first, and ids of tweets that exist."""

from __future__ import annotations

from env_tuning.augmentation.generic import well_typed
from env_tuning.augmentation.rules import ErrorCategory, HintKind, HintRule

RULES = (
    HintRule(
        name="posting.login",
        tools=("post_tweet", "retweet", "comment", "follow_user", "list_all_following", "unfollow_user"),
        pattern=r"User not authenticated",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="The account has to be logged in for this. Authenticate first, with the user name and password that the "
        "user gave you; if you have none, ask for them.",
    ),
    HintRule(
        name="posting.tweet",
        tools=("retweet", "comment", "mention", "get_tweet", "get_tweet_comments"),
        pattern=r"Tweet with ID .* not found",
        when=well_typed,
        category=ErrorCategory.DEPENDENCY_MISSING,
        kind=HintKind.EXPLAIN_DEPENDENCY,
        text="No tweet has this number. Take it from the result of posting the tweet, or look for the tweet by its "
        "author or by a keyword and read its id there.",
    ),
    HintRule(
        name="posting.no_mentions",
        tools=("mention",),
        pattern=r"^Error during execution: 'mentions'$",
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="This older tweet keeps no list of users, so nobody can be tagged in it afterwards. Tell the user.",
    ),
    HintRule(
        name="posting.unsearchable",
        tools=("search_tweets", "get_user_tweets", "get_user_stats"),
        pattern=r"^Error during execution: '(?:tags|content|username)'$",
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="Some tweets lack a field that this search reads. Show tweets one by one by their id instead.",
    ),
    HintRule(
        name="posting.login_refused",
        tools=("authenticate_twitter",),
        pattern=r'"authentication_status": false',
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="The name and the password do not belong together. Copy both exactly as the user wrote them, capitals "
        "and signs included.",
        quiet=True,
    ),
    HintRule(
        name="posting.retweeted",
        tools=("retweet",),
        pattern=r'"Already retweeted"',
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="A tweet is passed on only once, and this has been done. Go on with the next part of the request.",
        quiet=True,
    ),
)

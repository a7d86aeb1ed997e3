"""TwitterAPI: the benchmark's quirks and error texts, as literals."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from env_tuning.calls import parse_call
from env_tuning.environments.bfcl.posting import TwitterAPI
from env_tuning.environments.environment import Environment

TWEET = {"id": 0, "username": "john", "content": "Hello World", "tags": ["#Big"], "mentions": ["@a"]}


def environment(**config: Any) -> Environment:
    return Environment({"TwitterAPI": TwitterAPI(copy.deepcopy(config))})


def text(env: Environment, call: str) -> str:
    return env.call(parse_call(call)).text


def state(env: Environment) -> dict[str, Any]:
    return env.tool_classes["TwitterAPI"].public_state()


def test_an_empty_config_has_every_public_attribute() -> None:
    assert state(environment()) == {
        "username": "john",
        "password": "john123",
        "authenticated": False,
        "tweets": {},
        "comments": {},
        "retweets": {},
        "following_list": ["alice", "bob"],
        "tweet_counter": 0,
    }


def test_tweet_ids_are_loaded_as_ints_and_comment_ids_are_not() -> None:
    env = environment(tweets={"0": TWEET}, comments={"0": [{"username": "a", "content": "c"}]}, authenticated=True)
    assert text(env, "get_tweet_comments(0)") == "[]"
    assert text(env, "comment(0, 'hi')") == '{"comment_status": "Comment added successfully"}'
    assert text(env, "get_tweet_comments(0)") == "[{'username': 'john', 'content': 'hi'}]"
    assert list(state(env)["comments"]) == ["0", 0]


def test_a_tweet_key_that_is_no_number_does_not_load() -> None:
    with pytest.raises(ValueError, match="invalid literal for int"):
        environment(tweets={"first": TWEET})


def test_login_accepts_only_the_users_own_credentials() -> None:
    env = environment()
    assert text(env, "authenticate_twitter('john', 'nope')") == '{"authentication_status": false}'
    assert text(env, "posting_get_login_status()") == '{"login_status": false}'
    assert text(env, "authenticate_twitter('john', 'john123')") == '{"authentication_status": true}'
    assert text(env, "authenticate_twitter('john', 'nope')") == '{"authentication_status": false}'
    assert text(env, "posting_get_login_status()") == '{"login_status": true}'


@pytest.mark.parametrize(
    "call, action",
    [
        ("post_tweet('x')", "posting"),
        ("retweet(9)", "retweeting"),
        ("comment(9, 'x')", "commenting"),
        ("follow_user('x')", "following"),
        ("list_all_following()", "listing following"),
        ("unfollow_user('x')", "unfollowing"),
    ],
)
def test_writing_needs_a_login(call: str, action: str) -> None:
    expected = f'{{"error": "User not authenticated. Please authenticate before {action}."}}'
    assert text(environment(), call) == expected


def test_reading_and_mentioning_need_no_login() -> None:
    env = environment(tweets={"0": TWEET})
    assert text(env, "mention(0, ['@b'])") == '{"mention_status": "Users mentioned successfully"}'
    assert state(env)["tweets"][0]["mentions"] == ["@a", "@b"]
    assert text(env, "get_user_tweets('john')").startswith("[{'id': 0, 'username': 'john'")


@pytest.mark.parametrize(
    "call", ["retweet(7)", "comment(7, 'x')", "mention(7, [])", "get_tweet(7)", "get_tweet_comments(7)"]
)
def test_an_unknown_tweet_is_named(call: str) -> None:
    assert text(environment(authenticated=True), call) == '{"error": "Tweet with ID 7 not found."}'


def test_a_tweet_id_as_text_is_not_found_and_a_list_raises() -> None:
    env = environment(tweets={"0": TWEET})
    assert text(env, "get_tweet('0')") == '{"error": "Tweet with ID 0 not found."}'
    assert text(env, "get_tweet([0])") == "Error during execution: unhashable type: 'list'"


def test_posting_takes_the_next_id_and_overwrites_a_tweet_that_has_it() -> None:
    env = environment(tweets={"0": TWEET}, authenticated=True)
    expected = '{"id": 0, "username": "john", "content": "new", "tags": ["#t"], "mentions": []}'
    assert text(env, "post_tweet('new', ['#t'])") == expected
    assert text(env, "get_tweet(0)") == expected
    assert state(env)["tweet_counter"] == 1


def test_tweets_without_mentions_share_their_mentions_within_an_episode() -> None:
    env = environment(authenticated=True)
    text(env, "post_tweet('first')")
    text(env, "mention(0, ['@b'])")
    assert text(env, "post_tweet('second')") == (
        '{"id": 1, "username": "john", "content": "second", "tags": [], "mentions": ["@b"]}'
    )
    assert text(env, "post_tweet('third', mentions=[])").endswith('"mentions": []}')


def test_an_explicit_none_is_stored_as_given() -> None:
    env = environment(authenticated=True)
    assert text(env, "post_tweet('x', None, None)").endswith('"tags": null, "mentions": null}')
    assert text(env, "mention(0, ['@b'])") == "Error during execution: 'NoneType' object has no attribute 'extend'"
    assert text(env, "search_tweets('y')") == "Error during execution: 'NoneType' object is not iterable"
    assert text(env, "search_tweets('X')").startswith("[{'id': 0")


def test_a_loaded_tweet_without_mentions_raises_when_mentioned() -> None:
    env = environment(tweets={"3": {"id": 3, "username": "john", "content": "", "tags": []}})
    assert text(env, "mention(3, ['@b'])") == "Error during execution: 'mentions'"


def test_mentioning_text_adds_its_characters() -> None:
    env = environment(tweets={"0": TWEET})
    text(env, "mention(0, '@b')")
    assert state(env)["tweets"][0]["mentions"] == ["@a", "@", "b"]


def test_a_second_retweet_is_refused() -> None:
    env = environment(tweets={"0": TWEET}, authenticated=True)
    assert text(env, "retweet(0)") == '{"retweet_status": "Successfully retweeted"}'
    assert text(env, "retweet(0)") == '{"retweet_status": "Already retweeted"}'
    assert state(env)["retweets"] == {"john": [0]}


def test_following_twice_and_unfollowing_a_stranger_are_refused() -> None:
    env = environment(authenticated=True)
    assert text(env, "follow_user('alice')") == '{"follow_status": false}'
    assert text(env, "follow_user('zoe')") == '{"follow_status": true}'
    assert text(env, "unfollow_user('nobody')") == '{"unfollow_status": false}'
    assert text(env, "unfollow_user('alice')") == '{"unfollow_status": true}'
    assert text(env, "list_all_following()") == '{"following_list": ["bob", "zoe"]}'


def test_search_ignores_case_and_wants_whole_tags() -> None:
    env = environment(tweets={"0": TWEET})
    assert text(env, "search_tweets('WORLD')") == text(env, "search_tweets('#big')") == f"[{TWEET}]"
    assert text(env, "search_tweets('#bi')") == "[]"
    assert text(env, "search_tweets(5)") == "Error during execution: 'int' object has no attribute 'lower'"
    assert text(environment(), "search_tweets(5)") == "[]"


def test_only_the_current_user_has_a_following_count() -> None:
    env = environment(tweets={"0": {**TWEET, "username": "ann"}}, retweets={"ann": [0]})
    assert text(env, "get_user_stats('ann')") == '{"tweet_count": 1, "following_count": 0, "retweet_count": 1}'
    assert text(env, "get_user_stats('john')") == '{"tweet_count": 0, "following_count": 2, "retweet_count": 0}'


def test_wrong_arguments_read_as_in_the_benchmark() -> None:
    assert text(environment(), "post_tweet()") == (
        "Error during execution: TwitterAPI.post_tweet() missing 1 required positional argument: 'content'"
    )


def test_two_instances_never_share_state() -> None:
    first, second = environment(authenticated=True), environment(authenticated=True)
    before = second.snapshot()
    for call in ("post_tweet('x')", "mention(0, ['@b'])", "retweet(0)", "comment(0, 'c')", "follow_user('zoe')"):
        text(first, call)
    assert second.mismatches(before) == ()
    assert text(second, "post_tweet('y')").endswith('"tags": [], "mentions": []}')


def test_one_call_replayed_in_two_episodes_stays_as_written() -> None:
    call = parse_call("post_tweet('x', mentions=['@a'])")
    first, second = environment(authenticated=True), environment(authenticated=True)
    first.call(call)
    text(first, "mention(0, ['@b'])")
    assert second.call(call).text.endswith('"mentions": ["@a"]}')

"""Hints of TradingBot: log in first, symbols instead of names, ids of orders that exist, money that is there."""

from __future__ import annotations

from env_tuning.augmentation.generic import well_typed
from env_tuning.augmentation.rules import ErrorCategory, HintKind, HintRule

_SYMBOL = "A stock is given by its ticker symbol, in capitals, not by the company's name. "
_LOGIN = "The trading account has to be logged in for this. Log in first, with what the user gave you."

RULES = (
    HintRule(
        name="trading.login",
        tools=(
            "place_order",
            "withdraw_funds",
            "get_account_info",
            "fund_account",
            "remove_stock_from_watchlist",
        ),
        pattern=r"User not authenticated",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text=_LOGIN,
    ),
    HintRule(
        name="trading.login_to_list",
        tools=("get_watchlist", "get_order_history", "get_transaction_history"),
        pattern=r"^\[.*User not authenticated",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text=_LOGIN,
        quiet=True,
    ),
    HintRule(
        name="trading.symbol",
        tools=("get_stock_info", "place_order"),
        pattern=r"symbol",
        when=well_typed,
        category=ErrorCategory.DEPENDENCY_MISSING,
        kind=HintKind.EXPLAIN_DEPENDENCY,
        text=f"{_SYMBOL}`get_symbol_by_name` tells the symbol of a company.",
        names=("get_symbol_by_name",),
        plain=f"{_SYMBOL}Take it from the user's words, from the watch list, or from a list of the stocks of a sector.",
    ),
    HintRule(
        name="trading.order",
        tools=("get_order_details", "cancel_order"),
        pattern=r"Order with ID .* not found",
        when=well_typed,
        category=ErrorCategory.DEPENDENCY_MISSING,
        kind=HintKind.EXPLAIN_DEPENDENCY,
        text="No order has this number. Take it from the result of placing the order, or look at the order history.",
    ),
    HintRule(
        name="trading.completed",
        tools=("cancel_order",),
        pattern=r"already completed",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="A completed order cannot be undone. Check that it is the order the user means; if so, tell the user.",
    ),
    HintRule(
        name="trading.broken_order",
        tools=("get_order_details", "cancel_order"),
        pattern=r"^Error during execution: .*(?:string indices|has no attribute|object is not|object does not|'status'|"
        r"'symbol')",
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="What is stored under this id is no whole order. Orders that were placed in this conversation are: use "
        "the id that placing one returned.",
    ),
    HintRule(
        name="trading.positive",
        tools=("place_order", "withdraw_funds", "fund_account"),
        pattern=r"must be positive",
        category=ErrorCategory.PARAMETER_CONSTRAINT,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="Amounts and prices are greater than zero. If you do not know the price, look at the stock first; the "
        "direction is said by the tool or by the order type, not by a sign.",
    ),
    HintRule(
        name="trading.order_funds",
        tools=("place_order",),
        pattern=r"Insufficient funds",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="Price times shares must not be more than the balance. Check both numbers; if they are right, the account "
        "needs money first, which only the user can decide.",
    ),
    HintRule(
        name="trading.closed",
        tools=("withdraw_funds",),
        pattern=r"Market is closed",
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="Money can be taken out only while the market is open, and nothing you can call opens it. Tell the user.",
    ),
    HintRule(
        name="trading.withdrawal_funds",
        tools=("withdraw_funds",),
        pattern=r"Insufficient funds",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="The account holds less than that. Look at its balance, and check the amount that the user named.",
    ),
    HintRule(
        name="trading.not_watched",
        tools=("remove_stock_from_watchlist",),
        pattern=r"not found in watchlist",
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.SUGGEST_PREREQUISITE,
        text="The watch list does not hold it. Look at the list first; it holds ticker symbols, not company names.",
    ),
    HintRule(
        name="trading.date",
        tools=("get_transaction_history",),
        pattern=r"^Error during execution: (?:time data|unconverted data|day is out|strptime)",
        category=ErrorCategory.FORMAT_MISMATCH,
        kind=HintKind.CORRECT_FORMAT,
        text="Dates are written as year, month and day with dashes between, four and two and two digits, without a "
        "time; and the day has to exist.",
    ),
    HintRule(
        name="trading.broken_transaction",
        tools=("get_transaction_history",),
        pattern=r"^Error during execution: (?:'timestamp'|string indices)",
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="A stored transaction has no date, so the history cannot be shown. The balance of the account can.",
    ),
    HintRule(
        name="trading.no_such_company",
        tools=("get_symbol_by_name",),
        pattern=r'"Stock not found"',
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="No company has exactly this name. Write it as the user does, with its capitals; what looks like a "
        "symbol is one and needs no look-up.",
        quiet=True,
    ),
    HintRule(
        name="trading.no_such_sector",
        tools=("get_available_stocks",),
        pattern=r'^\{"stock_list": \[\]\}$',
        category=ErrorCategory.RESOURCE_UNAVAILABLE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="No sector has exactly this name. Sectors are one word with a capital letter.",
        quiet=True,
    ),
    HintRule(
        name="trading.logged_out",
        tools=("trading_logout",),
        pattern=r"No user is currently logged in",
        category=ErrorCategory.STATE_PREREQUISITE,
        kind=HintKind.CLARIFY_CONSTRAINT,
        text="Nobody is logged in, so there is nothing to end.",
        quiet=True,
    ),
)

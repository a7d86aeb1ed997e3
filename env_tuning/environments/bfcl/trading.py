"""Stock trading: quotes, orders, a watch list, and an account with its transactions.

At parity with TradingBot of bfcl_eval 2026.3.23, quirks included: the default order counter is the id of a
default order, so the first order replaces it; a new order is reported as "Pending" but kept as "Open", costs
nothing and may be of any type; the watch list comes back bare in long-context tasks; and several failures are
lists instead of dictionaries. Transactions are stamped within a day of a fixed time by a seeded generator,
without the local time zone's help.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from env_tuning.environments.bfcl import market
from env_tuning.environments.tool_class import ToolClass

if TYPE_CHECKING:
    from env_tuning.environments.bfcl.long_context import LongContext

_NOW = datetime(2024, 9, 1, 10, 30)
_SECONDS_PER_DAY = 24 * 60 * 60
_SEED = 1053520


class TradingBot(ToolClass):
    """A brokerage account and the market it trades in."""

    def __init__(self, config: dict[str, Any], long_context: LongContext | None = None) -> None:
        """Load account, orders and market; each field is optional and defaults to the figures of `market`."""
        orders = config["orders"] if "orders" in config else market.default_orders()
        # JSON has only string keys, tools take integers.
        self.orders: dict[Any, Any] = {
            int(key) if isinstance(key, str) and key.isdigit() else key: order for key, order in orders.items()
        }
        self.account_info: dict[str, Any] = (
            config["account_info"] if "account_info" in config else market.default_account()
        )
        self.authenticated: bool = config.get("authenticated", False)
        self.market_status: str = config.get("market_status", "Closed")
        self.order_counter: int = config.get("order_counter", market.FIRST_ORDER_COUNTER)
        self.stocks: dict[str, Any] = config["stocks"] if "stocks" in config else market.default_stocks()
        self.watch_list: list[str] = config.get("watch_list", ["NVDA"])
        self.transaction_history: list[dict[str, Any]] = config.get("transaction_history", [])
        self.long_context = long_context is not None
        self._padding = long_context
        self._seed: Any = config.get("random_seed", _SEED)

    def get_current_time(self) -> dict[str, str]:
        """Tell the time, which stands still."""
        return {"current_time": f"{_NOW:%I:%M %p}"}

    def get_symbol_by_name(self, name: str) -> dict[str, str]:
        """Look up a company's ticker symbol."""
        return {"symbol": market.SYMBOLS.get(name, "Stock not found")}

    def get_stock_info(self, symbol: str) -> dict[str, Any]:
        """Show a stock's price, change, volume and moving averages."""
        if symbol not in self.stocks:
            return {"error": f"Stock with symbol '{symbol}' not found."}
        if self._padding is None:
            return self.stocks[symbol]
        stock = self.stocks[symbol].copy()
        stock["MA(5)"] = self._padding.ma_5_extension
        stock["MA(20)"] = self._padding.ma_20_extension
        return stock

    def get_order_details(self, order_id: int) -> dict[str, Any]:
        """Show one order."""
        if order_id not in self.orders:
            # The missing space is part of the benchmark's text.
            return {"error": f"Order with ID {order_id} not found.Here is the list of orders_id: {list(self.orders)}"}
        if self._padding is None:
            return self.orders[order_id]
        order = self.orders[order_id].copy()
        symbol = str(order["symbol"])
        order["metadata"] = {
            topic: text.replace("{symbol}", symbol) for topic, text in self._padding.order_detail_extension.items()
        }
        return order

    def cancel_order(self, order_id: int) -> dict[str, Any]:
        """Cancel an order that is not completed."""
        if order_id not in self.orders:
            return {"error": f"Order with ID {order_id} not found."}
        order = self.orders[order_id]
        if order["status"] == "Completed":
            return {"error": f"Can't cancel order {order_id}. Order is already completed."}
        order["status"] = "Cancelled"
        return {"order_id": order_id, "status": "Cancelled"}

    def place_order(self, order_type: str, symbol: str, price: float, amount: int) -> dict[str, Any]:
        """Place an order; a buy must be covered by the balance, which stays as it is."""
        if not self.authenticated:
            return _unauthenticated("place an order")
        if symbol not in self.stocks:
            return {"error": f"Invalid stock symbol: {symbol}"}
        if price <= 0 or amount <= 0:
            return {"error": "Price and amount must be positive values."}
        if order_type.lower() == "buy":
            cost = float(price) * int(amount)
            balance = self.account_info.get("balance", 0)
            if cost > balance:
                return {"error": f"Insufficient funds: required ${cost:.2f} but only ${balance:.2f} available."}
        price = float(price)
        order_id = self.order_counter
        self.orders[order_id] = {
            "id": order_id,
            "order_type": order_type,
            "symbol": symbol,
            "price": price,
            "amount": amount,
            "status": "Open",
        }
        self.order_counter += 1
        return {
            "order_id": order_id,
            "order_type": order_type,
            "status": "Pending",
            "price": price,
            "amount": amount,
        }

    def withdraw_funds(self, amount: float) -> dict[str, Any]:
        """Take money out of the account while the market is open."""
        if not self.authenticated:
            return _unauthenticated("make a transaction")
        if self.market_status != "Open":
            return {"error": "Market is closed. Transactions are not allowed."}
        if amount <= 0:
            return {"error": "Transaction amount must be positive."}
        if amount > self.account_info["balance"]:
            return {"error": "Insufficient funds for withdrawal."}
        self.account_info["balance"] -= amount
        self._record("withdrawal", amount)
        return {"status": "Withdrawal successful", "new_balance": self.account_info["balance"]}

    def get_account_info(self) -> dict[str, Any]:
        """Show the account's id, balance and card."""
        if not self.authenticated:
            return _unauthenticated("view account information")
        return self.account_info

    def trading_login(self, username: str, password: str) -> dict[str, str]:
        """Log in; any credentials are accepted."""
        if self.authenticated:
            return {"status": "Already logged in"}
        self.authenticated = True
        return {"status": "Logged in successfully"}

    def trading_get_login_status(self) -> dict[str, bool]:
        """Tell whether somebody is logged in."""
        return {"status": bool(self.authenticated)}

    def trading_logout(self) -> dict[str, str]:
        """Log out."""
        if not self.authenticated:
            return {"status": "No user is currently logged in"}
        self.authenticated = False
        return {"status": "Logged out successfully"}

    def fund_account(self, amount: float) -> dict[str, Any]:
        """Pay money into the account, whether or not the market is open."""
        if not self.authenticated:
            return _unauthenticated("fund the account")
        if amount <= 0:
            return {"error": "Funding amount must be positive."}
        self.account_info["balance"] += amount
        self._record("deposit", amount)
        return {"status": "Account funded successfully", "new_balance": self.account_info["balance"]}

    def remove_stock_from_watchlist(self, symbol: str) -> dict[str, str]:
        """Take a stock off the watch list."""
        if not self.authenticated:
            return _unauthenticated("modify the watchlist")
        if symbol not in self.watch_list:
            return {"error": f"Stock {symbol} not found in watchlist."}
        self.watch_list.remove(symbol)
        return {"status": f"Stock {symbol} removed from watchlist successfully."}

    def get_watchlist(self) -> dict[str, list[str]] | list[str]:
        """List the stocks on the watch list."""
        if not self.authenticated:
            return ["Error: User not authenticated. Please log in to view the watchlist."]
        if self._padding is None:
            return {"watchlist": self.watch_list}
        watch_list = self.watch_list.copy()
        watch_list.extend(self._padding.watch_list_extension)
        return watch_list

    def get_order_history(self) -> dict[str, list[Any]] | list[dict[str, str]]:
        """List the ids of all orders."""
        if not self.authenticated:
            return [_unauthenticated("view order history")]
        return {"history": list(self.orders)}

    def get_transaction_history(
        self, start_date: str | None = None, end_date: str | None = None
    ) -> dict[str, list[dict[str, Any]]] | list[dict[str, str]]:
        """List transactions from one day to another, both 'YYYY-MM-DD' at midnight and included."""
        if not self.authenticated:
            return [_unauthenticated("view transaction history")]
        start = datetime.strptime(start_date, "%Y-%m-%d") if start_date else datetime.min
        end = datetime.strptime(end_date, "%Y-%m-%d") if end_date else datetime.max
        transactions = [
            transaction
            for transaction in self.transaction_history
            if start <= datetime.strptime(transaction["timestamp"], "%Y-%m-%d %H:%M:%S") <= end
        ]
        if self._padding is not None:
            transactions.extend(self._padding.transaction_history_extension)
        return {"transaction_history": transactions}

    def get_available_stocks(self, sector: str) -> dict[str, list[str]]:
        """List the ticker symbols of a sector."""
        symbols = list(market.SECTORS.get(sector, ()))
        if self._padding is not None:
            more = {
                "Technology": self._padding.technology_extension,
                "Automobile": self._padding.automobile_extension,
            }
            symbols.extend(more.get(sector, ()))
        return {"stock_list": symbols}

    def filter_stocks_by_price(self, stocks: list[str], min_price: float, max_price: float) -> dict[str, list[str]]:
        """Keep the stocks whose price lies in a range; an unknown stock has the price 0."""
        filtered = []
        for symbol in stocks:
            price = self.stocks.get(symbol, {}).get("price", 0)
            # Not chained: the order of the operands shows in the TypeError that a bad limit raises.
            if price >= min_price and price <= max_price:
                filtered.append(symbol)
        return {"filtered_stocks": filtered}

    def add_to_watchlist(self, stock: str) -> dict[str, list[str]]:
        """Put a stock on the watch list; needs no login and passes over an unknown stock in silence."""
        if stock not in self.watch_list and stock in self.stocks:
            self.watch_list.append(stock)
        return {"watchlist": self.watch_list}

    def notify_price_change(self, stocks: list[str], threshold: float) -> dict[str, str]:
        """Name the stocks whose price changed by a threshold in percent or more, up or down."""
        changed = [
            symbol
            for symbol in stocks
            if symbol in self.stocks and abs(self.stocks[symbol]["percent_change"]) >= threshold
        ]
        if changed:
            return {"notification": f"Stocks {', '.join(changed)} have significant price changes."}
        return {"notification": "No significant price changes in the selected stocks."}

    def _record(self, kind: str, amount: float) -> None:
        moment = _NOW + timedelta(seconds=self._random.randint(0, _SECONDS_PER_DAY))
        self.transaction_history.append({"type": kind, "amount": amount, "timestamp": str(moment)})

    @cached_property
    def _random(self) -> random.Random:
        # Seeding costs more than the rest of loading, and few episodes move money.
        return random.Random(self._seed)


def _unauthenticated(purpose: str) -> dict[str, str]:
    return {"error": f"User not authenticated. Please log in to {purpose}."}

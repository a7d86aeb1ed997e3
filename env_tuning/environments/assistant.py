"""An assistant's tools: calculator, weather, search, current time.

Owns: the four tools, and the data that they answer from by default: made up, the same everywhere, without network and
clock. Refuses: real services. For one, subclass `Assistant` and replace the method behind a tool (`forecast`,
`look_up`, `now` with a leading underscore); for one more tool, add a method.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import unicodedata
import zoneinfo
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from env_tuning.answers.matching import pieces
from env_tuning.environments.arithmetic import ArithmeticFault, evaluate, shown
from env_tuning.environments.scenario import Scenario
from env_tuning.environments.tool_class import ToolClass

NOW = "2025-06-02T12:00:00+08:00"
"""The time that it is where no other is configured."""

_CONDITIONS = ("晴", "多云", "阴", "小雨", "雷阵雨", "有雾")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOST_RESULTS = 20
_MOST_QUERY = 500

_CITIES: Mapping[str, str] = MappingProxyType(
    {
        "beijing": "北京", "shanghai": "上海", "guangzhou": "广州", "shenzhen": "深圳", "hangzhou": "杭州",
        "chengdu": "成都", "wuhan": "武汉", "xian": "西安", "nanjing": "南京", "chongqing": "重庆", "tianjin": "天津",
        "suzhou": "苏州", "tokyo": "东京", "london": "伦敦", "paris": "巴黎", "newyork": "纽约", "berlin": "柏林",
    }
)  # fmt: skip
"""English name, in small letters without spaces, to Chinese name."""

FACTS: tuple[tuple[str, str], ...] = (
    ("长城", "长城全长约21196千米，位于中国北方，1987年列入世界遗产。"),
    ("珠穆朗玛峰", "珠穆朗玛峰海拔8848.86米，是世界最高峰，位于中国与尼泊尔边境。"),
    ("长江", "长江全长6300余千米，是中国最长的河流，在上海入海。"),
    ("黄河", "黄河全长约5464千米，是中国第二长河，在山东入海。"),
    ("光速", "真空中的光速为299792458米每秒。"),
    ("故宫", "故宫建成于1420年，位于北京，是明清两代的皇宫。"),
    ("Python", "Python 是 Guido van Rossum 于1991年首次发布的编程语言。"),
    ("Linux", "Linux 内核由 Linus Torvalds 于1991年首次发布。"),
    ("Eiffel Tower", "The Eiffel Tower in Paris is 330 metres tall and was completed in 1889."),
    ("Mount Fuji", "Mount Fuji is 3776 metres high and the highest mountain of Japan."),
    ("Moon", "The Moon is 384400 kilometres from the Earth on average."),
    ("water", "Water boils at 100 degrees Celsius at sea level."),
)
"""Title and text of everything that the offline search knows."""


class Assistant(ToolClass):
    """Four tools without state."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Load the configuration: ``now``, a time with its distance to UTC; `NOW` by default."""
        self._time = datetime.datetime.fromisoformat(config.get("now", NOW))
        if self._time.tzinfo is None:
            raise ValueError(f"Assistant: now is {config['now']!r}; add the distance to UTC, as in {NOW}")

    def calculator(self, expression: str) -> Any:
        """计算一个数学表达式。Evaluate an arithmetic expression.

        Args:
            expression: such as 25 * 37 + 128 or sqrt(2) ** 3.
        """
        try:
            return shown(evaluate(expression))
        except ArithmeticFault as fault:
            return {"error": str(fault)}

    def weather_query(self, city: str, date: str | None = None) -> Any:
        """查询一个城市某天的天气。The weather of a city on a day.

        Args:
            city: name of the city, in Chinese or English.
            date: YYYY-MM-DD; today if it is not given.
        """
        day = self._now("UTC+8").date().isoformat() if date is None else date
        if not _is_day(day):
            return {"error": f"{day!r} is no date; write YYYY-MM-DD"}
        return self._forecast(_canonical(city), day)

    def search(self, query: str, max_results: int = 5) -> Any:
        """搜索信息。Search for information.

        Args:
            query: what to look for.
            max_results: how many results at most, from 1 to 20.
        """
        if not 1 <= max_results <= _MOST_RESULTS:
            return {"error": f"max_results is {max_results}; it must be from 1 to {_MOST_RESULTS}"}
        found = self._look_up(query[:_MOST_QUERY], max_results)
        if not found:
            return {"error": f"nothing was found for {query[:80]!r}"}
        return "\n".join(f"{title}: {text}" for title, text in found)

    def get_current_time(self, timezone: str = "Asia/Shanghai") -> Any:
        """获取当前时间。The current date and time.

        Args:
            timezone: such as Asia/Shanghai, Europe/Paris or UTC.
        """
        try:
            return self._now(timezone).strftime("%Y-%m-%d %H:%M:%S")
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            return {"error": f"there is no time zone {timezone[:80]!r}; write one such as Asia/Shanghai"}

    @classmethod
    def scenarios(cls) -> Iterable[Scenario]:
        """One request for every tool."""
        yield Scenario(turns=[("帮我计算一下 25 * 37 等于多少？", ["calculator(expression='25 * 37')"])])
        yield Scenario(turns=[("北京今天天气怎么样？", ["weather_query(city='北京')"])])
        yield Scenario(turns=[("长城有多长？", ["search(query='长城')"]), ("谢谢！", [])])
        yield Scenario(turns=[("现在几点？", ["get_current_time()"])])

    def _now(self, timezone: str) -> datetime.datetime:
        """What time it is in a time zone. A clock: `return datetime.datetime.now(zone)`."""
        zone = datetime.timezone(datetime.timedelta(hours=8)) if timezone == "UTC+8" else zoneinfo.ZoneInfo(timezone)
        return self._time.astimezone(zone)

    def _forecast(self, city: str, day: str) -> Any:
        """The weather of a city, by its Chinese name if it is a known one, on a day."""
        if city not in _CITIES.values():
            return {"error": f"there is no weather for {city[:80]!r}"}
        chance = hashlib.sha256(f"{city} {day}".encode()).digest()
        condition, low = _CONDITIONS[chance[0] % len(_CONDITIONS)], chance[1] % 25
        return f"{city} {day}: {condition}, {low}到{low + 3 + chance[2] % 9}°C, 湿度{30 + chance[3] % 60}%"

    def _look_up(self, query: str, most: int) -> Sequence[tuple[str, str]]:
        """Titles and texts, the best first."""
        wanted = pieces(query)
        scored = [(len(wanted & pieces(text)) + 3 * len(wanted & pieces(title)), title, text) for title, text in FACTS]
        best = sorted((entry for entry in scored if entry[0] >= 2), key=lambda entry: (-entry[0], entry[1]))
        return [(title, text) for _, title, text in best[:most]]


def _is_day(text: str) -> bool:
    if not isinstance(text, str) or not _DAY.fullmatch(text):
        return False
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _canonical(city: str) -> str:
    name = unicodedata.normalize("NFKC", city).strip().removesuffix("市")
    return _CITIES.get(re.sub(r"[\s']", "", name).lower(), name)

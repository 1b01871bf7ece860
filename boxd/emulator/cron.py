"""When a cron expression next fits: five fields, as in crontab(5), in UTC."""

from __future__ import annotations

import calendar
from datetime import datetime, timedelta, timezone

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
_DAYS = 366 * 8
"""How far to look: 29 February comes again within eight years."""


def next_time(expression: str, now: float) -> float:
    """The first minute after `now`, in Unix seconds, that the expression fits. Raises `ValueError`."""
    parts = expression.split()
    if len(parts) != len(_FIELDS):
        raise ValueError(f"{expression!r} is no cron expression: use five fields, as in '0 3 * * *'")
    minutes, hours, days, months, weekdays = (_parse(part, *field) for part, field in zip(parts, _FIELDS, strict=True))
    if 7 in weekdays:
        weekdays = weekdays | {0}
    # Where both day fields are restricted, either fits (crontab(5)).
    either = not parts[2].startswith("*") and not parts[4].startswith("*")
    start = datetime.fromtimestamp(now // 60 * 60, timezone.utc) + timedelta(minutes=1)
    day = start.replace(hour=0, minute=0)
    for _ in range(_DAYS):
        by_day, by_week = day.day in days, (day.weekday() + 1) % 7 in weekdays
        if day.month in months and (by_day or by_week if either else by_day and by_week):
            for hour in sorted(hours):
                for minute in sorted(minutes):
                    found = day.replace(hour=hour, minute=minute)
                    if found >= start:
                        return float(calendar.timegm(found.timetuple()))
        day += timedelta(days=1)
    raise ValueError(f"{expression!r} never comes")


def _parse(text: str, name: str, low: int, high: int) -> set[int]:
    """The values that one field allows: `*`, `5`, `1-5`, any of them with `/step`, in a list with commas."""
    values: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        try:
            begin = low if span == "*" else int(first)
            end = high if span == "*" or (slash and not dash) else int(last) if dash else begin
            every = int(step) if slash else 1
        except ValueError:
            raise ValueError(f"{part!r} is no {name} of a cron expression") from None
        if not low <= begin <= end <= high or every < 1:
            raise ValueError(f"{part!r} is no {name} of a cron expression: use {low} to {high}")
        values.update(range(begin, end + 1, every))
    return values

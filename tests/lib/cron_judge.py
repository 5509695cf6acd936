#!/usr/bin/env python3
"""Next times of cron expressions, worked out in ways that have nothing in common with mbackup.cron_next().

Prints lines of  expression TAB zone TAB after TAB expected  (UTC; "never"), all of them or the share that is given.  Two judges: croniter, where there are no
changes of clocks, and a walk over every minute as cronie's own loop does it, with the zones of Python.
"""
import os
import random
import sys
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
UTC = timezone.utc
NAMES = {n: i for i, n in enumerate("sun mon tue wed thu fri sat".split())}
MONTHS = {n: i + 1 for i, n in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split())}
NICK = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
        "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *"}


class Cron:
    def __init__(self, text):
        self.fields = NICK.get(text.strip().lower(), text).lower().split()
        m, h, d, mon, w = self.fields
        self.wild = m[0] == "*" or h[0] == "*"
        self.both = d[0] == "*" or w[0] == "*"
        self.sets = [self.read(f, lo, hi, names) for f, lo, hi, names in
                     ((m, 0, 59, {}), (h, 0, 23, {}), (d, 1, 31, {}), (mon, 1, 12, MONTHS), (w, 0, 7, NAMES))]
        self.sets[4] = {v % 7 for v in self.sets[4]}

    @staticmethod
    def read(field, low, high, names):
        found = set()
        for item in field.split(","):
            span, _, step = item.partition("/")
            if span == "*":
                a, b = low, high
            else:
                a, _, b = span.partition("-")
                b = b or a
                a, b = (names[x] if x in names else int(x) for x in (a, b))
            found.update(range(a, b + 1, int(step or 1)))
        return found

    def fits(self, t):
        day = t.day in self.sets[2]
        weekday = t.isoweekday() % 7 in self.sets[4]
        return (t.minute in self.sets[0] and t.hour in self.sets[1] and t.month in self.sets[3]
                and ((day and weekday) if self.both else (day or weekday)))


def walk(text, zone, after, days=800):
    """cronie: the clock is looked at once a minute; what it did since the last look says what is run."""
    cron, tz = Cron(text), ZoneInfo(zone)
    t = after.replace(second=0, microsecond=0)
    highest = t.astimezone(tz).replace(tzinfo=None)
    # What the clock has shown already: it may stand in a repeated hour.
    for back in range(1, 181):
        highest = max(highest, (t - back * MINUTE).astimezone(tz).replace(tzinfo=None))
    for _ in range(days * 1440):
        t += MINUTE
        now = t.astimezone(tz).replace(tzinfo=None)
        if cron.wild:
            if cron.fits(now):
                return t
        else:
            skipped = highest + MINUTE
            while skipped <= now:      # the minute itself, and before it what was skipped
                if cron.fits(skipped):
                    return t
                skipped += MINUTE
        highest = max(highest, now)
    return None


def show(t):
    return t.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if t else "never"


def main():
    rng, chosen = random.Random(700), random.Random(701)
    share = float(sys.argv[1]) if len(sys.argv) > 1 else 1
    wanted = lambda: chosen.random() < share
    at = lambda *a: datetime(*a, tzinfo=UTC)

    def case(text, zone, after, expected):
        print(text, zone, show(after), show(expected), sep="\t")

    # The changes of the clocks, from before to after them, by the walk.
    changes = [("Europe/Berlin", at(2026, 3, 29, 1)), ("Europe/Berlin", at(2026, 10, 25, 1)),
               ("America/New_York", at(2026, 3, 8, 7)), ("America/New_York", at(2026, 11, 1, 6)),
               ("Australia/Lord_Howe", at(2026, 4, 4, 15)), ("Australia/Lord_Howe", at(2026, 10, 3, 15, 30)),
               ("Africa/Cairo", at(2026, 10, 29, 21)), ("America/Sao_Paulo", at(2018, 11, 4, 3)), ("Asia/Kolkata", at(2026, 3, 29, 1)),
               ("America/St_Johns", at(2026, 3, 8, 5, 30)), ("Antarctica/Troll", at(2026, 3, 29, 1)), ("Antarctica/Troll", at(2026, 10, 25, 1))]
    texts = ["30 2 * * *", "0 2 * * *", "15 1 * * *", "0 3 * * *", "*/15 * * * *", "0 * * * *", "30 * * * *", "* 2 * * *", "*/20 1-3 * * *",
             "15,45 1,2 * * *", "0 */2 * * *", "59 1 * * *", "5 0 * * *", "45 23 * * 6", "@hourly", "@daily", "45 1 * * 7", "* * * * *"]
    for zone, change in changes:
        for text in texts:
            for minutes in (-300, -61, -60, -31, -30, -1, 0, 1, 29, 30, 59, 60, 90):
                if rng.random() < (0.45 if os.environ.get("MBACKUP_LONG") else 0.1) or minutes in (-61, 0):
                    if not wanted():
                        continue
                    after = change + minutes * MINUTE
                    case(text, zone, after, walk(text, zone, after))
    # The language, by the walk.
    for text in ["0 0 1 * mon", "0 0 */2 * mon", "0 0 13 * fri", "0 0 * * 5-7", "0 0 * * sat,sun", "0 0 31 * *", "0 0 30 apr,jun *", "1-10/4 3 * jan-mar *", "0 0 * * 0-7/3",
                 "0 0 1-7 * *", "0 0 1-7 * */2", "@weekly", "@monthly", "@yearly", "@annually", "@midnight", "0 12 29 2 mon", "0,59 0,23 1,31 1,12 *", "0 0 * * MON-FRI", "0 0 1 JAN *", "7 7 7 7 7"]:
        for after in (at(2026, 1, 31, 23, 59), at(2026, 2, 28, 12), at(2026, 12, 31, 23, 59), at(2027, 6, 15, 6, 30)):
            if wanted():
                case(text, "UTC", after, walk(text, "UTC", after))
    # Far away, by thought.
    for text, after, expected in (("0 0 29 2 *", at(2026, 1, 1), at(2028, 2, 29)), ("0 0 29 2 *", at(2096, 2, 29), at(2104, 2, 29)), ("0 0 30 2 *", at(2026, 1, 1), None),
                                  ("0 0 31 4,6,9,11 *", at(2026, 1, 1), None), ("0 0 31 2 mon", at(2026, 1, 1), at(2026, 2, 2)), ("0 0 30 2 */2", at(2026, 1, 1), None)):
        case(text, "UTC", after, expected)
    # At random, by croniter: in UTC, and without steps of days and 0-6 for every weekday, which it reads
    # otherwise than cronie does: as stars in what comes after the star, and as a star.
    try:
        from croniter import croniter
    except ImportError:
        print("no croniter", file=sys.stderr)
        return
    def some(low, high, step=True):
        kind = rng.randrange(5 if step else 4)
        a, b = sorted(rng.sample(range(low, high + 1), 2))
        return ["*", str(a), f"{a}-{b}", f"{a},{b}", f"*/{rng.randint(2, 15)}"][kind]
    for _ in range(300):
        text = " ".join([some(0, 59), some(0, 23), some(1, 28, False), some(1, 12), some(1, 6, False)])
        after = at(2026, 1, 1) + timedelta(minutes=rng.randrange(3 * 365 * 1440), seconds=rng.randrange(60))
        case(text, "UTC", after, croniter(text, after).get_next(datetime))


main()

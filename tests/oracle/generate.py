"""Rules and events at random, from a seed: small words that meet often, and everything that is odd."""

import random

import yaml

WORDS = [
    "foo", "Foo", "FOOBAR", "foobar", "xfoox", "bar", "a b", "a\\b", "a\\\\b", "foo*bar", "foo?", "50%_x",
    "o'neil", '"quoted"', "", " ", "22", "022", "2", "true", "TRUE", "line\nfeed", "tab\there", "[a-z]",
    "$(id)", "a.b", "C:\\Windows\\", "/tmp/x", "x -f y", "x /f y", "-param-name", "/param-name", "ä", "Äpfel",
    "äpfel", "ß", "日本", "Zm9vYmFy", "eGZvb2Jhcnh4", "cABpAG4AZwA=", "%admins%",
    "ΟΔΟΣ", "οδοσ", "Straße", "ſ", "\u212a", "😀x", "e\u0301", "-a-b -c", "--long", "*", "\\*", "x" * 300, "\x0b\x7f",
]  # fmt: skip
NUMBERS = [22, 2, 0, -1, 1.5, 22.0, 4624, 1000000, 0.1, -2.5, 1e15]
ADDRESSES = [
    "192.168.3.4", "192.168.30.4", "10.0.0.1", "172.20.1.1", "8.8.8.8", "2001:db8::1", "2001:0DB8:0:0::1",
    "::ffff:192.168.1.1", "not-an-ip", "", "192.168.3.4:80",
]  # fmt: skip
TIMES = [
    "2026-08-01T03:04:05Z", "2026-08-01 03:04:05.123456", "2026-12-31T23:59:59Z", "2026-08-01T04:04:05Z",
    "2025-02-28T12:00:00Z",
]  # fmt: skip
NETS = ["192.168.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "2001:db8::/32", "10.0.0.1", "8.8.8.8/32", "0.0.0.0/0"]
REGEXES = ["fo+", "^foo", "bar$", "^2.$", "[a-z]{3,}", "a.b", "(foo|bar)", "^$", "\\\\", "x\\s-f", "[^f]oo", "F.*R"]
PLACE = ["contains", "startswith", "endswith"]
PARTS = ["minute", "hour", "day", "month", "year"]
OPERATORS = ["lt", "lte", "gt", "gte"]
FIELDS = ["A", "B", "C", "D.E"]

# What must be refused, as a detection of its own.
WRONG = [
    {"sel": {"A|foo": "x"}, "condition": "sel"},
    {"sel": {"A|gt": "5"}, "condition": "sel"},
    {"sel": {"A|cidr": "192.168.1.1/24"}, "condition": "sel"},
    {"sel": {"A|cidr": "foo"}, "condition": "sel"},
    {"sel": {"A|exists": "yes"}, "condition": "sel"},
    {"sel": {"A|base64": "fo*"}, "condition": "sel"},
    {"sel": {"A|base64offset|contains": "f?o"}, "condition": "sel"},
    {"sel": {"A|re": "a(?!b)"}, "condition": "sel"},
    {"sel": {"A|re": "(a)\\1"}, "condition": "sel"},
    {"sel": {"A|re": "(unclosed"}, "condition": "sel"},
    {"sel": {"A|re|cased": "fo+"}, "condition": "sel"},
    {"sel": {"A|expand": "%admins%"}, "condition": "sel"},
    {"sel": {"A": "x"}, "condition": "sel9"},
    {"sel": {"A": "x"}, "condition": "sel and"},
    {"sel": {"A": "x"}, "condition": "(sel"},
    {"sel": {"A": "x"}, "condition": "1 of nope*"},
    {"sel": {"A": "x"}, "condition": "sel and not 1 of nope*"},
    {"sel": {"A": "x"}, "condition": "2 of sel*"},
    {"sel": {"A": "x"}, "other": {"B": "y"}, "condition": "sel AND other"},
    {"sel": {"A": "x"}, "condition": "sel | count() > 5"},
    {"sel": {"A": "x"}},
]


class Generator:
    """The same seed makes the same rules and events."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def one(self, choices):
        return self.random.choice(choices)

    def chance(self, share):
        return self.random.random() < share

    # Events.

    def event(self):
        """One event: texts and numbers mostly, and now and then something else."""
        event = {}
        for field in ("A", "B", "C"):
            if self.chance(0.8):
                event[field] = self.scalar()
        if self.chance(0.6):
            event["D"] = {"E": self.scalar()}
        elif self.chance(0.2):
            event["D.E"] = self.scalar()
        if self.chance(0.5):
            event["IP"] = self.one(ADDRESSES)
        if self.chance(0.5):
            event["T"] = self.one(TIMES)
        if self.chance(0.7):
            event["N"] = self.one([*NUMBERS, *NUMBERS, "22", "6", "x", "1.5"])
        if "A" not in event and self.chance(0.3):
            event["a"] = self.scalar()
        return event

    def scalar(self):
        if self.chance(0.65):
            return self.one(WORDS)
        if self.chance(0.6):
            return self.one(NUMBERS)
        if self.chance(0.5):
            return self.one([True, False])
        if self.chance(0.5):
            return None
        return [self.one(WORDS), self.one([*WORDS, *NUMBERS])]

    # Rules.

    def detection(self):
        """A map for `detection`, with selections that are likely to match now and then."""
        if self.chance(0.06):
            return dict(self.one(WRONG))
        names = [f"sel{number}" for number in range(self.random.randint(1, 3))]
        if self.chance(0.3):
            names.append("other")
        if self.chance(0.15):
            names.append("_hidden")
        detection = {name: self.selection() for name in names}
        detection["condition"] = self.condition(names)
        return detection

    def condition(self, names):
        """A condition that names every kind of thing a condition can name."""
        seen = [name for name in names if not name.startswith("_")]
        kinds = [self.one(names)]
        kinds.append(f"1 of {self.one(['sel*', 'them', 's*0', 'any*' if 'any' in names else 'sel*'])}")
        kinds.append(f"all of {self.one(['sel*', 'them'])}")
        kinds.append(f"any of {self.one(['sel*', 'them'])}")
        kinds.append(f"not {self.one(names)}")
        if len(seen) > 1:
            first, second = self.random.sample(seen, 2)
            kinds.append(f"{first} and {second}")
            kinds.append(f"{first} and not {second}")
            kinds.append(f"not {first} and {second}")
            kinds.append(f"not ({first} or {second})")
            kinds.append(f"{first} or {second} and {self.one(names)}")
            kinds.append(f"({first} or {second}) and not {self.one(names)}")
            kinds.append(f"not not {first} or {second}")
        if self.chance(0.05) and len(seen) > 1:
            return self.random.sample(seen, 2)
        return self.one(kinds)

    def selection(self):
        if self.chance(0.08):
            return self.keywords()
        if self.chance(0.12):
            return [self.tests(1), self.tests(1)]
        return self.tests(self.random.randint(1, 2))

    def keywords(self):
        if self.chance(0.25):
            return {"|all": [self.needle(), self.needle()]}
        return [self.needle() for _ in range(self.random.randint(1, 3))]

    def needle(self):
        """A keyword without wildcards: SQLite would let one reach from one value into the next."""
        return self.one(["foo", "BAR", "22", 22, "neil", "quoted", "db8", "windows", "-f", "4624"])

    def tests(self, count):
        made = {}
        for _ in range(count):
            key, value = self.test()
            made[key] = value
        return made

    def test(self):
        """One key of a map with its value."""
        kind = self.random.random()
        field = self.one(FIELDS)
        if kind < 0.22:
            return field, self.values(self.pattern)
        if kind < 0.40:
            chain = [self.one(PLACE)]
            if self.chance(0.25):
                chain.append("all")
            if self.chance(0.15):
                chain.append("cased")
            if self.chance(0.10):
                chain.append("neq")
            self.random.shuffle(chain)
            return "|".join([field, *chain]), self.values(self.part, least=2 if "all" in chain else 1)
        return self.special_test(field)

    def special_test(self, field):
        makers = [
            lambda: (field, self.one(NUMBERS)),
            lambda: (field, self.one([True, False])),
            lambda: (field, None),
            lambda: (field, []),
            lambda: (field, ""),
            lambda: (f"{field}|exists", self.one([True, False])),
            lambda: (f"{field}|neq", self.values(self.pattern)),
            lambda: (f"{field}|neq", self.one(NUMBERS)),
            lambda: (f"{field}|re|neq", self.values(lambda: self.one(REGEXES))),
            lambda: ("IP|cidr|neq", self.values(lambda: self.one(NETS))),
            lambda: (f"N|{self.one(OPERATORS)}|neq", self.one([1, 5, 22])),
            lambda: (f"{field}|cased|neq", self.one(["foo", "FOOBAR"])),
            lambda: (f"{field}|exists|neq", True),
            lambda: (f"{field}|all", [self.pattern(), self.pattern()]),
            lambda: (f"{field}|contains|all|neq", [self.part(), self.part()]),
            lambda: (field, self.one(["*", "?", "**", "?*", "\\*", "*\\", "\\", "???*"])),
            lambda: (f"{field}|{self.one(PLACE)}", self.one(["", "*", "?", "\\", 2, 22])),
            lambda: (f"{field}|re|all", [self.one(REGEXES), self.one(REGEXES)]),
            lambda: (f"{field}|base64", "ä"),
            lambda: (f"{field}|{self.one(['utf16', 'utf16be', 'wide'])}|base64", "ping"),
            lambda: (f"{field}|{self.one(['minute', 'hour'])}|neq", 3),
            lambda: (f"{field}|cased|re", "foo"),
            lambda: (f"{field}|contains|startswith", "foo"),
            lambda: (f"{field}|fieldref|cased", self.one(FIELDS)),
            lambda: (f"{field}|cased", self.values(self.pattern)),
            lambda: (f"{field}|re", self.values(lambda: self.one(REGEXES))),
            lambda: (f"{field}|re|{self.one(['i', 'm', 's', 'ignorecase'])}", self.one(REGEXES)),
            lambda: (f"{field}|re|contains", self.one(REGEXES)),
            lambda: ("IP|cidr", self.values(lambda: self.one(NETS))),
            lambda: (f"N|{self.one(OPERATORS)}", self.one([1, 5, 22, 1.5, 1000, -5])),
            lambda: (f"{field}|fieldref", self.one(FIELDS)),
            lambda: (f"{field}|fieldref|{self.one([*PLACE, 'neq'])}", self.one(FIELDS)),
            lambda: (f"T|{self.one(PARTS)}", self.one([3, 4, 8, 12, 59, 2026])),
            lambda: (f"T|{self.one(PARTS)}|{self.one(OPERATORS)}", self.one([3, 8, 12, 2026])),
            lambda: (f"{field}|base64", self.one(["foobar", "FooBar", "ping"])),
            lambda: (f"{field}|base64offset|contains", self.one(["foobar", "fooBar", "ping"])),
            lambda: (f"{field}|{self.one(['wide', 'utf16le'])}|base64offset|contains", "ping"),
            lambda: (f"{field}|windash|contains", self.one([" -f ", "-param-name", " –f ", " /f "])),
        ]
        return self.one(makers)()

    def values(self, make, least=1):
        count = self.one([1, 1, 2, 3])
        made = [make() for _ in range(max(count, least))]
        return made if len(made) > 1 or self.chance(0.2) else made[0]

    def part(self):
        """A piece of a word, as a pattern."""
        word = self.one(WORDS)
        if len(word) > 2:
            begin = self.random.randrange(len(word) - 1)
            word = word[begin : begin + self.random.randint(1, len(word))]
        return self.written(word) if word else "oo"

    def pattern(self):
        """A whole word, as a pattern: with its odd characters escaped or not, and wildcards in it."""
        word = self.one(WORDS)
        if self.chance(0.1):
            return self.one(NUMBERS)
        if word and self.chance(0.3):
            at = self.random.randrange(len(word))
            length = self.random.randint(0, len(word) - at)
            return self.written(word[:at]) + self.one("*?") + self.written(word[at + length :])
        return self.written(word)

    def written(self, word):
        """The word with wildcards and backslashes escaped, or left as they are, and in either case."""
        if self.chance(0.5):
            word = word.replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?")
        return word.upper() if self.chance(0.2) else word


def rule(number, detection):
    """The text of a rule."""
    document = {
        "title": f"rule {number}",
        "logsource": {"category": "application", "product": "opencanary"},
        "detection": detection,
    }
    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False)


# Correlations.

BASE = {"a": ["a"], "b": ["b"], "c": ["c"], "ab": ["a", "b"]}
SPANS = ["5s", "20s", "1m", "2m"]
FIGURES = ["value_sum", "value_avg", "value_median", "value_percentile"]
EXTENDED = ["a and b", "a or b", "a and not b", "(a or b) and c", "a and b and not c", "a and not b or b and not c"]


class Correlations(Generator):
    """Correlations over four rules, and events in no two of the same moment."""

    def events(self, count, seconds):
        """(seconds, event) in order. Quarters of a second are exact in a double."""
        moments = sorted(self.random.sample(range(4 * seconds), count))
        return [(moment / 4, self.moment_event()) for moment in moments]

    def moment_event(self):
        event = {"kind": self.one("aaabbbccz"), "num": self.one([1, 2, 3, 10, 0.5, -4, "5", "many"])}
        if self.chance(0.95):
            event["src"] = self.one(["192.0.2.1", "192.0.2.2", "host", "HOST"])
        if self.chance(0.9):
            event["user"] = self.one(["root", "Root", "admin", "guest", "192.0.2.1", 7])
        if self.chance(0.1):
            del event["num"]
        return event

    def documents(self, count):
        """The rules that are referred to, and the correlations."""
        made = []
        for name, kinds in BASE.items():
            made.append(
                {
                    "title": f"base {name}",
                    "name": name,
                    "logsource": {"category": "application", "product": "opencanary"},
                    "detection": {"sel": {"kind": kinds}, "condition": "sel"},
                }
            )
        for number in range(count):
            made.extend(self.correlation(number))
        return made

    def correlation(self, number):
        makers = [self.event_count, self.value_count, self.temporal, self.ordered, self.extended]
        makers += [self.figure] * 2
        inner = self.one(makers)()
        if self.chance(0.5):
            inner["group-by"] = self.one([["src"], ["src"], ["src", "user"]])
        if "group-by" in inner and inner["type"] == "event_count" and self.chance(0.3):
            inner["rules"] = ["a", "b"]
            inner["group-by"] = ["who"]
            inner["aliases"] = {"who": {"a": "src", "b": "user"}}
        document = {"title": f"correlation {number}", "correlation": inner}
        if self.chance(0.85) or "who" in inner.get("group-by", []):
            return [document]
        # One on top of it.
        document |= {"title": f"inner {number}", "name": f"inner_{number}"}
        outer = {"type": "event_count", "rules": [f"inner_{number}"], "timespan": "2m", "condition": {"gte": 2}}
        if "group-by" in inner:
            outer["group-by"] = inner["group-by"][:1]
        return [document, {"title": f"correlation {number}", "correlation": outer}]

    def rules(self, least=1):
        return self.random.sample(["a", "b", "c"], self.random.randint(least, 3))

    def bound(self, most, operators=("gte", "gte", "gte", "gt", "lt", "lte", "eq", "neq")):
        return {self.one(operators): self.random.randint(1, most)}

    def event_count(self):
        rules = self.one([["ab"], ["a", "ab"], self.rules()])
        return {"type": "event_count", "rules": rules, "timespan": self.one(SPANS), "condition": self.bound(6)}

    def value_count(self):
        condition = {"field": self.one(["user", "user", "num", "src"])} | self.bound(4)
        return {"type": "value_count", "rules": self.rules(), "timespan": self.one(SPANS), "condition": condition}

    def temporal(self):
        made = {"type": "temporal", "rules": self.rules(2), "timespan": self.one(SPANS)}
        return made | ({"condition": self.bound(len(made["rules"]))} if self.chance(0.5) else {})

    def ordered(self):
        made = {"type": "temporal_ordered", "rules": self.rules(2), "timespan": self.one(SPANS)}
        count = self.random.randint(2, len(made["rules"]))
        return made | ({"condition": {"gte": count}} if self.chance(0.5) else {})

    def figure(self):
        kind = self.one(FIGURES)
        condition = {"field": "num"} | self.bound(8, ("gte", "gt", "lt", "lte"))
        if kind == "value_percentile":
            condition["percentile"] = self.one([0, 25, 50, 90, 100])
        return {"type": kind, "rules": self.rules(), "timespan": self.one(SPANS), "condition": condition}

    def extended(self):
        condition = self.one(EXTENDED)
        words = condition.replace("(", " ").replace(")", " ").split()
        rules = [name for name in ("a", "b", "c") if name in words]
        return {"type": "temporal", "rules": rules, "timespan": self.one(SPANS), "condition": condition}

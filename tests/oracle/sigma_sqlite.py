"""The other opinion: Sigma rules evaluated by pySigma and its SQLite backend.

pySigma turns a rule into SQL and SQLite runs that over a table of events. What SQLite cannot know is
mended here where values can be stored to fit (as the text that Sigma compares) or a function can be
given to it (case beyond ASCII, addresses, numbers), and listed in `differential.py` where not.
"""

import functools
import ipaddress
import json
import re
import sqlite3

import re2
from sigma.backends.sqlite import sqliteBackend
from sigma.backends.sqlite.correlation import CorrelationCompiler, numeric
from sigma.backends.sqlite.runtime import execute_plan
from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule
from sigma.processing.pipeline import ProcessingItem, ProcessingPipeline
from sigma.processing.transformations import FieldFunctionTransformation
from sigma.types import SigmaTimestampPart

TABLE = "events"
ID = "oracle_id"
TIME = "oracle_time"
TEXT = "oracle_text"


def read(texts):
    """A collection of all rules in these YAML texts, filters applied and references resolved."""
    parts = [
        SigmaCollection.from_yaml(text, collect_filters=True, resolve_references=False) for text in texts
    ]
    return SigmaCollection.merge(parts)


def flatten(event):
    """The columns of an event: dotted paths to scalars, and to lists as one text."""
    columns = {}

    def walk(prefix, value):
        if isinstance(value, dict):
            for key, member in value.items():
                walk(f"{prefix}.{key}" if prefix else key, member)
        elif prefix not in columns:
            columns[prefix] = value

    # A member whose own name has a dot is found before one that is nested.
    walk("", {key: value for key, value in event.items() if not isinstance(value, dict)})
    walk("", event)
    return columns


def text_of(value):
    """A scalar as Sigma compares it."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return json.dumps(value)
    return str(value)


def scalars(value):
    """Every scalar at any depth: where keywords are searched."""
    if isinstance(value, dict):
        for member in value.values():
            yield from scalars(member)
    elif isinstance(value, list):
        for member in value:
            yield from scalars(member)
    elif value is not None:
        yield text_of(value)


def column(name):
    """The column of a field. SQLite's columns have no case and fields have, so the case is spelled out."""
    if name is None or name == name.lower():
        return name
    return f"{name} {''.join('1' if letter.isupper() else '0' for letter in name)}"


def quoted(name):
    return "`" + name.replace("`", "``") + "`"


def predicate(query):
    """The condition alone: rules that a correlation names have no more, the others are whole queries."""
    select, where, condition = query.partition(" WHERE ")
    return condition if where and select.startswith("SELECT ") else query


class Backend(sqliteBackend):
    """pySigma's, but for what a function of SQLite can do and SQLite cannot."""

    def convert_condition_field_eq_val_cidr(self, cond, state):
        return f"CIDR({self.escape_and_quote_field(cond.field)}, '{cond.value.network}')"

    def convert_condition_field_eq_val_num(self, cond, state):
        number = cond.value.number
        if isinstance(number, float) and number.is_integer():
            cond.value.number = int(number)
        return super().convert_condition_field_eq_val_num(cond, state)

    def convert_condition_field_compare_op_val(self, cond, state):
        if isinstance(cond.value.number, SigmaTimestampPart):
            # A part of a point in time.
            return super().convert_condition_field_compare_op_val(cond, state)
        field = numeric(self.escape_and_quote_field(cond.field))
        return f"({field}) {self.compare_operators[cond.value.op]} {cond.value.number}"


def regexp(pattern, value):
    return value is not None and re2.search(pattern, str(value)) is not None


def folded(text):
    """Each letter by itself, so that a sigma at the end of a word is the same as another."""
    return "".join(letter.lower() for letter in text)


def like(pattern, value, escape):
    """LIKE without regard to case in all of Unicode; SQLite's own folds ASCII."""
    if value is None or pattern is None:
        return None
    return compiled(folded(pattern), escape).fullmatch(folded(str(value))) is not None


@functools.cache
def compiled(pattern, escape):
    expression, letters = "", iter(pattern)
    for letter in letters:
        if letter == escape:
            expression += re.escape(next(letters, letter))
        else:
            expression += {"%": ".*", "_": "."}.get(letter) or re.escape(letter)
    return re.compile(expression, re.DOTALL)


def nocase(left, right):
    left, right = folded(left), folded(right)
    return (left > right) - (left < right)


def cidr(value, network):
    try:
        return ipaddress.ip_address(value or "") in ipaddress.ip_network(network)
    except ValueError:
        return False


class Oracle:
    """Some rules, ready to be asked about events."""

    def __init__(self, collection):
        self.rules = {}
        self.correlations = {}
        self.backend = Backend(
            ProcessingPipeline(items=[ProcessingItem(FieldFunctionTransformation({}, column))]),
            table=TABLE,
            event_id_field=ID,
            timestamp_field=TIME,
            # Seconds, as they are: what the tests use is exact in a double.
            timestamp_seconds_expression="{field}",
            fulltext_field=TEXT,
        )
        self.backend.finalize_correlation_subqueries = False
        for rule in collection.rules:
            if isinstance(rule, SigmaCorrelationRule):
                self.backend.convert_correlation_rule(rule)
                self.correlations[rule.title] = CorrelationCompiler(self.backend, rule).compile()[1]
            else:
                self.backend.convert_rule(rule)
                self.rules[rule.title] = (
                    [f"({predicate(query)})" for query in rule.get_conversion_result()],
                    self.backend.required_fields(rule),
                )

    @classmethod
    def of(cls, *texts):
        return cls(read(texts))

    def table(self, events, times=None):
        """A connection to a new database with these events; their numbers count from 0."""
        connection = sqlite3.connect(":memory:")
        connection.create_function("REGEXP", 2, regexp, deterministic=True)
        connection.create_function("LIKE", 3, like, deterministic=True)
        connection.create_function("CIDR", 2, cidr, deterministic=True)
        connection.create_collation("NOCASE", nocase)
        rows = [{column(name): value for name, value in flatten(event).items()} for event in events]
        fields = {name for row in rows for name in row}
        fields.update(name for _, required in self.rules.values() for name in required)
        plans = (plan["required_fields"].values() for plan in self.correlations.values())
        fields.update(name for required in plans for names in required for name in names)
        fields = sorted(fields - {ID, TIME, TEXT})
        declared = "".join(f", {quoted(name)} TEXT COLLATE NOCASE" for name in fields)
        connection.execute(f"CREATE TABLE {TABLE} ({ID} INTEGER, {TIME} REAL, {TEXT} TEXT{declared})")
        for number, (event, row) in enumerate(zip(events, rows)):
            values = [number, times[number] if times else 0, "\n".join(scalars(event))]
            values += [text_of(row.get(name)) for name in fields]
            marks = ", ".join("?" * len(values))
            connection.execute(f"INSERT INTO {TABLE} VALUES ({marks})", values)
        return connection

    def matches(self, connection, title):
        """The numbers of the events that this rule matches."""
        queries, _ = self.rules[title]
        sql = f"SELECT {ID} FROM {TABLE} WHERE {' OR '.join(queries)} ORDER BY {ID}"
        return [number for (number,) in connection.execute(sql)]

    def firings(self, connection, title):
        """When this correlation fires, for which group: (seconds, [group values])."""
        alerts, _ = execute_plan(connection, self.correlations[title], include_events=False)
        return [
            (alert["occurrence_time"], [str(it) for it in alert["group_keys"].values()]) for alert in alerts
        ]

"""The other opinion: Sigma rules evaluated by pySigma and its SQLite backend.

pySigma turns a rule into SQL and SQLite runs that over a table of events. What SQLite cannot know is
mended here where a table can be made to fit (values are stored as the text that Sigma compares), and
listed in `differential.py` where it cannot.
"""

import json
import re as _re
import sqlite3

import re2
from sigma.backends.sqlite import sqliteBackend
from sigma.backends.sqlite.correlation import CorrelationCompiler
from sigma.backends.sqlite.runtime import execute_plan
from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule
from sigma.processing.pipeline import ProcessingItem, ProcessingPipeline
from sigma.processing.transformations import FieldFunctionTransformation

TABLE = "events"
ID = "oracle_id"
TIME = "oracle_time"
TEXT = "oracle_text"

# A line of a rule file that begins the next document.
DOCUMENT = _re.compile(r"^---\s*$", _re.MULTILINE)


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
            # SQLite would write a point and a nought after a whole number.
            columns[prefix] = int(value) if isinstance(value, float) and value.is_integer() else value

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


def column_type(values):
    """How SQLite is to compare a column: as numbers where there is nothing else in it."""
    types = {type(value) for value in values if value is not None}
    if types == {int}:
        return "INTEGER"
    if types and types <= {int, float}:
        return "REAL"
    return "TEXT COLLATE NOCASE"


def stored(value, kind):
    """A scalar as it stands in a column of this type."""
    if kind in ("INTEGER", "REAL") or value is None:
        return value
    return text_of(value)


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


class Oracle:
    """Some rules, ready to be asked about events."""

    def __init__(self, collection):
        self.rules = {}
        self.correlations = {}
        self.backend = sqliteBackend(
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
        connection.create_function("REGEXP", 2, _regexp, deterministic=True)
        rows = [{column(name): value for name, value in flatten(event).items()} for event in events]
        fields = {name for row in rows for name in row}
        fields.update(name for _, required in self.rules.values() for name in required)
        plans = (plan["required_fields"].values() for plan in self.correlations.values())
        fields.update(name for required in plans for names in required for name in names)
        fields = sorted(fields - {ID, TIME, TEXT})
        kinds = {name: column_type(row.get(name) for row in rows) for name in fields}
        declared = "".join(f", {quoted(name)} {kinds[name]}" for name in fields)
        connection.execute(f"CREATE TABLE {TABLE} ({ID} INTEGER, {TIME} REAL, {TEXT} TEXT{declared})")
        for number, (event, row) in enumerate(zip(events, rows)):
            values = [number, times[number] if times else 0, "\n".join(scalars(event))]
            values += [stored(row.get(name), kinds[name]) for name in fields]
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


def _regexp(pattern, value):
    return value is not None and re2.search(pattern, str(value)) is not None

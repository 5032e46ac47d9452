"""Our engine against pySigma on SQLite: rules and events at random, and every difference explained.

Usage: differential.py ENGINE, the program `crates/detect/examples/match.rs`.

A difference is accepted only where one of ARTEFACTS says that SQLite or pySigma cannot do what the
specification asks, and each of those must show itself, so that none outlives its reason.
"""

import collections
import contextlib
import json
import os
import sys

import yaml
from engine import ask_texts
from generate import Generator, rule
from sigma.collection import SigmaCollection
from sigma.exceptions import SigmaError
from sigma_sqlite import Oracle, flatten

SEED = 20261122
RULES = 1200
EVENTS = 80


def tests_of(detection):
    """(field, modifiers, values) of each test in a detection; the field of keywords is empty."""
    for name, selection in detection.items():
        if name == "condition":
            continue
        maps = selection if isinstance(selection, list) else [selection]
        for it in maps:
            if not isinstance(it, dict):
                yield "", [], [it]
                continue
            for key, value in it.items():
                field, *modifiers = key.split("|")
                yield field, modifiers, value if isinstance(value, list) else [value]


def texts(values):
    return [it for it in values if isinstance(it, str)]


# Each: why, and whether it may explain a difference of this test on this event's value.


def several_values(field, modifiers, values, value, row):
    """A list is one text in SQLite; Sigma asks each member, and one is enough."""
    if field == "":
        return any(isinstance(it, list) for it in row.values())
    others = [row.get(it) for it in values if isinstance(it, str)] if "fieldref" in modifiers else []
    return any(isinstance(it, list) for it in [value, *others])


def null_that_is_there(field, modifiers, values, value, row):
    """A field that is there and null is NULL in SQLite, as is one that is missing."""
    return "exists" in modifiers and value is None and field in row


def dash_of_the_rule(field, modifiers, values, value, row):
    """pySigma expands `-` and `/` alone; a rule's en dash stands for them too."""
    return "windash" in modifiers and any("–" in it for it in texts(values))


ARTEFACTS = [
    several_values,
    null_that_is_there,
    dash_of_the_rule,
]

# What one of the two says of rules that it alone refuses, and why we decide as we do.
REFUSALS = {
    "Unknown modifier 'utf16le'": "the specification has it, as another name of `wide`",
    "CaseSensitiveModifier incompatible": "`cased` asks for the same text, and a number has one",
    "ContainsModifier incompatible": "a number has a text that another may contain",
    "StartswithModifier incompatible": "or begin with",
    "EndswithModifier incompatible": "or end with",
    "`exists` takes no other modifier": "the specification says so; pySigma takes `neq` with it",
}


def explained(detection, event):
    """The artefacts that may explain a difference between this rule and this event."""
    row = flatten(event)
    found = set()
    for field, modifiers, values in tests_of(detection):
        value = row.get(field)
        found.update(it.__name__ for it in ARTEFACTS if it(field, modifiers, values, value, row))
    return found


@contextlib.contextmanager
def without_complaints():
    """RE2 writes to standard error what is wrong with a pattern, besides raising it."""
    kept = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nothing)
        os.close(kept)


def theirs(rules, events):
    """(why by title refused, numbers of events by title) by pySigma.

    Each event has a table of its own, so that its values keep their kinds.
    """
    oracles, refused = {}, {}
    for number, text in enumerate(rules):
        title = f"rule {number}"
        try:
            with without_complaints():
                oracles[title] = Oracle.of(text)
        except (SigmaError, NotImplementedError, ValueError) as error:
            refused[title] = str(error)
    columns = Oracle(SigmaCollection([]))
    for oracle in oracles.values():
        columns.rules.update(oracle.rules)
    matched = collections.defaultdict(list)
    for number, event in enumerate(events):
        connection = columns.table([event])
        for title in oracles:
            if columns.matches(connection, title):
                matched[title].append(number)
        connection.close()
    return refused, matched


def main(engine):
    generator = Generator(SEED)
    detections = [generator.detection() for _ in range(RULES)]
    rules = [rule(number, detection) for number, detection in enumerate(detections)]
    events = [generator.event() for _ in range(EVENTS)]
    arrivals = [(number, number, event) for number, event in enumerate(events)]
    answer = ask_texts(engine, rules, arrivals)
    our_refused, our_matched = answer.refused, answer.matched
    their_refused, their_matched = theirs(rules, events)

    wrong, seen, agreed = [], collections.Counter(), 0
    for number, detection in enumerate(detections):
        title = f"rule {number}"
        text = yaml.safe_dump(detection, allow_unicode=True, sort_keys=False)
        if (title in our_refused) != (title in their_refused):
            why = our_refused.get(title) or their_refused.get(title)
            who = "ours" if title in our_refused else "pySigma"
            reason = next((it for it in REFUSALS if it in why), None)
            seen[reason] += 1
            if reason is None:
                wrong.append(f"only {who} refuses\n{text}{why}")
            continue
        if title in our_refused:
            agreed += EVENTS
            continue
        mine, other = set(our_matched[title]), set(their_matched[title])
        agreed += EVENTS - len(mine ^ other)
        for event in sorted(mine ^ other):
            reasons = explained(detection, events[event])
            seen.update(reasons)
            if not reasons:
                who = "ours" if event in mine else "pySigma"
                wrong.append(f"only {who} matches\n{text}{json.dumps(events[event], ensure_ascii=False)}")

    matches = sum(map(len, their_matched.values()))
    print(f"{RULES} rules, {len(their_refused)} refused, {EVENTS} events: {agreed} decisions agree, {matches} match")
    for name in [*(it.__name__ for it in ARTEFACTS), *REFUSALS]:
        print(f"  {name}: {seen[name]}")
        if not seen[name]:
            wrong.append(f"{name} explains nothing any more: take it off the list")
    for it in wrong[:20]:
        print(f"--- {it}")
    print(f"{len(wrong)} differences without a reason")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

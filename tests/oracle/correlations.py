"""Our correlations against pySigma's on SQLite: correlations and events at random.

Usage: correlations.py ENGINE, the program `crates/detect/examples/match.rs`.

The events come once in their order and once mixed up within the lateness that the engine waits for;
both must fire as SQLite says, which sees all of them at once. No two events share a moment: SQLite
tells moments apart and not events, and asks for later ones where a rule asks for an order.
"""

import random
import sys

import yaml
from engine import ask_texts
from generate import Correlations
from sigma_sqlite import Oracle

SEED = 20261122
CORRELATIONS = 150
EVENTS = 160
SECONDS = 400
LATENESS = 8


def theirs(documents, events):
    oracle = Oracle.of(yaml.safe_dump_all(documents, sort_keys=False))
    connection = oracle.table([event for _, event in events], [moment for moment, _ in events])
    fired = {}
    for title in oracle.correlations:
        firings = oracle.firings(connection, title)
        fired[title] = {(moment, tuple(it.lower() for it in group)) for moment, group in firings}
    return fired


def main(engine):
    generator = Correlations(SEED)
    documents = generator.documents(CORRELATIONS)
    events = generator.events(EVENTS, SECONDS)
    # The last says how far the clock got, so that every window has passed.
    events.append((SECONDS + 600, {"kind": "z"}))
    wanted = theirs(documents, events)
    delays = random.Random(SEED)
    delayed = [(moment, moment + delays.random() * LATENESS, event) for moment, event in events]
    mixed = sorted(delayed, key=lambda it: it[1])
    in_order = [(moment, moment, event) for moment, event in events]

    wrong = []
    for how, arrivals in (("in order", in_order), ("mixed up", mixed)):
        answer = ask_texts(engine, [yaml.safe_dump_all(documents, sort_keys=False)], arrivals, LATENESS)
        wrong += [f"our engine refuses {title}: {why}" for title, why in answer.refused.items()]
        for document in documents:
            title = document["title"]
            if not title.startswith("correlation "):
                continue
            mine, other = answer.fired[title], wanted[title]
            if mine != other:
                text = yaml.safe_dump(document["correlation"], sort_keys=False)
                only = f"only ours: {sorted(mine - other)[:4]}\nonly pySigma: {sorted(other - mine)[:4]}"
                wrong.append(f"{title}, {how}\n{text}{only}")
    titles = [it for it in wanted if it.startswith("correlation ")]
    silent = sum(not wanted[it] for it in titles)
    print(f"{len(titles)} correlations over {EVENTS} events fire {sum(len(wanted[it]) for it in titles)} times")
    print(f"{silent} never fire, {len(wrong)} differ")
    for it in wrong[:10]:
        print(f"--- {it}")
    return bool(wrong) or silent * 2 > len(titles)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

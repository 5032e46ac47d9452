"""The pack by pySigma: each case must fire as often as it says, and our engine must say the same of all.

Usage: pack.py ENGINE, the program `crates/detect/examples/match.rs`.

`crates/detect/tests/pack.rs` plays each case to the rule beside it as well. Here, besides, every rule is
asked about the events of all cases, by both.
"""

import sys

from cases import PACK, cases_of, rule_files, seconds
from engine import ask
from sigma.correlations import SigmaCorrelationRule
from sigma.plugins import InstalledSigmaPlugins
from sigma.validation import SigmaValidator
from sigma_sqlite import Oracle, read

# Seconds between two cases: no correlation looks back so far.
APART = 10 * 86400


def complaints(collection):
    """What pySigma's validators say, but for those that ask the network what tags there are."""
    known = InstalledSigmaPlugins.autodiscover().validators
    harmless = ("tag_format", "duplicate_tag")
    offline = {name: it for name, it in known.items() if "tag" not in name or name in harmless}
    validator = SigmaValidator(offline.values())
    found = [it for rule in collection.rules for it in validator.validate_rule(rule)] + validator.finalize()
    return len(offline), [f"{type(it).__name__}: {it}" for it in found]


def found_by(oracle, rule, events):
    """How often a rule or a correlation fires at these events."""
    connection = oracle.table(events, [seconds(event) for event in events])
    is_correlation = isinstance(rule, SigmaCorrelationRule)
    found = len((oracle.firings if is_correlation else oracle.matches)(connection, rule.title))
    connection.close()
    return found


def differences(engine, oracle, sequences):
    """What our engine says otherwise of the events of all cases, each case long after the one before."""
    events, times = [], []
    for number, sequence in enumerate(sequences):
        events += sequence
        times += [number * APART + seconds(event) - seconds(sequence[0]) for event in sequence]
    connection = oracle.table(events, times)
    answer = ask(engine, PACK, zip(times, times, events))
    wrong = [f"our engine refuses {title}: {why}" for title, why in answer.refused.items()]
    decisions = 0
    for title in oracle.rules:
        mine, other = set(answer.matched[title]), set(oracle.matches(connection, title))
        decisions += len(events)
        wrong += [f"{title}: {events[it]} matches only by one" for it in mine ^ other]
    for title in oracle.correlations:
        firings = oracle.firings(connection, title)
        other = {(moment, tuple(it.lower() for it in group)) for moment, group in firings}
        decisions += len(other)
        wrong += [f"{title}: fires only by one: {it}" for it in answer.fired[title] ^ other]
    connection.close()
    return decisions, wrong


def main(engine):
    collection = read([path.read_text(encoding="utf-8") for path in rule_files()])
    oracle = Oracle(collection)
    by_name = {rule.name: rule for rule in collection.rules}
    asked, wrong = complaints(collection)
    ran, sequences = 0, []
    for path in rule_files():
        for why, fires, events in cases_of(path):
            rule = by_name[path.stem]
            sequences.append(events)
            # The same events marked as a self-test must fire nothing.
            marked = [dict(event, selftest=True) for event in events]
            for how, sequence, wanted in (("", events, fires), (", marked as a self-test", marked, 0)):
                ran += 1
                found = found_by(oracle, rule, sequence)
                if found != wanted:
                    wrong.append(f"{path.stem}: {why}{how}: fires {found} times, not {wanted}")
    decisions, more = differences(engine, oracle, sequences)
    wrong += more
    print(f"{len(by_name)} rules, {asked} validators, {ran} cases, {decisions} decisions: {len(wrong)} wrong")
    for line in wrong[:20]:
        print(line)
    return bool(wrong) or ran < 2 * len(by_name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

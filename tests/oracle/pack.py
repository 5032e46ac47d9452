"""Every rule of the pack, by pySigma: each case must fire as often as it says.

This is the outside check of the pack; `crates/detect/tests/pack.rs` asks our own engine the same.
"""

import sys

from cases import cases_of, rule_files, seconds
from sigma_sqlite import Oracle, read
from sigma.correlations import SigmaCorrelationRule


def main():
    files = rule_files()
    collection = read([path.read_text(encoding="utf-8") for path in files])
    oracle = Oracle(collection)
    titles = {rule.name: rule.title for rule in collection.rules}
    kinds = {rule.title: rule for rule in collection.rules}
    ran, wrong = 0, []
    for path in files:
        title = titles.get(path.stem)
        if title is None:
            continue
        for why, fires, events in cases_of(path):
            for mark, wanted in ((None, fires), (True, 0)):
                # The same events marked as a self-test must match nothing.
                marked = [dict(event, selftest=True) if mark else event for event in events]
                connection = oracle.table(marked, [seconds(event) for event in marked])
                if isinstance(kinds[title], SigmaCorrelationRule):
                    found = len(oracle.firings(connection, title))
                else:
                    found = len(oracle.matches(connection, title))
                connection.close()
                ran += 1
                if found != wanted:
                    selftest = ", marked as a self-test" if mark else ""
                    wrong.append(f"{path.stem}: {why}{selftest}: fires {found} times, not {wanted}")
    print(f"{len(kinds)} rules, {ran} cases by pySigma")
    for line in wrong:
        print(line)
    return bool(wrong) or ran < 2 * len(kinds)


if __name__ == "__main__":
    sys.exit(main())

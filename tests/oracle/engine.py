"""Our engine: `crates/detect/examples/match.rs`, as a program."""

import collections
import json
import pathlib
import subprocess
import tempfile
from dataclasses import dataclass, field

# When the events begin that are given in seconds: seconds since 1970.
START = 1767225600
MICRO = 1_000_000


@dataclass
class Answer:
    """What the engine said."""

    # Why, by title.
    refused: dict = field(default_factory=dict)
    # The numbers of the events that match, by title.
    matched: dict = field(default_factory=lambda: collections.defaultdict(list))
    # (seconds, group in lower case) of each firing, by title.
    fired: dict = field(default_factory=lambda: collections.defaultdict(set))


def ask(engine, rules, arrivals, lateness=0):
    """Runs the rules of a folder over events: (seconds, seconds when it arrived, event)."""
    answer = Answer()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "events"
        with path.open("w", encoding="utf-8") as lines:
            for moment, arrived, event in arrivals:
                clocks = [str(round((START + it) * MICRO)) for it in (moment, arrived)]
                lines.write("\t".join([*clocks, json.dumps(event)]) + "\n")
        arguments = [engine, rules, path, str(lateness * MICRO)]
        run = subprocess.run(arguments, capture_output=True, text=True, check=True)
    for line in run.stdout.splitlines():
        said = json.loads(line)
        if "refused" in said:
            answer.refused[said["refused"]] = said["why"]
        elif "matched" in said:
            answer.matched[said["matched"]].append(said["event"])
        else:
            group = tuple(it.lower() for it in said["group"])
            answer.fired[said["fired"]].add((said["time"] / MICRO - START, group))
    return answer


def ask_texts(engine, texts, arrivals, lateness=0):
    """The same with rules that are texts."""
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(texts):
            (pathlib.Path(folder) / f"{number:05}.yml").write_text(text, encoding="utf-8")
        return ask(engine, folder, arrivals, lateness)

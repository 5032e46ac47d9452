"""The pack and the cases beside its rules: `docs/detection.md`, "Cases"."""

import copy
import datetime
import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACK = ROOT / "rules" / "sigma"
CLOCKS = ("local_time", "local_time_adjusted", "utc_time")
FORM = "%Y-%m-%d %H:%M:%S.%f"


def rule_files():
    return sorted(PACK.rglob("*.yml"))


def cases_of(rule_file):
    """(why, how often it fires, events with all their fields) of each case."""
    path = rule_file.with_suffix(".jsonl")
    if not path.exists():
        return
    like = None
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if "like" in entry:
            like = entry["like"]
            continue
        yield entry["why"], entry["fires"], [changed(like, changes) for changes in entry["events"]]


def changed(like, changes):
    """The event `like` with these changes: a dotted name reaches into an object, `at` is seconds."""
    event = copy.deepcopy(like)
    for name, value in changes.items():
        if name == "at":
            for clock in CLOCKS:
                moment = datetime.datetime.strptime(event[clock], FORM) + datetime.timedelta(seconds=value)
                event[clock] = moment.strftime(FORM)
            continue
        at = event
        *path, last = name.split(".") if name not in event else [name]
        # A member that is named with a dot, or lies deeper than the objects that are there.
        while path and isinstance(at.get(path[0]), dict):
            at = at[path.pop(0)]
        at[".".join([*path, last])] = value
    return event


def seconds(event):
    """When it happened, in seconds since an arbitrary day."""
    moment = datetime.datetime.strptime(event["utc_time"], FORM)
    return (moment - datetime.datetime(2026, 1, 1)).total_seconds()

"""The pack as queries of other systems: writes `rules/export/`, or says that it is stale.

Runs what sigma-cli runs: pySigma's backends with the pipelines of `rules/export/pipelines/`. What a
backend cannot say stands in the file as a comment with its reason, so that nothing is missing unseen.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import typing
from dataclasses import dataclass

import eql
import luqum.parser
import yaml
from eql.parser import allow_runs, elasticsearch_syntax
from sigma.backends.elasticsearch import EqlBackend, ESQLBackend, LuceneBackend
from sigma.backends.kusto import KustoBackend
from sigma.backends.loki import LogQLBackend
from sigma.backends.splunk import SplunkBackend
from sigma.collection import SigmaCollection
from sigma.exceptions import SigmaError
from sigma.processing.pipeline import ProcessingPipeline

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACK = ROOT / "rules" / "sigma"
EXPORT = ROOT / "rules" / "export"


def parse_eql(query):
    with elasticsearch_syntax, allow_runs:
        eql.parse_query(query)


@dataclass
class Target:
    """One file of queries."""

    path: str
    backend: type
    pipeline: str
    # What begins a line that the target does not read.
    comment: str
    # Whether `not` of a test of a missing field is true there: else the filter would hide every event.
    filters: bool = True
    # Whether a keyword is searched in all fields; some backends write a text where a test should stand.
    keywords: bool = True
    # Reads a query and raises what is wrong with it, where there is somebody else's parser.
    parse: typing.Callable = lambda query: None
    # The kinds of correlations whose queries ask what the rule asks; `None` for all.
    correlations: tuple = None


TARGETS = [
    Target("splunk/queries.spl", SplunkBackend, "splunk", "#"),
    Target("splunk/queries_cim.spl", SplunkBackend, "splunk_cim", "#"),
    Target("esql/queries.esql", ESQLBackend, "ecs", "//", filters=False),
    Target("eql/queries.eql", EqlBackend, "ecs", "//", False, False, parse_eql, ("event_count",)),
    Target("lucene/queries.txt", LuceneBackend, "ecs", "#", parse=luqum.parser.parser.parse),
    Target("loki/queries.logql", LogQLBackend, "loki", "#"),
    Target("sentinel/queries.kql", KustoBackend, "sentinel", "//", keywords=False),
]


def documents():
    """name -> (path, document) of every rule and correlation, and the texts of the filters."""
    rules, filters = {}, []
    for path in sorted(PACK.rglob("*.yml")):
        text = path.read_text(encoding="utf-8")
        document = yaml.safe_load(text)
        if "filter" in document:
            filters.append(text)
        else:
            rules[document["name"]] = (path, document, text)
    return rules, filters


def told(rules):
    """The names of what is told by itself: not the building blocks of correlations."""
    loud, named = set(), set()
    for _, document, _ in rules.values():
        correlation = document.get("correlation", {})
        named.update(correlation.get("rules", []))
        if correlation.get("generate"):
            loud.update(correlation["rules"])
    return [name for name in rules if name not in named or name in loud]


def query(target, pipeline, document, rules, filters):
    """The query for one rule, or the reason why there is none."""
    correlation = document.get("correlation", {})
    needed = correlation.get("rules", [])
    if needed and target.correlations is not None and correlation["type"] not in target.correlations:
        return None, f"the backend's query for {correlation['type']} asks something else."
    if not target.keywords and any(isinstance(it, list) for it in document.get("detection", {}).values()):
        return None, "the backend cannot search for keywords."
    # Rules before the correlation that names them.
    texts = [rules[name][2] for name in [*needed, document["name"]]]
    if target.filters:
        texts += filters
    collection = SigmaCollection.from_yaml("\n---\n".join(texts))
    backend = target.backend(processing_pipeline=pipeline)
    if target.backend is LogQLBackend:
        # Loki reads `a or b and c` from the left, and Sigma does not.
        backend.parenthesize = True
    for rule in collection.rules:
        # Only the correlation is wanted here; its rules have queries of their own.
        if rule.name != document["name"]:
            rule.disable_output()
    try:
        found = "\n".join(backend.convert(collection))
        # EQL's `:` is for texts alone.
        return (re.sub(r":(true|false)\b", r"==\1", found) if target.backend is EqlBackend else found), None
    except (SigmaError, NotImplementedError) as error:
        return None, str(error).split(" (while ")[0].splitlines()[0][:160]


def page(target):
    rules, filters = documents()
    text = (EXPORT / "pipelines" / f"{target.pipeline}.yml").read_text(encoding="utf-8")
    mark = target.comment
    lines = [f"{mark} Generated from rules/sigma by sigma-cli's backends: ./test export says when it is stale."]
    said = 0
    for name in told(rules):
        path, document, _ = rules[name]
        pipeline = ProcessingPipeline.from_yaml(text)
        found, why = query(target, pipeline, document, rules, filters)
        lines += ["", f"{mark} {document['title']} ({document['level']}), {document['id']}"]
        if found is None:
            lines.append(f"{mark} No query: {why}")
        else:
            said += 1
            lines.append(found)
            target.parse(found)
    return "\n".join(lines) + "\n", said, len(told(rules))


def function():
    """Sentinel's function: the fields of OpenCanary's that the pack names, as columns of text."""
    rules, _ = documents()
    fields = {"logdata.msg.logdata"}
    for _, document, _ in rules.values():
        fields.update(document.get("fields", []))
        for selection in document.get("detection", {}).values():
            if isinstance(selection, dict):
                fields.update(key.split("|")[0] for key in selection)
    lines = [
        "// Generated from rules/sigma. Save it as the function OpenCanary of the workspace.",
        "// The custom table has OpenCanary's fields as they are, logdata as one column of type dynamic.",
        "OpenCanary_CL",
    ]
    for name in ("honeycred", "selftest"):
        lines.append(f'| extend {name} = tostring(column_ifexists("{name}", ""))')
    for field in sorted(it for it in fields if it.startswith("logdata.")):
        path = field.split(".")[1:]
        column = "logdata_" + re.sub(r"\W", "_", "msg" if path[0] == "msg" else "_".join(path))
        reach = "".join(f'["{part}"]' for part in path)
        lines.append(f"| extend {column} = tostring(logdata{reach})")
    return "\n".join(lines) + "\n"


def strangers():
    """What the pipeline for ECS says and our own encoding does not: names of kinds and of fields."""
    text = (EXPORT / "pipelines" / "ecs.yml").read_text(encoding="utf-8")
    steps = {it["id"]: it for it in yaml.safe_load(text)["transformations"]}
    names, paths = {}, set()
    for golden in (ROOT / "crates/serin/src/outputs/encode").glob("ecs*.golden"):
        for line in golden.read_text(encoding="utf-8").splitlines():
            document = json.loads(line.partition(" ")[2])
            names[document["event"]["code"]] = document["event"]["provider"]
            paths.update(flatten(document))
    # Of bait and of self-tests there is none among them.
    paths |= {"opencanary.honeycred", "tags"}
    wrong = [it for it in steps["kind_as_name"]["mapping"].items() if names.get(it[0]) != it[1]]
    return wrong + [it for it in steps["names"]["mapping"].items() if it[1] not in paths]


def flatten(document, prefix=""):
    for name, value in document.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def by_command():
    """What `sigma convert` makes of one rule with our pipeline and filter, as docs/detection.md says."""
    command = pathlib.Path(sys.executable).with_name("sigma")
    rule = PACK / "ssh" / "opencanary_ssh_login_attempt.yml"
    pipeline = EXPORT / "pipelines" / "splunk.yml"
    own_filter = PACK / "filter" / "events_of_a_self_test.yml"
    arguments = ["convert", "-t", "splunk", "-p", pipeline, "--filter", own_filter, rule]
    run = subprocess.run([command, *arguments], capture_output=True, text=True, check=True)
    return run.stdout.strip()


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--update", action="store_true", help="write the files anew")
    update = arguments.parse_args().update
    stale = []
    files = {"sentinel/function.kql": function()}
    for target in TARGETS:
        files[target.path], said, of = page(target)
        print(f"{target.path}: {said} of {of}")
    for name, wanted in files.items():
        path = EXPORT / name
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != wanted:
            stale.append(name)
    if by_command() not in files["splunk/queries.spl"].splitlines():
        stale.append("splunk/queries.spl by sigma convert")
    for name, path in strangers():
        stale.append(f"pipelines/ecs.yml ({name}: {path}, which our encoding does not write)")
    for name in stale:
        print(f"rules/export/{name} is stale; tests/oracle/export.py --update writes the queries")
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())

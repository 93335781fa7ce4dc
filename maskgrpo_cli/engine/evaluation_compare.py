"""`maskgrpo eval --compare A B`: two evaluations, problem by problem. Needs no torch.

Only what was asked and how it was judged must be the same; the model, the sampler and the seed may differ, and are
named: they are what is compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from maskgrpo_cli.engine import evaluation_compare_rewards as rewards
from maskgrpo_cli.engine.evaluation_compare_view import show
from maskgrpo_cli.engine.evaluation_side import Setting, Side, named, read
from maskgrpo_cli.engine.judging import Judged, by_problem
from maskgrpo_cli.engine.reporting.run_directory import to_json, write_whole
from maskgrpo_cli.engine.reporting.statistics import difference_interval, mcnemar, pass_at_k, sign_flip
from maskgrpo_cli.errors import UserError

COMPARISON = "comparison.json"
CHANGED = 5  # problems shown for each side
IN_THE_ROWS = ("temperature", "length", "steps", "batch_size")  # the last one changes no result
VERSIONS = ("maskgrpo", "torch", "transformers")


def run(a: str, b: str, output_dir: str | None = None) -> None:
    """Print how B differs from A; with `output_dir` also leave it there as comparison.json.

    Raises:
        UserError: a side is not finished or damaged, or the two cannot be compared.
    """
    result = compare(read(a), read(b))
    if output_dir is not None:
        write(result, Path(output_dir))
    show(result)


def write(result: Mapping, folder: Path) -> None:
    """Leave a comparison in a folder; raises UserError where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output-dir {folder} cannot be made: {error.strerror}") from error
    write_whole(folder / COMPARISON, to_json(result, indent=2) + "\n")


# --- whether they can be compared -----------------------------------------------------------------------


def check_comparable(a: Side, b: Side) -> None:
    """Raises UserError that says what was asked or judged differently, and what to do about it."""
    found = [*_differences_in_what_was_asked(a.results, b.results)]
    bare = [side.name for side in (a, b) if not any(row["total"] or _measured(row) for row in side.rows.values())]
    if bare:
        found.append(
            f"nothing is judged right or wrong in {' and '.join(dict.fromkeys(bare))}, and no rewards were asked for; "
            "evaluate with --set task.rewards.NAME=WEIGHT"
        )
    if a.samples != b.samples:
        found.append(f"samples: {a.samples} and {b.samples} of each problem; evaluate both with the same -n")
    if found:
        raise UserError("\n  ".join([f"{a.name} and {b.name} cannot be compared:", *found]))


def _measured(row: Mapping) -> bool:
    return row.get("reward") is not None


def _differences_in_what_was_asked(a: Mapping, b: Mapping):
    advice = {"benchmark": "evaluate both on one", "protocol": "evaluate both with the same --protocol"}
    for key, what in advice.items():
        if a.get(key) != b.get(key):
            yield f"{key}: {a.get(key)} and {b.get(key)}; {what}"
    if a.get("benchmark") != b.get("benchmark"):
        return
    ours, theirs = a["problems"], b["problems"]
    if ours["sha256"] != theirs["sha256"]:
        if ours["count"] != theirs["count"]:
            yield f"problems: {ours['count']} and {theirs['count']}; evaluate both with the same --limit and --data"
        elif a.get("split") != b.get("split"):
            yield f"problems: of {a.get('split')} and of {b.get('split')}; evaluate both with the same --split"
        else:
            kind = "questions or references" if ours["ids_sha256"] == theirs["ids_sha256"] else "problems"
            yield f"problems: {ours['count']} each, but other {kind}; evaluate both with the same --data and --split"
        return
    if _shots(a) != _shots(b):
        yield (
            f"shots: {_shots(a) or 'none'} and {_shots(b) or 'none'}; evaluate both with the same --shots and --seed, "
            "or the same --shots-data"
        )
    elif _prompt(a).get("sha256") != _prompt(b).get("sha256"):
        yield (
            "prompts: the same questions in other words (prompt.messages in the two results.json shows the first); "
            "evaluate both with the same version of the task"
        )


def _prompt(results: Mapping) -> Mapping:
    return results.get("prompt") or {}  # text that was made elsewhere comes without one


def _shots(results: Mapping) -> list[str]:
    return (results.get("shots") or {}).get("ids") or []


def pairs(a: Side, b: Side) -> tuple[list[tuple[Setting, Setting]], list[str]]:
    """The settings to compare, and those that only one side has; two single settings are compared as they are."""
    if len(a.rows) == len(b.rows) == 1:
        return [(next(iter(a.rows)), next(iter(b.rows)))], []
    both = [(setting, setting) for setting in a.rows if setting in b.rows]
    if not both:
        has = [" and ".join(map(named, side.rows)) for side in (a, b)]
        raise UserError(
            f"{a.name} and {b.name} have no setting in common: {has[0]}; {has[1]}\n"
            "  evaluate both at the same --temperature and --length, or each at a single one"
        )
    alone = [f"{named(setting)} only in {side.name}" for side, other in ((a, b), (b, a))
             for setting in side.rows if setting not in other.rows]
    return both, alone


# --- comparing ------------------------------------------------------------------------------------------


def compare(a: Side, b: Side) -> dict:
    """Everything that comparison.json says of B against A."""
    check_comparable(a, b)
    both, alone = pairs(a, b)
    odd = rewards.not_comparable(a.results, b.results)
    results = [compare_setting(a, b, first, second, odd) for first, second in both]
    has_rewards = any(_measured(row) for side in (a, b) for row in side.rows.values())
    return {
        "a": a.name,
        "b": b.name,
        "benchmark": a.results["benchmark"],
        "protocol": a.results.get("protocol"),
        "problems": a.results["problems"]["count"],
        "samples": a.samples,
        "differs": differences(a, b, both),
        "left_out": alone + [f"{name}: {why}" for name, why in odd.items() if has_rewards],
        "interval_method": "95 %, Newcombe's square-and-add interval for paired shares, over problems",
        "reward_interval_method": rewards.INTERVAL,
        "results": results,
    }


def differences(a: Side, b: Side, both: Sequence[tuple[Setting, Setting]]) -> dict[str, list]:
    """What else differs, as name -> [A's, B's]: model, weights, sampler, seed, arithmetic, versions."""
    ours, theirs = _about(a, [setting for setting, _ in both]), _about(b, [setting for _, setting in both])
    return {
        name: [ours.get(name), theirs.get(name)] for name in ours | theirs if ours.get(name) != theirs.get(name)
    }


def _about(side: Side, compared: Sequence[Setting]) -> dict:
    results, rows = side.results, [side.rows[setting] for setting in compared]
    settings, model = results.get("settings") or {}, results.get("model") or {}
    sampler = settings.get("sampler") or {}
    about = {"model" if key == "path" else key: model.get(key) for key in ("path", "adapter", "revision")}
    about["weights"] = (model.get("weights") or "")[:12] or None
    about["chat template"] = (_prompt(results).get("template_sha256") or "")[:12] or None
    about |= {f"sampler.{key}": value for key, value in sampler.items() if key not in IN_THE_ROWS}
    for key in ("temperature", "length", "steps"):
        about[key] = ", ".join(f"{value:g}" for value in dict.fromkeys(row.get(key) or 0 for row in rows))
    about |= {"seed": settings.get("seed"), "dtype": settings.get("dtype")}
    return about | {key: (results.get("environment") or {}).get(key) for key in VERSIONS}


def compare_setting(a: Side, b: Side, first: Setting, second: Setting, odd: Mapping[str, str]) -> dict:
    """One setting: what was judged, and what else was measured; `odd` measures are not the same on both sides."""
    ours, theirs = a.judged[first], b.judged[second]
    if ours.keys() != theirs.keys():
        raise UserError(f"{a.name} and {b.name} hold other problems or samples under one hash: a file is damaged")
    judged = a.rows[first]["total"] > 0
    row = {
        "temperature": first[0] if first[0] == second[0] else [first[0], second[0]],
        "length": first[1] if first[1] == second[1] else [first[1], second[1]],
        "unit": a.rows[first].get("unit", "completions"),
        **(_accuracies(a, b, first, second) if judged else {}),
        "measures": rewards.compare(ours, theirs, odd),
    }
    if judged:
        return row
    if not row["measures"]:
        reasons = "; ".join(f"{name}: {why}" for name, why in odd.items())
        raise UserError(f"{a.name} and {b.name} have no reward in common: {reasons}; evaluate both with the same")
    return row | {"moved": rewards.moved(ours, theirs)} if rewards.REWARD in row["measures"] else row


def _accuracies(a: Side, b: Side, first: Setting, second: Setting) -> dict:
    """Both accuracies, their difference with interval and p-value, and which problems changed."""
    ours, theirs = a.judged[first], b.judged[second]
    (right_a, of), (right_b, _) = by_problem([*ours.values()]), by_problem([theirs[key] for key in ours])
    row = {
        "a": {key: a.rows[first][key] for key in ("accuracy", "interval", "correct", "total")},
        "b": {key: b.rows[second][key] for key in ("accuracy", "interval", "correct", "total")},
        **_difference([*right_a.values()], [*right_b.values()], [*of.values()]),
        "pass_at": _pass_at(a, b, first, second),
    }
    whole = {key: (item.correct, theirs[key].correct) for key, item in ours.items()}
    cells = {"both": (True, True), "only_a": (True, False), "only_b": (False, True), "neither": (False, False)}
    row["counts"] = {name: sum(pair == cell for pair in whole.values()) for name, cell in cells.items()}
    if a.samples == 1 and a.rows[first].get("unit", "completions") == "completions":
        row |= {"p_value": mcnemar(row["counts"]["only_a"], row["counts"]["only_b"]), "test": "McNemar, exact"}
    row["changed"] = {
        name: [_change(ours[key], theirs[key]) for key, pair in whole.items() if pair == cells[name]][:CHANGED]
        for name in ("only_a", "only_b")
    }
    return row


def _difference(a: Sequence[float], b: Sequence[float], of: Sequence[float]) -> dict:
    difference, low, high = difference_interval(a, b, of)
    flips = sign_flip([after - before for before, after in zip(a, b, strict=True)])
    return {"difference": difference, "interval": [low, high], "p_value": flips, "test": "paired permutation"}


def _pass_at(a: Side, b: Side, first: Setting, second: Setting) -> dict:
    """pass@k of both sides and its difference, for every k > 1 that both have."""
    known = a.rows[first].get("pass_at", {}).keys() & b.rows[second].get("pass_at", {}).keys()
    samples, found = a.samples, {}
    for k in sorted(map(int, known)):
        if k == 1:
            continue
        values = []
        for judged in (a.judged[first], b.judged[second]):
            right = dict.fromkeys((key for key, _ in judged), 0)
            for (key, _), item in judged.items():
                right[key] += item.correct
            values.append({key: pass_at_k(samples, count, k) * samples for key, count in right.items()})
        ours, theirs = [*values[0].values()], [values[1][key] for key in values[0]]
        count = samples * len(ours)
        found[str(k)] = {"a": sum(ours) / count, "b": sum(theirs) / count,
                         **_difference(ours, theirs, [samples] * len(ours))}
    return found


def _change(before: Judged, after: Judged) -> dict:
    return {
        "id": before.id, "sample": before.sample, "prompt": before.prompt, "reference": before.reference,
        "a": before.answer, "b": after.answer,
    }

"""Programs with one operator flipped, drawn by a seed."""

import ast
import random

FLIPS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift, ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or,
    ast.Or: ast.And,
}  # fmt: skip


def places(tree):
    """(node, name of the field or place in its list of operators) of everything that can be flipped."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)) and type(node.op) in FLIPS:
            yield node, "op"
        elif isinstance(node, ast.Compare):
            yield from ((node, place) for place, op in enumerate(node.ops) if type(op) in FLIPS)


def flipped(source, seed):
    """The program with one of its operators flipped; None where it has none."""
    tree = ast.parse(source)
    found = list(places(tree))
    if not found:
        return None
    node, place = random.Random(f"{seed} {source}").choice(found)
    if place == "op":
        node.op = FLIPS[type(node.op)]()
    else:
        node.ops[place] = FLIPS[type(node.ops[place])]()
    return ast.unparse(tree)

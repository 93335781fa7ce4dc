"""The words that ask for reasoning and for an answer in a place where it can be found."""

BOXED = """You are a math expert. You will be given a question to solve. Solve it step by step. \
Wrap the final answer in a \\boxed{{}}.

Respond in the following format:
<reasoning>
Your reasoning here
</reasoning>
\\boxed{{...}}

{question}"""

COUNTDOWN = """Using only the numbers {numbers}, create an arithmetic expression that evaluates to exactly \
{target}. You must use all the numbers, each exactly once. You may use only the operations +, -, *, / and \
parentheses.

Respond in the following format:
<reasoning>
Your reasoning here
</reasoning>
<answer>
The expression, for example (1 + 2) * 3
</answer>"""

SUDOKU = """Solve the following 4x4 Sudoku puzzle. It is given as 16 digits, row by row, where 0 is an empty \
cell. Fill the empty cells with digits from 1 to 4 so that every row, every column and every 2x2 quarter \
holds each of them once, and keep the given digits.

Puzzle: {puzzle}

Respond in the following format:
<reasoning>
Your reasoning here
</reasoning>
<answer>
The 16 digits of the solved grid
</answer>"""

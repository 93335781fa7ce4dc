"""What every section of the schema is made of: kinds of values, and the strict base class."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

Name = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Beta = Annotated[float, Field(ge=0.0, lt=1.0)]


def _plain(value: Any) -> Any:
    texts = isinstance(value, list) and value and all(isinstance(item, str) and item for item in value)
    if value is None or texts or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError("a number, text, true or false, null, or a list of texts")


# not a union of types, which would tell a mistake once for each of them
Setting = Annotated[
    Any,
    AfterValidator(_plain),
    WithJsonSchema({"anyOf": [
        *({"type": kind} for kind in ("number", "string", "boolean", "null")),
        {"type": "array", "items": {"type": "string", "minLength": 1}},
    ]}),
]  # fmt: skip


class Section(BaseModel):
    """A group of keys; an unknown key is a mistake, and so is a quoted number or a switch for a count."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, validate_default=False)

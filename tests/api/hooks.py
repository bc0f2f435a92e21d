"""What schemathesis has to be told to hold the API against its description."""

import re

import schemathesis


@schemathesis.hook
def filter_body(context, body):
    """Passes over captions on which schemathesis and the description disagree.

    The description asks for a letter or digit of any script (`\\p{L}`, `\\p{N}`). schemathesis makes captions without one by a
    shorter list, which takes letters such as U+0283 for none; the device rightly accepts them.
    """
    caption = body.get("caption") if isinstance(body, dict) else None
    if not isinstance(caption, str):
        return True
    return any(map(str.isalnum, caption)) == bool(re.search("[A-Za-z0-9]", caption))

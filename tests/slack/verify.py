"""Holds the cases that the Rust tests check against the verifier of Slack's own library."""

import json
import pathlib

from slack_sdk.signature import Clock, SignatureVerifier


class At(Clock):
    """A clock that stands."""

    def __init__(self, now):
        self.seconds = now

    def now(self):
        return self.seconds


cases = json.loads((pathlib.Path(__file__).parent / "signatures.json").read_text())
wrong = []
for case in cases:
    verifier = SignatureVerifier(case["secret"], clock=At(case["now"]))
    valid = verifier.is_valid(case["body"], case["timestamp"], case["signature"])
    if bool(valid) != case["valid"]:
        wrong.append(case["why"])
if wrong:
    raise SystemExit("slack_sdk judges otherwise: " + "; ".join(wrong))
print(f"slack_sdk judges all {len(cases)} signatures as we do")

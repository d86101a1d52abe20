"""`runcast doctor --security`: what is open, how bad that is, and what to do about it.

Rules: nothing is changed, stored or sent that anybody would notice: what a role should not be able to do is tried on streams that do not
exist. What could not be looked at is said to be so, and is never taken for good. No finding repeats a secret.
"""

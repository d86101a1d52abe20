"""What an exception means to the person who waits: a category, words for people, what to do, and when to try again.

Theory. An agent fails by exceptions of libraries that are not imported here. They are told apart, most telling first, by:
1. the rules of whoever made the Runcast, in their order;
2. the HTTP status, the gRPC status or the AWS code that an exception carries;
3. its class, then its bases: builtins themselves, all others by name, so that no library has to be there;
4. for a group the first member that is known; for any other that is unknown, what it was raised `from`.

Rule: nothing of the exception's own text gets into a message, unless `detail` was asked for; never a traceback. `tell` is the only door.

Pure: never imports asyncio, a clock, randomness, logging or grpc.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from runcast.wire import limits, limits_client
from runcast.wire.errors import RuncastError

Severity = Literal["recoverable", "degraded", "fatal"]
"""What an error means for the run: it goes on as before; it goes on with less; it is over."""


class Classification(NamedTuple):
    """What is said of an exception.

    Attributes:
        category: timeout, rate_limit, authentication, bad_input, dependency, unknown, or your own word.
        message: for people; "" for what is usually said of the category.
        suggestions: what the user can do.
        severity: for `Run.error`; an error that ends the run is fatal whatever this says.
        retry_after_s: do not try again sooner, seconds; None when unknown.
    """

    category: str
    message: str = ""
    suggestions: tuple[str, ...] = ()
    severity: Severity = "degraded"
    retry_after_s: float | None = None


Kinds = type[BaseException] | str | tuple[type[BaseException] | str, ...]
"""Exceptions: classes, or their names, such as "RateLimitError" or "openai.RateLimitError"."""
Rule = tuple[Kinds, Classification | str] | Callable[[BaseException], Classification | str | None]
"""Exceptions and what they are, or a function that says so (None: it doesn't know). A text is one of the categories below."""

CATEGORIES: Final[dict[str, Classification]] = {
    row.category: row
    for row in (
        Classification("timeout", "It took too long and was given up.", ("Try again.", "Ask for less at a time."), "recoverable"),
        Classification(
            "rate_limit",
            "A service that the agent uses takes no more requests just now.",
            ("Wait a little, then try again.",),
            "recoverable",
        ),
        Classification(
            "authentication",
            "A service that the agent uses did not accept the agent's credentials.",
            ("Tell whoever runs the agent; trying again will not help.",),
            "fatal",
        ),
        Classification("bad_input", "This can't be handled as it was given.", ("Change or shorten it, then try again.",), "fatal"),
        Classification("dependency", "A service that the agent needs is not available.", ("Try again in a few minutes.",), "degraded"),
        Classification("unknown", "The agent met an unexpected error.", ("Try again; if it stays, tell whoever runs the agent.",), "fatal"),
    )
}
"""What is said of each category."""

CLASSES: Final[dict[type[BaseException], str]] = {
    TimeoutError: "timeout",
    ConnectionError: "dependency",
    UnicodeError: "unknown",  # a ValueError that nobody gave
    ValueError: "bad_input",
}
"""Builtin exceptions; what is not here is unknown."""

_NAMES: Final[dict[str, str]] = {
    "timeout": """
        APITimeoutError ConnectTimeout ConnectTimeoutError DeadlineExceeded DeadlineExceededError GatewayTimeout NetworkTimeout
        PoolTimeout QueryCanceled QueryCanceledError ReadTimeout ReadTimeoutError ServerSelectionTimeoutError ServerTimeoutError
        Timeout TimeoutError TimeoutException TimeoutExpired WriteTimeout
    """,
    "rate_limit": """
        QuotaExceeded RateLimitError RateLimitExceeded ResourceExhausted ThrottlingException TooManyConnectionsError
        TooManyRequests TooManyRequestsError
    """,
    "authentication": """
        AuthenticationError AuthorizationError DefaultCredentialsError Forbidden InvalidPasswordError NoCredentialsError
        PartialCredentialsError PermissionDenied PermissionDeniedError RefreshError Unauthenticated Unauthorized UnauthorizedError
    """,
    "bad_input": """
        BadRequest BadRequestError ContentFilterFinishReasonError ContextWindowExceededError InputGuardrailTripwireTriggered
        InvalidArgument InvalidRequestError LengthFinishReasonError NotFoundError ParamValidationError UnprocessableEntityError
        ValidationError
    """,
    "dependency": """
        APIConnectionError APIError AutoReconnect BadGateway BusyLoadingError ClientConnectionError ClientPayloadError
        ConnectError ConnectionClosed ConnectionClosedError ConnectionDoesNotExistError ConnectionError ConnectionFailure
        EndpointConnectionError HTTPClientError IncompleteReadError InterfaceError InternalServerError InternalServiceException
        JSONDecodeError MaxRetryError ModelBehaviorError NetworkError NewConnectionError OperationalError OutputParserException
        OverloadedError PostgresConnectionError ProtocolError SSLError ServiceUnavailable ServiceUnavailableError TransportError
        URLError UnexpectedModelBehavior gaierror herror
    """,
}
NAMES: Final[dict[str, str]] = {name: category for category, names in _NAMES.items() for name in names.split()}
"""Category by the name of a class: those of HTTP clients, model providers, databases, cloud SDKs and agent frameworks."""

HTTP: Final[dict[int, str]] = {
    **dict.fromkeys((401, 403, 407), "authentication"),
    **dict.fromkeys((408, 504, 522, 524), "timeout"),
    429: "rate_limit",
}
"""Category by HTTP status; other 4xx are bad_input, other 5xx dependency."""

GRPC: Final[dict[str, str]] = {
    **dict.fromkeys(("UNAUTHENTICATED", "PERMISSION_DENIED"), "authentication"),
    "DEADLINE_EXCEEDED": "timeout",
    "RESOURCE_EXHAUSTED": "rate_limit",
    **dict.fromkeys(("INVALID_ARGUMENT", "OUT_OF_RANGE", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION"), "bad_input"),
    **dict.fromkeys(("UNAVAILABLE", "INTERNAL", "ABORTED", "DATA_LOSS", "UNKNOWN", "UNIMPLEMENTED"), "dependency"),
}
"""Category by gRPC status."""

AWS: Final[tuple[tuple[str, str], ...]] = (
    ("Throttl", "rate_limit"),
    ("TooManyRequests", "rate_limit"),
    ("LimitExceeded", "rate_limit"),
    ("ThroughputExceeded", "rate_limit"),
    ("SlowDown", "rate_limit"),
    ("AccessDenied", "authentication"),
    ("ExpiredToken", "authentication"),
    ("UnrecognizedClient", "authentication"),
    ("InvalidClientToken", "authentication"),
    ("SignatureDoesNotMatch", "authentication"),
    ("Timeout", "timeout"),
    ("Unavailable", "dependency"),
    ("ModelError", "dependency"),
    ("ModelNotReady", "dependency"),
)
"""Category by what an AWS error code contains; AWS answers many of these with status 400."""


class Classifier:
    """Tells what exceptions mean.

    Args:
        rules: asked before everything else, in this order.
        detail: add class name and text of an exception to what people are told.
        on_broken_rule: told of a rule that raised; the next one is asked then.

    Raises:
        TypeError: a rule is neither a function nor a pair of exceptions and what they are.
        ValueError: a rule's text is not a category of ours.
    """

    def __init__(
        self, rules: Iterable[Rule] = (), *, detail: bool = False, on_broken_rule: Callable[[Exception], None] | None = None
    ) -> None:
        self._rules = [_checked(rule) for rule in rules]
        self._detail = detail
        self._on_broken_rule = on_broken_rule

    def classify(self, exc: BaseException) -> Classification:
        """What an exception means; with words for people in any case."""
        found = self._find(exc, limits_client.CAUSES_MAX) or CATEGORIES["unknown"]
        usual = CATEGORIES.get(found.category, CATEGORIES["unknown"])
        return found._replace(message=found.message or usual.message, suggestions=found.suggestions or usual.suggestions)

    def tell(self, exc: BaseException) -> Classification:
        """As `classify`, and with the detail that was asked for in the message: this is what may leave the process."""
        told = self.classify(exc)
        return told._replace(message=f"{told.message} ({describe_exception(exc)})") if self._detail else told

    def _find(self, exc: BaseException, depth: int) -> Classification | None:
        found = self._by_rules(exc)
        if found is None and isinstance(exc, RuncastError):
            found = _of_ours(exc)
        if found is None and (category := _by_status(exc) or _by_class(exc)):
            found = CATEGORIES[category]
        if found is not None:
            return found if found.retry_after_s is not None else found._replace(retry_after_s=_retry_after_s(exc))
        if depth <= 0:
            return None
        inner = exc.exceptions if isinstance(exc, BaseExceptionGroup) else (exc.__cause__,)
        found = None
        for each in inner[: limits_client.CAUSES_MAX]:
            found = self._find(each, depth - 1) if each is not None else None
            if found is not None and found.category != "unknown":
                break
        return found

    def _by_rules(self, exc: BaseException) -> Classification | None:
        for rule in self._rules:
            try:
                said = rule(exc)
                if said is not None:
                    return CATEGORIES[said] if isinstance(said, str) else said
            except Exception as broken:  # somebody else's code, asked while an error is being told
                if self._on_broken_rule is not None:
                    self._on_broken_rule(broken)
        return None


def describe_exception(exc: BaseException) -> str:
    """Class name and text of an exception, cut to `ERROR_TEXT_CHARS_MAX` characters. Not for people who may not see everything."""
    try:
        text = str(exc)
    except Exception:  # somebody else's class
        text = ""
    told = f"{type(exc).__name__}: {text}" if text else type(exc).__name__
    if len(told) > limits_client.ERROR_TEXT_CHARS_MAX:
        told = told[: limits_client.ERROR_TEXT_CHARS_MAX - 1] + "…"
    return told.encode(errors="replace").decode()


# --- inside ---


def _checked(rule: Rule) -> Callable[[BaseException], Classification | str | None]:
    if callable(rule):
        return rule
    if not isinstance(rule, tuple) or len(rule) != 2 or not isinstance(rule[1], Classification | str):
        raise TypeError(f"{rule!r} is no rule; give a function, or (exceptions or their names, Classification(…) or a category)")
    kinds, said = rule
    if isinstance(said, str) and said not in CATEGORIES:
        raise ValueError(f"{said!r} is not one of {', '.join(CATEGORIES)}; give a Classification to use your own word")
    each = kinds if isinstance(kinds, tuple) else (kinds,)
    if not all(isinstance(kind, str) or (isinstance(kind, type) and issubclass(kind, BaseException)) for kind in each):
        raise TypeError(f"{kinds!r} are not exceptions; give classes, or their names")
    names = {kind for kind in each if isinstance(kind, str)}
    classes = tuple(kind for kind in each if isinstance(kind, type))

    def match(exc: BaseException) -> Classification | str | None:
        return said if isinstance(exc, classes) or not names.isdisjoint(_names(exc)) else None

    return match


def _names(exc: BaseException) -> set[str]:
    """What its class and their bases may be called."""
    names: set[str] = set()
    for base in type(exc).__mro__:
        module, name = base.__module__, base.__name__
        names |= {name, f"{module}.{name}", f"{module.partition('.')[0]}.{name}"}
    return names


def _of_ours(exc: RuncastError) -> Classification:
    """Of what this library raises."""
    if exc.code.name == "event_too_large":
        return CATEGORIES["bad_input"]._replace(message="What the agent had to say is too large to be shown.")
    if exc.code.name == "no_answer":
        return CATEGORIES["timeout"]._replace(
            message="Nobody answered what the agent asked.", suggestions=("Start it again, and answer its question in time.",)
        )
    return CATEGORIES["dependency" if exc.code.retry or not exc.code.definite else "unknown"]


def _by_class(exc: BaseException) -> str:
    for base in type(exc).__mro__:
        category = CLASSES.get(base) or ("" if base.__module__ == "builtins" else NAMES.get(base.__name__, ""))
        if category:
            return "" if category == "unknown" else category
    return ""


def _by_status(exc: BaseException) -> str:
    response = _attribute(exc, "response")
    if isinstance(response, Mapping):
        return _by_aws(response)
    code = _attribute(exc, "code")
    if callable(code):
        code = _call(code)
    name = _attribute(code, "name")
    if isinstance(name, str) and name in GRPC:
        return GRPC[name]
    for status in (
        _attribute(exc, "status_code"),
        _attribute(exc, "status"),
        code,
        *(_attribute(response, n) for n in ("status_code", "status")),
    ):
        if isinstance(status, int) and 400 <= status <= 599:
            return HTTP.get(int(status), "bad_input" if status < 500 else "dependency")
    return ""


def _by_aws(response: Mapping[Any, Any]) -> str:
    error, meta = response.get("Error"), response.get("ResponseMetadata")
    code = str(error.get("Code", "")) if isinstance(error, Mapping) else ""
    for part, category in AWS:
        if part in code:
            return category
    status = meta.get("HTTPStatusCode") if isinstance(meta, Mapping) else None
    if isinstance(status, int) and 400 <= status <= 599:
        return HTTP.get(status, "bad_input" if status < 500 else "dependency")
    return ""


def _retry_after_s(exc: BaseException) -> float | None:
    """What the other side said, if it said so in seconds."""
    headers = _attribute(_attribute(exc, "response"), "headers") or _attribute(exc, "headers")
    found: Sequence[tuple[object, float]] = (
        (_header(headers, "retry-after-ms"), 1000.0),
        (_header(headers, "retry-after"), 1.0),
        (_attribute(exc, "retry_after_s"), 1.0),
        (_attribute(exc, "retry_after"), 1.0),
    )
    for value, per_second in found:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            try:
                seconds = float(value) / per_second
            except ValueError:  # a date
                continue
            if 0.0 < seconds <= limits.RETENTION_S:
                return seconds
    return None


def _header(headers: object, name: str) -> object:
    if not isinstance(headers, Mapping):
        return None
    return headers.get(name) or headers.get(name.title())


def _attribute(holder: object, name: str) -> Any:
    try:
        return getattr(holder, name, None)
    except Exception:  # a property of somebody else's class
        return None


def _call(function: Callable[[], object]) -> object:
    try:
        return function()
    except Exception:  # somebody else's code
        return None

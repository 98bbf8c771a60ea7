"""Every error that la_agents raises on purpose, under one base class.

Message style, everywhere: what was expected, what came, what to do. No message repeats another user's data.
"""

__all__ = [
    "ConfigurationError",
    "DeadlineExceededError",
    "EngineBusyError",
    "EngineClosedError",
    "GenerationError",
    "IncompleteAnswerError",
    "InvalidPreferenceError",
    "LaAgentsError",
    "ModelNotFoundError",
    "PreferenceNotFoundError",
    "PromptError",
    "RequestTooLargeError",
    "StoreMismatchError",
    "StoreUnavailableError",
    "UnsupportedModelError",
    "UserNotSpecifiedError",
]


class LaAgentsError(Exception):
    """Base class: `except LaAgentsError` catches whatever this library raises on purpose."""


class ConfigurationError(LaAgentsError):
    """An argument is unknown, out of range, or contradicts another one."""


class ModelNotFoundError(LaAgentsError):
    """No model was found in any of the places searched."""


class UnsupportedModelError(LaAgentsError):
    """The model was found, but cannot be aligned here (not causal, no usable cache, no tokenizer)."""


class PromptError(LaAgentsError):
    """The messages cannot be turned into a prompt (empty, or content the model cannot read)."""


class UserNotSpecifiedError(LaAgentsError):
    """A call on behalf of a user names no user, or a blank one."""


class InvalidPreferenceError(LaAgentsError):
    """A preference, or a record to import, is malformed; nothing was written."""


class PreferenceNotFoundError(LaAgentsError):
    """This user has no such preference (whether or not another user has)."""


class StoreMismatchError(LaAgentsError):
    """The store on disk was written with other settings, such as another embedding model."""


class StoreUnavailableError(LaAgentsError):
    """The store cannot be opened or reached."""


class EngineBusyError(LaAgentsError):
    """The engine's queue is full; the request was not taken."""


class EngineClosedError(LaAgentsError):
    """The engine was closed, or its loop died; the cause is chained."""


class DeadlineExceededError(LaAgentsError):
    """A request did not finish within its deadline."""


class GenerationError(LaAgentsError):
    """The model or its tokenizer failed on one request; the cause is chained."""


class IncompleteAnswerError(LaAgentsError):
    """`max_tokens` tokens were generated, and the text that the grammar requires is not complete."""


class RequestTooLargeError(LaAgentsError):
    """A request cannot fit the model's context, the engine's limits or the device's memory."""

"""Every error that textkin raises on purpose, each with its exit code and HTTP status.

The tree::

    TextkinError                 anything below                                        exit  1  http 500
    ├── InputError               an argument or an input can't be used                 exit  2  http 400
    │   ├── FilterError          a where-expression is not valid                       exit  2  http 400
    │   ├── FileReadError        a file can't be read as what it claims to be          exit  2  http 400
    │   └── RecordNotFoundError  no record has this id                                 exit  3  http 404
    ├── MissingDependencyError   an optional package is not installed                  exit  4  http 501
    ├── ModelError               the model can't be used                               exit  5  http 500
    │   ├── ModelNotFoundError   no such model, or no way to fetch it                  exit  5  http 404
    │   ├── WeightsError         a model's file differs from what was published        exit  6  http 500
    │   ├── UnsupportedModelError  a model of a kind that textkin can't run            exit  5  http 400
    │   ├── BadVectorsError      a model answered with something that is not vectors   exit  5  http 502
    │   ├── ProviderError        a model's server failed again and again               exit 11  http 502
    │   ├── CredentialsError     a model's server needs a key, or refused it           exit 12  http 401
    │   └── QuotaError           the account may spend no more                         exit 13  http 402
    ├── BudgetError              the limit set for this run would be passed            exit 14  http 402
    ├── EngineError              the cluster that should do the work can't be used     exit 15  http 503
    ├── ModelMismatchError       two models would meet in one collection               exit  7  http 409
    └── StoreError               the store can't do what was asked                     exit  8  http 500
        ├── StoreNotFoundError   there is no collection at this place                  exit  3  http 404
        ├── StoreLockedError     another writer holds the collection                   exit  9  http 423
        ├── ForeignFileError     the file is not textkin's                             exit  8  http 500
        ├── CorruptStoreError    the file is damaged                                   exit  8  http 500
        ├── NewerVersionError    made by a newer textkin                               exit  8  http 500
        ├── ReadOnlyError        the place can't be written                            exit  8  http 403
        └── StorageFullError     no room left                                          exit 10  http 507

A message says what was wrong, what was expected, and what to do.
"""

from __future__ import annotations


class TextkinError(Exception):
    """Anything that textkin reports on purpose."""

    exit_code = 1
    http_status = 500


class InputError(TextkinError, ValueError):
    """An argument or an input can't be used."""

    exit_code = 2
    http_status = 400


class FilterError(InputError):
    """A where-expression is not valid."""


class FileReadError(InputError):
    """A file can't be read as what it claims to be."""


class RecordNotFoundError(InputError):
    """No record has this id."""

    exit_code = 3
    http_status = 404


class MissingDependencyError(TextkinError, ImportError):
    """An optional package is not installed."""

    exit_code = 4
    http_status = 501


class ModelError(TextkinError):
    """The model can't be used."""

    exit_code = 5


class ModelNotFoundError(ModelError):
    """No such model, or no way to fetch it."""

    http_status = 404


class WeightsError(ModelError):
    """A model's file differs from what was published."""

    exit_code = 6


class UnsupportedModelError(ModelError):
    """A model of a kind that textkin can't run."""

    http_status = 400


class BadVectorsError(ModelError):
    """A model answered with something that is not vectors."""

    http_status = 502


class ProviderError(ModelError):
    """A model's server failed again and again."""

    exit_code = 11
    http_status = 502


class CredentialsError(ModelError):
    """A model's server needs a key, or refused it."""

    exit_code = 12
    http_status = 401


class QuotaError(ModelError):
    """The account may spend no more."""

    exit_code = 13
    http_status = 402


class BudgetError(TextkinError):
    """The limit set for this run would be passed."""

    exit_code = 14
    http_status = 402


class EngineError(TextkinError):
    """The cluster that should do the work can't be used."""

    exit_code = 15
    http_status = 503


class ModelMismatchError(TextkinError):
    """Two models would meet in one collection."""

    exit_code = 7
    http_status = 409


class StoreError(TextkinError):
    """The store can't do what was asked."""

    exit_code = 8


class StoreNotFoundError(StoreError):
    """There is no collection at this place."""

    exit_code = 3
    http_status = 404


class StoreLockedError(StoreError):
    """Another writer holds the collection."""

    exit_code = 9
    http_status = 423


class ForeignFileError(StoreError):
    """The file is not textkin's."""


class CorruptStoreError(StoreError):
    """The file is damaged."""


class NewerVersionError(StoreError):
    """Made by a newer textkin."""


class ReadOnlyError(StoreError):
    """The place can't be written."""

    http_status = 403


class StorageFullError(StoreError):
    """No room left."""

    exit_code = 10
    http_status = 507

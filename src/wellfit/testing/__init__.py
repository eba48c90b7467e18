"""The contract of a regularizer, as checks that anyone can run on their own.

::

    from wellfit.testing import check_regularizer

    def test_my_regularizer():
        check_regularizer(MyRegularizer(strength=0.1))
"""

from wellfit.testing.contract import CHECKS, applicable, check_regularizer

__all__ = ["CHECKS", "applicable", "check_regularizer"]

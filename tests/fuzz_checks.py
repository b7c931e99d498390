"""Checks for child processes of the fuzzer that go wrong where a table has a 7 in it."""

import os
import time


def check_that_dies(folder):
    return _where_there_is_a_seven(os.abort)


def check_that_hangs(folder):
    return _where_there_is_a_seven(lambda: time.sleep(60))


def check_that_is_wrong(folder):
    def fail():
        raise ValueError("some error")

    return _where_there_is_a_seven(fail)


def _where_there_is_a_seven(go_wrong):
    def check(case):
        if "7" in case["content"]:
            go_wrong()
        return "read"

    return check

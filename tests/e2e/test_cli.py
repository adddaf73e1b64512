# SPDX-License-Identifier: Apache-2.0


def test_help_lists_commands(skerry):
    r = skerry("--help")
    assert r.returncode == 0 and "version" in r.stdout


def test_unknown_command_is_an_error(skerry):
    r = skerry("frobnicate")
    assert r.returncode == 2 and "frobnicate" in r.stderr

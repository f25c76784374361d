"""The commands as people type them: arguments, options, help and examples, a module for each panel or noun of the help.

A command imports its work when it runs, so that help, completion and usage errors stay fast.
"""

"""The commands as people type them: arguments, options, help and examples, a module for each noun.

A command imports its work when it runs, so that help, completion and usage errors stay fast.
"""

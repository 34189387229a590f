"""The engine's rooms, in the order in which data flows: compiler, decode, execute, render, sinks; joined by pipeline.

A room imports `contract` and itself; `tests/test_rooms.py` holds that.
"""

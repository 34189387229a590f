"""Whether explanations tell the truth of a network: do its maps depend on what it has learnt, and do they find what its
answer hangs on?
"""

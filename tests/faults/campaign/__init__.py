"""The fault campaign: `make faults`. One stack after the other, one fault after the other, under load, then the books.

docs/howto/run-the-fault-campaign.md says how to run and extend it.
"""

SKEW = "PAYFLOW_CAMPAIGN_SKEW"
"""Names the file that holds how many seconds a worker's clock is wrong."""
NAIVE = "PAYFLOW_CAMPAIGN_NAIVE"
"""Names the naive build the workers are (inside.py), when set."""
NAIVE_BUILDS = ("forgets", "repeats")

"""`make bench BENCH=hosts`: hosts prepared and registered, ours beside what else does that job, in one run."""

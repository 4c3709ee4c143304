"""How fast vae-lab is beside what its users would pick instead: `make bench` runs it.

A **contestant** trains or scores one **case**, in a process of its own. A **contest** lets several
do the same case in turn, over several rounds; a **benchmark** is a list of contests, and a section
of RESULTS.md. All raw figures are in results.json, from which RESULTS.md is written.
"""

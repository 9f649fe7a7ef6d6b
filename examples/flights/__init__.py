"""The main job: which flights of New York will be late, from raw rows to a served prediction."""

import os

# Threads that wait by spinning make fitting many times slower beside other programs. OpenMP reads this once, when
# scikit-learn is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

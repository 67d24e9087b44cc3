"""What every test needs before a library is loaded."""

import os

# llama.cpp's threads wait for one another by spinning. On a machine that does other things too (CI, several test runs)
# that starves the thread that is waited for: measured on 2 cores beside two busy loops, SmolLM2 wrote 0.8 tokens/s with
# OpenMP's default and 26 with this. Alone it costs up to half of the decoding speed, which tests do not measure.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

"""The README's commands, and what the tests append to each so that it is short; the standard library only.

``python3 tests/support/readme.py`` prints them as one script: tests/readme_in_a_shell.sh runs it in a fresh clone.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()

SHORT = "--samples 64 --warmup-samples 16 --validation-samples 4 --threads 1"

COMMANDS = {
    # what the README prints -> what the tests append, so that it is short (an option given twice: the last counts)
    "make demo": f"OPTIONS='{SHORT}'",
    "make test": "--dry-run",  # this very test runs inside it
    "source .venv/bin/activate": "",
    "adabatch --version": "",
    "adabatch --help": "",
    "adabatch train --preset demo --parallel fsdp --ranks 2 --schedule norm-test --eta 0.7 "
    "--output runs/mine": SHORT,
    "adabatch train --help": "",
    "torchrun --nnodes 1 --nproc-per-node 2 --max-restarts 3 --rdzv-backend c10d --rdzv-endpoint localhost:29400 "
    "--rdzv-id mine -m adabatch train --preset demo --parallel fsdp --checkpoint-interval 4096 "
    "--output runs/torchrun": SHORT,
    "adabatch prepare --data stdlib --tokenizer bpe --vocabulary-size 4096": "",
    "adabatch train --preset demo --data stdlib --streaming --output runs/streamed": SHORT,
    "adabatch train --preset demo --parallel fsdp --initial-batch 2048 --max-batch 16384 --plan-ranks 1024": "",
    "adabatch plot runs/mine runs/torchrun": "",
    "adabatch export runs/mine --to runs/exported": "",
    "adabatch compare --output runs/comparison": (
        "--quick --seeds 1 --points 1 --constant-batches 8,32 --schedules norm-test-1"
    ),
    "adabatch ablate --output runs/ablation": "--quick --etas 0.2,0.8 --vary groups --samples 64",
    "adabatch claims": "",
    "adabatch prove L5 --show": "",
    # all of it runs in tests/adabatch/commands/test_verify_bounds.py
    "adabatch verify-bounds --quick --output runs/bounds": "--experiment sign-descent",
    "adabatch covers runs/mine": "",
    "adabatch verify-bounds --optimizer examples/own_optimizer.py:CautiousLion --output runs/own": "--quick",
    "adabatch list bounds": "",
    "adabatch attack theorem-1 --betas 0,0.0001 --eta 0.3 --output runs/attack": (
        "--seconds 1 --processes 1 --steps 3"
    ),
    "python3 -m venv .venv-theory": "",
    ".venv-theory/bin/pip install '.[theory]'": "",
    ".venv-theory/bin/adabatch claims": "",
    "python3 -m venv .venv-statistics": "",
    ".venv-statistics/bin/pip install --constraint constraints.txt torch .": "",
    ".venv-statistics/bin/python examples/bare_loop.py": "--samples 400",
}


def readme_commands() -> list[str]:
    """Every line of its bash blocks; what continues on the next line is one."""
    blocks = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    lines = "".join(blocks).replace(" \\\n", " ").splitlines()
    return [re.sub(" +", " ", line) for line in lines]


def script() -> str:
    """All commands in order, as one would paste them into a shell, each shortened."""
    return "".join(f"{command} {COMMANDS[command]}".rstrip() + "\n" for command in readme_commands())


if __name__ == "__main__":
    print(script(), end="")

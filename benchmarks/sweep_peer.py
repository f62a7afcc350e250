"""The other party of `benchmarks/sweep.py`: the same training function as a plain Hydra app under submitit_local.

Its configuration, in the folder `PEER_CONFIG`, is the resolved one of Regimen's own run.
"""

from __future__ import annotations

import os
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf


@hydra.main(config_path=os.environ.get("PEER_CONFIG"), config_name="config", version_base="1.3")
def main(cfg: DictConfig) -> float:
    """Train once; return the headline metric."""
    import torch

    from regimen.config import structured
    from regimen.config.targets import resolve
    from regimen.runs.create import create_run_dir
    from regimen.runs.run import Run
    from regimen.system.files import read_json

    plain = OmegaConf.to_container(cfg, resolve=True)
    torch.set_num_threads(plain["hardware"]["threads"])
    output = Path(hydra.core.hydra_config.HydraConfig.get().runtime.output_dir)
    run = Run(create_run_dir(output, plain, [], [], run_id="run"))
    config = structured.build_config(plain)
    resolve(config.stage._target_)(config.stage)(run, config)
    return next(iter(read_json(run.dir / "result.json")["headline"].values()))


if __name__ == "__main__" and "PEER_CONFIG" in os.environ:
    main()

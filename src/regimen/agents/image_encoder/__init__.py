"""Image encoder: small networks that turn the pictures of cameras into features."""

from typing import TYPE_CHECKING

from regimen.system.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from regimen.agents.image_encoder.agent import ImageEncoder
    from regimen.agents.image_encoder.config import ImageEncoderCfg

__all__ = ["ImageEncoder", "ImageEncoderCfg"]
__getattr__ = lazy_exports(
    __name__,
    {
        "ImageEncoder": "regimen.agents.image_encoder.agent",
        "ImageEncoderCfg": "regimen.agents.image_encoder.config",
    },
)

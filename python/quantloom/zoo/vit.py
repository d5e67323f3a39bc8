"""ViT-Tiny: patches, a class token, 12 pre-norm encoder blocks of 3 heads, one linear layer.

Patches have 16 pixels, 4 for inputs up to 64 pixels. Source: arXiv 2010.11929 with the sizes of DeiT-Ti (arXiv
2012.12877 table 1) and the module names of timm's vision_transformer.py ("blocks.0.attn.qkv").
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from quantloom.errors import WorkloadError

__all__ = ["VitTiny"]

SMALL_INPUT = 64  # pixels; inputs up to this size get patches of 4 pixels
_HEADS, _DEPTH = 3, 12


class _Attention(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(features, 3 * features), nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, tokens, features). Returns the same shape."""
        queries, keys, values = self.qkv(x).unflatten(-1, (3, _HEADS, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        y = functional.scaled_dot_product_attention(queries, keys, values)
        out: Tensor = self.proj(y.transpose(1, 2).flatten(2))
        return out


class _Block(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(features), _Attention(features), nn.LayerNorm(features)
        self.mlp = nn.Sequential()
        self.mlp.add_module("fc1", nn.Linear(features, 4 * features))
        self.mlp.add_module("act", nn.GELU())
        self.mlp.add_module("fc2", nn.Linear(4 * features, features))

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, tokens, features). Returns the same shape."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class VitTiny(nn.Module):
    """ViT-Tiny. Options as those of the zoo; width is a factor on the 192 features, rounded to a multiple of 24.

    Raises WorkloadError if the input is no multiple of the patch.
    """

    def __init__(self, *, width: float = 1.0, input: int = 224, classes: int = 1000, channels: int = 3) -> None:
        super().__init__()
        patch = 4 if input <= SMALL_INPUT else 16
        if input % patch:
            message = f"vit_tiny: option `input`: expected a multiple of the patch, {patch}, got {input}"
            raise WorkloadError(message, hint=f"for example input={input // patch * patch}")
        features = max(24, round(192 * width / 24) * 24)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, features))
        self.pos_embed = nn.Parameter(torch.randn(1, (input // patch) ** 2 + 1, features) * 0.02)
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(channels, features, patch, patch)
        self.blocks = nn.Sequential(*(_Block(features) for _ in range(_DEPTH)))
        self.norm = nn.LayerNorm(features)
        self.head = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, channels, input, input) float. Returns the logits, (N, classes)."""
        patches = self.patch_embed.get_submodule("proj")(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1) + self.pos_embed
        out: Tensor = self.head(self.norm(self.blocks(tokens))[:, 0])
        return out
